//! A breaker for each key.

use super::*;

pub(super) fn keyed(breaker: &Breaker) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(breaker.clone()).key_by(|head| head.uri.host().map(Key::new))
}

pub(super) async fn call_host(layer: &CircuitBreakerLayer, host: &str, status: u16) -> u16 {
    let uri = if host.is_empty() { "/".to_owned() } else { format!("http://{host}/") };
    let request = Request::builder().uri(uri).body(()).expect("a request");
    let service = service_fn(move |_: Request<()>| async move { Ok::<_, Infallible>(answer(status)) });
    let response = layer.layer(service).oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    response.into_body().collect().await.expect("a body");
    status
}

#[tokio::test(start_paused = true)]
async fn one_host_that_fails_leaves_the_others_alone() {
    let breaker = Breaker::new(TWO);
    let layer = keyed(&breaker);
    for _ in 0..2 {
        call_host(&layer, "a", 500).await;
    }
    assert_eq!((call_host(&layer, "a", 200).await, call_host(&layer, "b", 200).await), (503, 200));
    assert_eq!(breaker.of(Key::new("a")).expect("there is room").state(), State::Open);
    assert_eq!(
        (breaker.of(Key::new("b")).expect("there is room").state(), breaker.state()),
        (State::Closed, State::Closed)
    );
    // Applied once more, it is the same breakers.
    assert_eq!(call_host(&keyed(&breaker), "a", 200).await, 503);
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_key_share_the_breaker_itself() {
    let breaker = Breaker::new(TWO);
    let layer = keyed(&breaker);
    for _ in 0..2 {
        call_host(&layer, "", 500).await;
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!((call_host(&layer, "", 200).await, call_host(&layer, "a", 200).await), (503, 200));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_is_never_dropped_and_a_closed_one_makes_room() {
    let breaker = Breaker::new(TWO).keys_at_most(1);
    let layer = keyed(&breaker);
    for host in ["a", "b", "c"] {
        assert_eq!(call_host(&layer, host, 200).await, 200);
    }
    assert_eq!(breaker.keys().len(), 1);
    for _ in 0..2 {
        call_host(&layer, "bad", 500).await;
    }
    // Whoever finds no room shares the breaker itself.
    for host in ["d", "e"] {
        assert_eq!(call_host(&layer, host, 500).await, 500);
    }
    assert_eq!((call_host(&layer, "bad", 200).await, breaker.state()), (503, State::Open));
    assert_eq!(breaker.keys().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn any_number_of_keys_takes_bounded_room() {
    let breaker = Breaker::new(TWO).keys_at_most(100);
    let layer = keyed(&breaker);
    for host in 0..2_000 {
        let status = if host % 3 == 0 { 500 } else { 200 };
        call_host(&layer, &format!("host-{host}"), status).await;
        call_host(&layer, &format!("host-{host}"), status).await;
    }
    assert!(breaker.keys().len() <= 100);
    let open = breaker.keys().into_iter().filter(|(_, of_key)| of_key.state() == State::Open).count();
    assert!(open > 30, "{open}");
}

#[test]
fn a_breaker_of_a_key_takes_less_than_a_kib() {
    use crate::circuit_breaker::{core::Core, totals::LANE};
    const { assert!(size_of::<Core>() + LANE < 1024 && LANE < 512) }
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_holds_for_all_keys() {
    let breaker = Breaker::new(TWO);
    let layer = keyed(&breaker);
    assert_eq!(call_host(&layer, "old", 200).await, 200);
    breaker.force_open();
    assert_eq!((call_host(&layer, "old", 200).await, call_host(&layer, "new", 200).await), (503, 503));
    breaker.reset();
    assert_eq!((call_host(&layer, "old", 200).await, call_host(&layer, "new", 200).await), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_key() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let breaker = Breaker::new(TWO).observe(move |event| {
        if let Event::Changed(change) = event {
            telling.lock().unwrap().push((change.key.map(|key| key.to_string()), change.to));
        }
    });
    let layer = keyed(&breaker);
    for _ in 0..2 {
        call_host(&layer, "a", 500).await;
    }
    assert_eq!(*told.lock().unwrap(), [(Some("a".to_owned()), State::Open)]);
}
