//! A breaker that is not ready, instead of refusing.

use super::*;

/// What is polled by hand, and knows whether it was woken.
mod task {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Wake, Waker},
    };

    pub(super) struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    impl Woken {
        pub(super) fn new() -> Arc<Self> {
            Arc::new(Self(AtomicBool::new(false)))
        }

        pub(super) fn take(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    pub(super) fn with_context<T>(woken: &Arc<Woken>, f: impl FnOnce(&mut Context<'_>) -> T) -> T {
        f(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
    }
}

fn is_ready<S: Service<Request<()>>>(service: &mut S, woken: &Arc<task::Woken>) -> bool {
    task::with_context(woken, |cx| service.poll_ready(cx).is_ready())
}

fn service(
    layer: &CircuitBreakerLayer,
) -> impl Service<Request<()>, Response = Response<WatchedBody<Full<Bytes>>>> + Clone + use<> {
    layer.layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(answer(200)) }))
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_pending_while_open_and_wakes_when_probes_may_pass() {
    let (breaker, layer) = breaker(TWO);
    let layer = layer.gate();
    calls(&layer, &[500, 500]).await;
    let (mut service, woken) = (service(&layer), task::Woken::new());
    assert!(!is_ready(&mut service, &woken));
    pass(5 * SECOND - Duration::from_millis(2)).await;
    assert!(!woken.take() && !is_ready(&mut service, &woken));
    pass(Duration::from_millis(4)).await;
    assert!(woken.take());
    assert!(is_ready(&mut service, &woken));
    drop(service.call(Request::new(())));
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_gate_wakes_when_somebody_closes_the_breaker() {
    let (breaker, layer) = breaker(TWO);
    let (mut service, woken) = (service(&layer.gate()), task::Woken::new());
    breaker.force_open();
    assert!(!is_ready(&mut service, &woken));
    breaker.reset();
    assert!(woken.take());
    assert!(is_ready(&mut service, &woken));
}

#[tokio::test(start_paused = true)]
async fn a_gate_wakes_when_a_place_for_a_probe_is_free_or_all_have_hung() {
    let (_, layer) = breaker(TWO);
    let layer = layer.gate();
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    let [mut one, mut other] = [service(&layer), service(&layer)];
    let woken = task::Woken::new();
    assert!(is_ready(&mut one, &woken));
    let probe = one.call(Request::new(()));
    assert!(!is_ready(&mut other, &woken));
    drop(probe);
    assert!(woken.take() && is_ready(&mut other, &woken));
    let hung = other.call(Request::new(()));
    assert!(!is_ready(&mut one, &woken));
    pass(10 * SECOND + Duration::from_millis(2)).await;
    assert!(woken.take());
    assert!(!is_ready(&mut one, &woken), "it is open again");
    pass(10 * SECOND + Duration::from_millis(2)).await;
    assert!(woken.take() && is_ready(&mut one, &woken));
    drop(hung);
}

/// A balancer readies many and calls one.
#[tokio::test(start_paused = true)]
async fn being_ready_reserves_nothing_and_who_comes_too_late_is_refused() {
    let (_, layer) = breaker(TWO);
    let layer = layer.gate();
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    let woken = task::Woken::new();
    let mut services: Vec<_> = (0..10).map(|_| service(&layer)).collect();
    assert!(services.iter_mut().all(|service| is_ready(service, &woken)));
    let mut last = services.pop().expect("ten");
    let Ok(response) = last.call(Request::new(())).await else { panic!("infallible") };
    assert_eq!(response.status(), 200);
    let Ok(late) = services[0].call(Request::new(())).await else { panic!("infallible") };
    assert_eq!(late.status(), 503);
    drop(response);
}
