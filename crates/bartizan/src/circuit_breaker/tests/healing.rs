//! What once went wrong.

use super::{
    by_key::{call_host, keyed},
    *,
};
use crate::{
    circuit_breaker::window::{Mark, Tally, Window},
    shared::Deadline,
};
use http::Version;
use std::sync::{OnceLock, mpsc};

/// A stream of two chunks that flows.
fn stream() -> Response<Frames<&'static str>> {
    let chunk = || Ok(Frame::data(Bytes::from_static(b"chunk")));
    Response::new(Frames([chunk(), chunk()].into()))
}

// ===== long streams =====

#[tokio::test(start_paused = true)]
async fn in_front_of_healthy_long_streams_it_closes_again() {
    let (breaker, layer) = breaker(BreakerPolicy::new().jitter(0.0));
    calls(&layer, &[500; 7]).await;
    let mut streams = Vec::new();
    for _ in 0..60 {
        let mut body = through(&layer, stream()).await.into_body();
        body.frame().await.expect("a frame").expect("well");
        streams.push(body);
        pass(SECOND).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_grpc_shows_that_the_service_is_well_at_its_first_message() {
    for (reads, state) in [(true, State::Closed), (false, State::Open)] {
        let (breaker, layer) = breaker(TWO);
        calls(&layer, &[500, 500]).await;
        pass(5 * SECOND).await;
        let mut response = stream();
        *response.version_mut() = Version::HTTP_2;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let mut body = through(&layer, response).await.into_body();
        if reads {
            body.frame().await.expect("a frame").expect("well");
        }
        pass(10 * SECOND).await;
        calls(&layer, &[200]).await;
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_head_was_good_may_still_fail() {
    let (breaker, layer) = breaker(TWO);
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    through(&layer, broken()).await.into_body().collect().await.expect_err("it breaks");
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn failures_among_streams_that_are_well_are_not_one_after_the_other() {
    let (breaker, layer) = breaker(BreakerPolicy::new());
    let mut streams = Vec::new();
    for _ in 0..7 {
        for _ in 0..9 {
            let mut body = through(&layer, stream()).await.into_body();
            body.frame().await.expect("a frame").expect("well");
            streams.push(body);
        }
        calls(&layer, &[500]).await;
    }
    assert_eq!(breaker.state(), State::Closed, "7 of 70 failed, none after another");
}

/// The one that breaks takes back what its head has said, and not what all heads have.
#[tokio::test(start_paused = true)]
async fn one_stream_that_breaks_does_not_undo_what_the_others_show() {
    let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(7));
    let mut streams = Vec::new();
    for _ in 0..20 {
        calls(&layer, &[500]).await;
        streams.push(through(&layer, stream()).await.into_body());
    }
    through(&layer, broken()).await.into_body().collect().await.expect_err("it breaks");
    assert_eq!((breaker.state(), breaker.snapshot().consecutive), (State::Closed, 1));
    drop(streams);
    assert_eq!(breaker.snapshot().consecutive, 0);
}

#[tokio::test(start_paused = true)]
async fn one_stream_that_breaks_does_not_undo_what_many_heads_have_shown() {
    for (heads, series) in [(0, 7), (1, 1), (20, 1)] {
        let (breaker, layer) = breaker(BreakerPolicy::new());
        calls(&layer, &[500; 6]).await;
        let mut streams = Vec::new();
        for _ in 0..heads {
            streams.push(through(&layer, stream()).await.into_body());
        }
        pass(3600 * SECOND).await;
        through(&layer, broken()).await.into_body().collect().await.expect_err("it breaks");
        let (state, consecutive) = if series < 7 { (State::Closed, series) } else { (State::Open, 0) };
        assert_eq!((breaker.state(), breaker.snapshot().consecutive), (state, consecutive), "{heads}");
        drop(streams);
    }
}

// ===== keys =====

#[tokio::test(start_paused = true)]
async fn a_key_that_has_recovered_makes_room() {
    for policy in [TWO, TWO.ramp(10 * SECOND)] {
        let breaker = Breaker::new(policy).keys_at_most(1);
        let layer = keyed(&breaker);
        for _ in 0..2 {
            call_host(&layer, "once-bad", 500).await;
        }
        pass(5 * SECOND).await;
        assert_eq!(call_host(&layer, "once-bad", 200).await, 200);
        pass(3600 * SECOND).await;
        call_host(&layer, "new", 200).await;
        assert_eq!(breaker.keys()[0].0, Key::new("new"));
    }
}

#[tokio::test(start_paused = true)]
async fn keys_that_failed_and_never_came_again_make_room() {
    for failures in [1, 2] {
        let breaker = Breaker::new(TWO).keys_at_most(16);
        let layer = keyed(&breaker);
        for host in 0..200 {
            for _ in 0..failures {
                call_host(&layer, &format!("gone-{host}"), 500).await;
            }
        }
        assert_eq!(breaker.keys().len(), 16);
        pass(3600 * SECOND).await;
        for host in 0..200 {
            call_host(&layer, &format!("new-{host}"), 200).await;
        }
        let old = breaker.keys().into_iter().filter(|(key, _)| key.to_string().starts_with("gone")).count();
        assert_eq!((breaker.keys().len(), old), (16, 0), "{failures}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_for_one_key_is_not_forced_for_all() {
    let breaker = Breaker::new(TWO).keys_at_most(1);
    let layer = keyed(&breaker);
    for _ in 0..2 {
        call_host(&layer, "bad", 500).await;
    }
    assert!(breaker.of(Key::new("to-be-isolated")).is_none());
    assert_eq!((call_host(&layer, "third", 200).await, breaker.mode()), (200, Mode::Normal));
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_by_a_handle_that_is_kept_takes_effect() {
    let breaker = Breaker::new(TWO).keys_at_most(1);
    let layer = keyed(&breaker);
    let kept = breaker.of(Key::new("a")).expect("there is room");
    call_host(&layer, "b", 200).await;
    kept.force_open();
    assert_eq!(call_host(&layer, "a", 200).await, 503);
    kept.reset();
    drop(kept);
    call_host(&layer, "b", 200).await;
    assert_eq!(breaker.keys()[0].0, Key::new("b"));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_keys_than_were_said() {
    for most in [0, 1, 15, 16, 17, 40] {
        let breaker = Breaker::new(TWO).keys_at_most(most);
        let layer = keyed(&breaker);
        for host in 0..500 {
            call_host(&layer, &format!("host-{host}"), 200).await;
        }
        assert_eq!(breaker.keys().len(), most);
    }
}

#[test]
fn an_observer_may_look_at_the_keys() {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let seen: Arc<OnceLock<Breaker>> = Arc::default();
            let looks = Arc::clone(&seen);
            let breaker = Breaker::new(TWO).observe(move |_| {
                let _ = looks.get().map(|breaker: &Breaker| breaker.keys().len());
            });
            seen.set(breaker.clone()).expect("set once");
            breaker.force_open();
            assert_eq!(call_host(&keyed(&breaker), "new", 200).await, 503);
        });
        done.send(()).expect("somebody waits");
    });
    is_done.recv_timeout(Duration::from_secs(20)).expect("a deadlock"); // of real time: a deadlock knows no other
}

// ===== whose fault it is =====

#[tokio::test(start_paused = true)]
async fn a_caller_that_panics_is_no_failure_of_the_service() {
    let (breaker, layer) = breaker(TWO);
    for _ in 0..2 {
        let response = through(&layer, answer(200)).await;
        let consumer = tokio::spawn(async move {
            let _body = response.into_body();
            if true {
                panic!("on purpose")
            }
        });
        assert!(consumer.await.expect_err("a panic").is_panic());
        let hanging = layer.layer(service_fn(|_: Request<()>| std::future::pending::<Result<Answer, Infallible>>()));
        let caller = tokio::spawn(async move {
            tokio::join!(hanging.oneshot(Request::new(())), async {
                if true {
                    panic!("on purpose")
                }
            })
        });
        assert!(caller.await.expect_err("a panic").is_panic());
    }
    let metrics = breaker.metrics();
    assert_eq!((metrics.failed, metrics.succeeded, metrics.ignored), (0, 2, 2));
}

/// A body that panics.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_it_is_called_or_in_its_body_has_failed() {
    let (breaker, layer) = breaker(TWO);
    let panics = service_fn(|request: Request<()>| {
        assert!(request.uri().path() != "/", "on purpose");
        async { Ok::<_, Infallible>(answer(200)) }
    });
    let call = tokio::spawn(layer.layer(panics).oneshot(Request::new(())));
    assert!(call.await.expect_err("a panic").is_panic());
    let body = through(&layer, Response::new(Panics)).await.into_body();
    assert!(tokio::spawn(async move { body.collect().await }).await.expect_err("a panic").is_panic());
    assert_eq!(breaker.metrics(), Metrics { failed: 2, ..Metrics::default() });
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_a_slow_call_is_a_failure() {
    let slow = BreakerPolicy::consecutive_failures(2).or_slow_calls(0.5, SECOND).over(2);
    for (policy, state) in [(slow, State::Open), (BreakerPolicy::consecutive_failures(2), State::Closed)] {
        let (breaker, layer) = breaker(policy);
        let gives_up = service_fn(|request: Request<()>| async move {
            sleep(Deadline::of(request.extensions()).expect("one").remaining()).await;
            let mut response = answer(504);
            response.extensions_mut().insert(Refusal::new("deadline"));
            Ok::<_, Infallible>(response)
        });
        for _ in 0..2 {
            let mut request = Request::new(());
            Deadline::after(5 * SECOND).tighten(request.extensions_mut());
            layer.layer(gives_up).oneshot(request).await.expect("infallible");
        }
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_only_count_beside_a_function_of_ones_own() {
    let (breaker, layer) = breaker(TWO);
    let layer = layer.classify(|head| Outcome::of_status(head.status));
    for _ in 0..2 {
        let mut response = Response::new(Full::default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
        call(&layer, response).await;
    }
    assert_eq!((breaker.state(), breaker.metrics().failed), (State::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn grpc_over_http_3_tells_in_its_trailers() {
    let (breaker, layer) = breaker(TWO);
    let mut response = stream();
    *response.version_mut() = Version::HTTP_3;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    through(&layer, response).await.into_body().collect().await.expect("a body");
    assert_eq!(breaker.metrics(), Metrics { failed: 1, ..Metrics::default() });
}

#[tokio::test(start_paused = true)]
async fn disabled_it_asks_nobody_how_a_call_went() {
    let (breaker, layer) = breaker(TWO);
    let layer = layer.classify(|_| panic!("nobody wants to know"));
    breaker.disable();
    assert_eq!(call(&layer, answer(200)).await, 200);
}

// ===== Retry-After =====

#[tokio::test(start_paused = true)]
async fn retry_after_opens_it_when_two_failures_in_a_row_bring_it() {
    let (breaker, layer) = breaker(BreakerPolicy::failure_rate(0.5).over(20).jitter(0.0));
    calls(&layer, &[500, 500]).await;
    call(&layer, with(429, "retry-after", "300")).await;
    call(&layer, with(429, "retry-after", "300")).await;
    call(&layer, with(503, "retry-after", "30")).await;
    calls(&layer, &[500]).await;
    call(&layer, with(503, "retry-after", "30")).await;
    assert_eq!(breaker.state(), State::Closed, "it was never said twice in a row");
    call(&layer, with(429, "retry-after", "300")).await; // neither adds to a series nor ends one
    call(&layer, with(503, "retry-after", "30")).await;
    assert_eq!((breaker.state(), breaker.snapshot().remaining), (State::Open, 30 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_bad_probe_holds() {
    let (breaker, layer) = breaker(TWO.probes(3, 2));
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    call(&layer, with(503, "retry-after", "120")).await;
    calls(&layer, &[500]).await;
    assert_eq!((breaker.state(), breaker.snapshot().remaining), (State::Open, 120 * SECOND));
}

// ===== snapshots =====

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_the_state_that_the_breaker_says() {
    let (breaker, layer) = breaker(TWO);
    breaker.force_open();
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.mode), (State::Open, Mode::ForcedOpen));
    breaker.reset();
    breaker.restore(&snapshot);
    assert_eq!((breaker.snapshot(), calls(&layer, &[200]).await), (snapshot, vec![503]));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_from_elsewhere_keeps_nobody_out_for_longer_than_the_policy_would() {
    let (breaker, layer) = breaker(TWO);
    let endless = Snapshot { state: State::Open, lasted: Duration::MAX, ..breaker.snapshot() };
    breaker.restore(&endless);
    assert!(breaker.snapshot().lasted <= 600 * SECOND);
    let hung = layer.layer(service_fn(|_: Request<()>| std::future::pending::<Result<Answer, Infallible>>()));
    let mut probe = Box::pin(hung.oneshot(Request::new(())));
    assert!(futures_poll(&mut probe).await.is_pending());
    pass(1200 * SECOND).await;
    calls(&layer, &[200]).await;
    assert_eq!(breaker.state(), State::Open, "the probe has hung for long enough");
}

async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

// ===== the window of calls, when epochs have come round =====

const FAILURE: Mark = Mark { failed: 100, slow: false };
const SUCCESS: Mark = Mark { failed: 0, slow: false };

#[test]
fn what_is_left_of_long_ago_does_not_swallow_failures() {
    let window = Window::new(&BreakerPolicy::new().of_last(100), 1);
    for _ in 0..100 {
        window.add(1, 0, SUCCESS, || 0);
    }
    for epoch in 2..40_000 {
        window.begin(epoch);
        window.add(epoch, 0, FAILURE, || 0);
    }
    window.begin(40_000);
    for _ in 0..100 {
        window.add(40_000, 0, FAILURE, || 0);
    }
    assert_eq!(window.tally(40_000, 0), Tally { calls: 100, failed: 10_000, slow: 0 });
}

#[test]
fn what_is_left_of_65_536_epochs_ago_does_not_count() {
    let window = Window::new(&BreakerPolicy::new().of_last(100), 1);
    for _ in 0..100 {
        window.add(1, 0, FAILURE, || 0);
    }
    for epoch in 2..=65_537 {
        window.begin(epoch);
    }
    for _ in 0..100 {
        window.add(65_537, 0, SUCCESS, || 0);
    }
    for _ in 0..50 {
        window.add(65_537, 0, FAILURE, || 0);
    }
    assert_eq!(window.tally(65_537, 0).failed, 5_000);
}
