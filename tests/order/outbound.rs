//! In front of a service: who counts, who waits, and for how long.

use super::*;
use bartizan::{
    Deadline, Refusal,
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, State},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    deadline::PropagateDeadlineLayer,
    fallback::{FallbackLayer, fixed},
    retry::{Jitter, RetryLayer, RetryPolicy},
    timeout::{AttemptTimeoutLayer, TimeoutLayer},
};
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

#[tokio::test(start_paused = true)]
async fn each_attempt_counts_and_an_open_breaker_ends_them_only_if_the_breaker_is_inside_of_retry() {
    let breaker = || Breaker::new(BreakerPolicy::consecutive_failures(2));
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));

    let (ours, behind) = (breaker(), Behind::answering(StatusCode::SERVICE_UNAVAILABLE));
    let inside = ServiceBuilder::new().layer(retry()).layer(CircuitBreakerLayer::new(ours.clone()));
    send(inside.service(behind.clone()), get("/")).await;
    assert_eq!((ours.state(), behind.seen()), (State::Open, 2));

    let (ours, behind) = (breaker(), Behind::answering(StatusCode::SERVICE_UNAVAILABLE));
    let outside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(retry());
    send(outside.service(behind.clone()), get("/")).await;
    assert_eq!((ours.state(), behind.seen()), (State::Closed, 3));
}

#[tokio::test(start_paused = true)]
async fn slowness_counts_as_failure_only_if_the_timeout_is_inside_of_the_breaker() {
    let breaker = || Breaker::new(BreakerPolicy::consecutive_failures(1));
    let timeout = || AttemptTimeoutLayer::new(Duration::from_secs(1));

    let ours = breaker();
    let inside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(timeout());
    assert_eq!(send(inside.service(Behind::slow()), get("/")).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(ours.state(), State::Open);

    let ours = breaker();
    let outside = ServiceBuilder::new().layer(timeout()).layer(CircuitBreakerLayer::new(ours.clone()));
    assert_eq!(send(outside.service(Behind::slow()), get("/")).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((ours.state(), ours.metrics().ignored), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_limit_for_all_that_is_over_before_that_of_an_attempt_counts_as_failure_and_a_deadline_that_came_does_not() {
    let code = |head: &response::Parts| head.extensions.get::<Refusal>().expect("a refusal").error_type();
    let stack = |breaker: &Breaker| {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(2)))
            .layer(RetryLayer::new(RetryPolicy::attempts(3)))
            .layer(CircuitBreakerLayer::new(breaker.clone()))
            .layer(AttemptTimeoutLayer::default())
            .service(Behind::slow())
    };
    let ours = Breaker::new(BreakerPolicy::consecutive_failures(1));
    let answer = send(stack(&ours), get("/")).await;
    assert_eq!((code(&answer), ours.state()), ("timeout", State::Open));

    let ours = Breaker::new(BreakerPolicy::consecutive_failures(1));
    let mut hurried = get("/");
    Deadline::after(Duration::from_secs(1)).tighten(hurried.extensions_mut());
    let answer = send(stack(&ours), hurried).await;
    assert_eq!((code(&answer), ours.state()), ("deadline", State::Closed));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_time_only_if_the_timeout_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));
    let timeout = || AttemptTimeoutLayer::new(Duration::from_secs(1));

    let behind = Behind::slow();
    let inside = ServiceBuilder::new().layer(retry()).layer(timeout());
    send(inside.service(behind.clone()), get("/")).await;
    assert_eq!(behind.seen(), 3);

    let behind = Behind::slow();
    let outside = ServiceBuilder::new().layer(timeout()).layer(retry());
    send(outside.service(behind.clone()), get("/")).await;
    assert_eq!(behind.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_waits_for_the_attempts_only_if_the_retry_is_inside() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));
    let fallback = || FallbackLayer::new(fixed(Response::new(bytes::Bytes::new())));

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let inside = ServiceBuilder::new().layer(fallback()).layer(retry());
    assert_eq!(send(inside.service(behind.clone()), get("/")).await.status, StatusCode::OK);
    assert_eq!(behind.seen(), 3);

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let outside = ServiceBuilder::new().layer(retry()).layer(fallback());
    assert_eq!(send(outside.service(behind.clone()), get("/")).await.status, StatusCode::OK);
    assert_eq!(behind.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_no_permit_only_if_the_limit_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(2).jitter(Jitter::Equal));
    let in_the_pause = Duration::from_millis(25);

    let limit = ConcurrencyLimit::new(1);
    let inside = ServiceBuilder::new().layer(retry()).layer(ConcurrencyLimitLayer::new(limit.clone()));
    let call = tokio::spawn(send(inside.service(Behind::answering(StatusCode::SERVICE_UNAVAILABLE)), get("/")));
    sleep(in_the_pause).await;
    assert_eq!((limit.in_flight(), call.is_finished()), (0, false));

    let limit = ConcurrencyLimit::new(1);
    let outside = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(limit.clone())).layer(retry());
    let call = tokio::spawn(send(outside.service(Behind::answering(StatusCode::SERVICE_UNAVAILABLE)), get("/")));
    sleep(in_the_pause).await;
    assert_eq!((limit.in_flight(), call.is_finished()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_what_is_left_only_if_that_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(2).jitter(Jitter::Equal));
    let with_deadline = || {
        let mut request = get("/");
        Deadline::after(Duration::from_secs(10)).tighten(request.extensions_mut());
        request
    };

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let inside = ServiceBuilder::new().layer(retry()).layer(PropagateDeadlineLayer::new());
    send(inside.service(behind.clone()), with_deadline()).await;
    assert!(behind.told()[1] < behind.told()[0], "{:?}", behind.told());

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let outside = ServiceBuilder::new().layer(PropagateDeadlineLayer::new()).layer(retry());
    send(outside.service(behind.clone()), with_deadline()).await;
    assert_eq!(behind.told()[1], behind.told()[0], "though some of it has passed");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_says_nothing_of_the_service_only_if_the_limit_is_inside_of_the_breaker() {
    let breaker = || Breaker::new(BreakerPolicy::new());
    let full = || {
        let limit = ConcurrencyLimit::new(1);
        (limit.try_acquire().unwrap(), ConcurrencyLimitLayer::new(limit))
    };

    let (ours, (permit, limit)) = (breaker(), full());
    let inside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(limit);
    assert_eq!(send(inside.service(Behind::slow()), get("/")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((ours.metrics().ignored, ours.metrics().refused), (1, 0));
    drop(permit);

    // Outside, one that waits in line for its permit may be waiting for a refusal.
    let ours = breaker();
    ours.force_open();
    let limit = ConcurrencyLimit::new(1);
    let permit = limit.try_acquire().unwrap();
    let waiting = ConcurrencyLimitLayer::new(limit).wait_up_to(Duration::from_secs(5), 1);
    let outside = ServiceBuilder::new().layer(waiting).layer(CircuitBreakerLayer::new(ours));
    let start = Instant::now();
    let call = tokio::spawn(send(outside.service(Behind::slow()), get("/")));
    sleep(Duration::from_secs(4)).await;
    drop(permit);
    assert_eq!(call.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() >= Duration::from_secs(4));
}

// ===== helpers =====

/// A service behind, which takes any body and always does the same.
#[derive(Clone)]
struct Behind {
    status: StatusCode,
    after: Duration,
    told: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Behind {
    fn answering(status: StatusCode) -> Self {
        Self { status, after: Duration::from_millis(10), told: Arc::default() }
    }

    fn slow() -> Self {
        Self { after: Duration::from_secs(60), ..Self::answering(StatusCode::OK) }
    }

    /// How many requests it has seen.
    fn seen(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// What each request told of the time that it has.
    fn told(&self) -> Vec<Option<u64>> {
        self.told.lock().unwrap().clone()
    }
}

impl<B> Service<Request<B>> for Behind {
    type Response = Response<Bytes>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let told = request.headers().get("x-request-timeout-ms").map(|left| left.to_str().unwrap().parse().unwrap());
        self.told.lock().unwrap().push(told);
        let Self { status, after, .. } = *self;
        Box::pin(async move {
            sleep(after).await;
            let mut response = Response::new(Bytes::default());
            *response.status_mut() = status;
            Ok(response)
        })
    }
}
