//! Traps that a breaker may fall into, each as a test.

use super::*;

/// T1: a window that only ever grows.
#[tokio::test(start_paused = true)]
async fn after_a_thousand_successes_a_count_window_still_opens_at_once() {
    let (breaker, layer) = breaker(BreakerPolicy::failure_rate(0.5).over(10).of_last(10));
    calls(&layer, &[200; 1000]).await;
    calls(&layer, &[500; 4]).await;
    assert_eq!(breaker.state(), State::Closed);
    calls(&layer, &[500]).await;
    assert_eq!(breaker.state(), State::Open);
}

/// T2: probes that are further apart than the window is long.
#[tokio::test(start_paused = true)]
async fn probes_further_apart_than_the_window_still_close_it() {
    let (breaker, layer) = breaker(TWO.within(SECOND).probes(3, 3).open_for(60 * SECOND, 60 * SECOND));
    calls(&layer, &[500, 500]).await;
    pass(60 * SECOND).await;
    for _ in 0..3 {
        assert_eq!(calls(&layer, &[200]).await, [200]);
        pass(30 * SECOND).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

/// T3: a minimum that is not heeded, so that the whole window must be full.
#[tokio::test(start_paused = true)]
async fn the_minimum_counts_in_a_count_window() {
    let (breaker, layer) = breaker(BreakerPolicy::failure_rate(0.5).over(5).of_last(100));
    calls(&layer, &[500; 4]).await;
    assert_eq!(breaker.state(), State::Closed);
    calls(&layer, &[500]).await;
    assert_eq!(breaker.state(), State::Open);
}

/// T4: no probes at all. (A `const` policy like this does not compile.)
#[test]
#[should_panic(expected = "a breaker without probes never closes")]
fn a_policy_without_probes_cannot_be_made() {
    let _ = BreakerPolicy::new().probes(0, 0);
}

/// T5: a probe that hangs.
#[tokio::test(start_paused = true)]
async fn a_hung_probe_holds_its_place_for_a_time_only() {
    let (breaker, layer) = breaker(TWO);
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    let hanging = layer.layer(service_fn(|_: Request<()>| std::future::pending::<Result<Answer, Infallible>>()));
    let mut hung = Box::pin(hanging.oneshot(Request::new(())));
    assert!(std::future::poll_fn(|cx| Poll::Ready(hung.as_mut().poll(cx).is_pending())).await);
    assert_eq!(calls(&layer, &[200]).await, [503]);
    pass(10 * SECOND).await;
    assert_eq!((calls(&layer, &[200]).await, breaker.state()), (vec![503], State::Open));
    pass(10 * SECOND).await;
    assert_eq!((calls(&layer, &[200]).await, breaker.state()), (vec![200], State::Closed));
    drop(hung);
}

/// T6: an outcome from before.
#[tokio::test(start_paused = true)]
async fn an_outcome_from_before_closes_nothing_and_opens_nothing() {
    let (breaker, layer) = breaker(TWO);
    let (stale, staler) = (through(&layer, answer(200)).await, through(&layer, broken()).await);
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    let probe = through(&layer, answer(200)).await;
    assert_eq!(breaker.state(), State::HalfOpen);
    stale.into_body().collect().await.expect("a body");
    staler.into_body().collect().await.expect_err("it breaks");
    assert_eq!((breaker.state(), breaker.metrics().late), (State::HalfOpen, 2));
    drop(probe);
    assert_eq!(breaker.state(), State::Closed);
}

/// T7: a reset while closed that keeps the counts; a forced opening that leaves the timer as it was.
#[tokio::test(start_paused = true)]
async fn a_reset_always_forgets_and_force_always_begins_anew() {
    let (breaker, layer) = breaker(BreakerPolicy::failure_rate(0.5).over(10));
    calls(&layer, &[500; 9]).await;
    assert_eq!(breaker.snapshot().calls, 9);
    breaker.reset();
    assert_eq!((breaker.snapshot().calls, breaker.snapshot().failed), (0, 0));
    calls(&layer, &[500; 9]).await;
    assert_eq!(breaker.state(), State::Closed);
    calls(&layer, &[500]).await;
    pass(SECOND).await;
    breaker.force_open();
    pass(3600 * SECOND).await;
    assert_eq!(calls(&layer, &[200]).await, [503]);
}

/// T8: a probe that is slow, and counts as a success.
#[tokio::test(start_paused = true)]
async fn a_slow_probe_is_no_success() {
    let (breaker, layer) = breaker(TWO.or_slow_calls(0.5, SECOND));
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    assert_eq!(slowly(&layer, SECOND, 200).await, 200);
    assert_eq!(breaker.state(), State::Open);
    pass(10 * SECOND).await;
    slowly(&layer, SECOND / 2, 200).await;
    assert_eq!(breaker.state(), State::Closed);
}

/// T9: two clocks. All of these tests run on a paused one; here it is the window that must move with it.
#[tokio::test(start_paused = true)]
async fn the_window_moves_with_the_paused_clock() {
    let (breaker, layer) = breaker(BreakerPolicy::failure_rate(0.5).over(4).within(10 * SECOND));
    calls(&layer, &[500; 3]).await;
    pass(10 * SECOND).await;
    calls(&layer, &[500; 3]).await;
    assert_eq!((breaker.state(), breaker.snapshot().calls), (State::Closed, 3));
    pass(9 * SECOND).await;
    calls(&layer, &[500]).await;
    assert_eq!(breaker.state(), State::Open);
}

/// T10: a window that costs more the more it holds. What it holds takes no more room for a million calls than for one;
/// the benches count the steps.
#[tokio::test(start_paused = true)]
async fn a_million_calls_fit_into_what_one_takes() {
    let (breaker, layer) = breaker(BreakerPolicy::new());
    breaker.restore(&Snapshot { calls: 1_000_000, failed: 40_000_000, ..breaker.snapshot() });
    calls(&layer, &[500, 200]).await;
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.failed), (1_000_002, 40_000_100));
}

/// T11: a gauge for each state, of which more than one is 1.
#[tokio::test(start_paused = true)]
async fn exactly_one_state_is_the_current_one() {
    let current = Arc::new(Mutex::new(vec![State::Closed]));
    let gauges = Arc::clone(&current);
    let breaker = Breaker::new(TWO).observe(move |event| {
        if let Event::Changed(change) = event {
            let mut gauges = gauges.lock().unwrap();
            gauges.retain(|state| *state != change.from);
            gauges.push(change.to);
        }
    });
    let layer = CircuitBreakerLayer::new(breaker.clone());
    let is_one = || assert_eq!(*current.lock().unwrap(), [breaker.state()]);
    for _ in 0..3 {
        calls(&layer, &[500, 500]).await;
        is_one();
        pass(60 * SECOND).await;
        calls(&layer, &[200]).await;
        is_one();
        breaker.force_open();
        breaker.force_open();
        is_one();
        breaker.reset();
        is_one();
    }
}
