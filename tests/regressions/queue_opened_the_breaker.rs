//! Requests that had waited in a queue of ours were given up after a moment with the service, and the breaker counted it.

use bartizan::{
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, State},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    retry::{RequestBody, RetryLayer, RetryPolicy},
    timeout::{AttemptTimeoutLayer, TimeoutLayer},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use std::{convert::Infallible, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn a_queue_of_ours_does_not_open_the_breaker_of_a_healthy_service() {
    let breaker = Breaker::new(BreakerPolicy::consecutive_failures(1));
    let limit = ConcurrencyLimitLayer::new(ConcurrencyLimit::new(1)).wait_up_to(Duration::from_secs(5), 100);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(RetryLayer::new(RetryPolicy::attempts(3)))
        .layer(CircuitBreakerLayer::new(breaker.clone()))
        .layer(limit)
        .layer(AttemptTimeoutLayer::default())
        .service(service_fn(|_: Request<RequestBody<Empty<Bytes>>>| async {
            sleep(Duration::from_millis(190)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    // The eleventh has its permit after 1.9 seconds, and a tenth of a second with the service.
    let mut calls = JoinSet::new();
    for _ in 0..11 {
        let stack = stack.clone();
        calls.spawn(async move { stack.oneshot(Request::new(Empty::new())).await.unwrap().status() });
    }
    let answers = calls.join_all().await;
    let given_up = answers.iter().filter(|status| **status == StatusCode::GATEWAY_TIMEOUT).count();
    assert_eq!((given_up, answers.len()), (1, 11));
    let metrics = breaker.metrics();
    assert_eq!((breaker.state(), metrics.failed, metrics.ignored), (State::Closed, 0, 1));
}
