//! What becomes of breakers that were open when they had to make room.

use super::{
    by_key::{call_host, keyed},
    *,
};
use std::{collections::HashMap, future::pending};

async fn call_all(layer: &CircuitBreakerLayer, hosts: impl IntoIterator<Item = u32>, status: u16) -> Vec<u16> {
    let mut seen = Vec::new();
    for host in hosts {
        seen.push(call_host(layer, &format!("host-{host}"), status).await);
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn one_that_was_open_and_made_room_goes_on_from_there() {
    let breaker = Breaker::new(TWO).keys_at_most(1);
    let layer = keyed(&breaker);
    for seconds in [0, 5, 10] {
        pass(seconds * SECOND).await;
        call_all(&layer, [0, 0], 500).await;
    }
    pass((20 + 2 * 20) * SECOND).await;
    assert_eq!(call_all(&layer, [1], 200).await, [200]);
    assert_eq!(breaker.keys()[0].0, Key::new("host-1"));

    let hanging = layer.layer(service_fn(|_: Request<()>| pending::<Result<Answer, Infallible>>()));
    let mut probe = Box::pin(hanging.oneshot(Request::get("http://host-0/").body(()).expect("a request")));
    assert!(std::future::poll_fn(|cx| Poll::Ready(probe.as_mut().poll(cx).is_pending())).await);
    assert_eq!(call_all(&layer, [0], 200).await, [503], "there is one probe");
    drop(probe);
    assert_eq!(call_all(&layer, [0], 500).await, [500]);
    let again = breaker.of(Key::new("host-0")).expect("it has its own").snapshot();
    assert_eq!((again.state, again.opened, again.remaining), (State::Open, 4, 40 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_closed_one_makes_room_and_not_one_that_was_open() {
    let breaker = Breaker::new(TWO).keys_at_most(16);
    let layer = keyed(&breaker);
    call_all(&layer, 0..200, 200).await;
    let (bad, _) = breaker.keys()[0];
    for _ in 0..2 {
        call_host(&layer, &bad.to_string(), 500).await;
    }
    pass(3600 * SECOND).await;
    // Each part has room for one.
    call_all(&layer, 200..2000, 200).await;
    assert!(breaker.of(bad).expect("it has its own").snapshot().opened > 0);
}

#[tokio::test(start_paused = true)]
async fn a_map_full_of_open_ones_forgets_none_and_refuses_no_stranger() {
    let breaker = Breaker::new(TWO.open_for(3600 * SECOND, 3600 * SECOND)).keys_at_most(64);
    let layer = keyed(&breaker);
    let mut bad = 0;
    while breaker.keys().iter().filter(|(_, of_key)| of_key.state() == State::Open).count() < 64 {
        call_all(&layer, [bad, bad], 500).await;
        breaker.restore(&Snapshot { state: State::Closed, consecutive: 0, ..Breaker::new(TWO).snapshot() });
        bad += 1;
    }
    let open = breaker.keys();
    for _ in 0..3 {
        assert!(call_all(&layer, 10_000..10_200, 200).await.iter().all(|status| *status == 200));
        for (key, _) in &open {
            assert_eq!(call_host(&layer, &key.to_string(), 200).await, 503);
        }
    }
    assert_eq!((breaker.state(), breaker.keys().len()), (State::Closed, 64));
}

#[tokio::test(start_paused = true)]
async fn strangers_that_fail_cannot_keep_others_out_for_ever_nor_take_any_room() {
    let breaker = Breaker::new(TWO).keys_at_most(16);
    let layer = keyed(&breaker);
    for round in 0..20_u32 {
        for stranger in 0..100 {
            call_all(&layer, [1000 * round + stranger; 2], 500).await;
        }
        pass(60 * SECOND).await;
        assert!(breaker.of(Key::new(format!("new-{round}"))).is_some());
        assert_eq!(breaker.keys().len(), 16);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_leaves_nothing_set_aside() {
    let breaker = Breaker::new(TWO).keys_at_most(1);
    let layer = keyed(&breaker);
    call_all(&layer, [0, 0], 500).await;
    pass(3600 * SECOND).await;
    call_all(&layer, [1], 200).await;
    breaker.reset();
    let of_key = breaker.of(Key::new("host-0")).expect("it has its own");
    assert_eq!((of_key.state(), of_key.snapshot().opened), (State::Closed, 0));
}

#[test]
fn what_is_set_aside_takes_a_third_of_a_kib_for_each_key() {
    const { assert!(crate::circuit_breaker::aside::SET <= 1024 / 3) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Two keys have room, and five are there: each is at every moment what it would be if there were room for all.
    #[test]
    fn a_key_without_room_is_as_if_it_had_some(
        calls in prop::collection::vec((0..5_u32, prop::sample::select(&[200, 500, 501][..]), 0..8_000_u64), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let policy = BreakerPolicy::consecutive_failures(1).jitter(0.0).probes(3, 2).ramp(2 * SECOND);
            let policy = policy.open_for(SECOND, 4 * SECOND).half_open_at_most(1);
            let breaker = Breaker::new(policy).keys_at_most(2);
            let layer = keyed(&breaker);
            let mut with_room = HashMap::new();
            for (host, status, millis) in calls {
                pass(Duration::from_millis(millis)).await;
                if breaker.of(Key::new(format!("host-{host}"))).is_none() {
                    continue;
                }
                let alone: &mut Breaker = with_room.entry(host).or_insert_with(|| Breaker::new(policy));
                let expected = self::calls(&CircuitBreakerLayer::new(alone.clone()), &[status]).await;
                prop_assert_eq!(call_all(&layer, [host], status).await, expected);
                let of_key = breaker.of(Key::new(format!("host-{host}"))).expect("it has its own");
                let seen = |breaker: &Breaker| {
                    let Snapshot { state, remaining, opened, .. } = breaker.snapshot();
                    (state, remaining, opened)
                };
                prop_assert_eq!(seen(&of_key), seen(alone), "{}", host);
            }
            Ok(())
        })?;
    }
}
