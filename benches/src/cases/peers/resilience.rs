//! Others' timeouts, breakers, retries and limits on what is in flight.

use crate::{
    cases::{Terms, unknown},
    fixture::Origin,
    run::{Pause, Run, runtime},
};
use axum::{body::Body, error_handling::HandleErrorLayer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use std::{convert::Infallible, time::Duration};
use tower::{Layer, ServiceBuilder, limit::GlobalConcurrencyLimitLayer, timeout::TimeoutLayer};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_resilience_retry::RetryLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;

const WHILE: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(60 * 60);
const AMPLE: usize = 1024;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let http_timeout = tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, WHILE);
    match name {
        "timeout-ready" => run.run(Terms::OK, TimeoutLayer::new(WHILE).layer(Origin)),
        "timeout-ready-http" => run.run(Terms::OK, http_timeout.layer(Origin)),
        "timeout-ready-resilience" => {
            let limiter = TimeLimiterLayer::builder().timeout_duration(WHILE).build();
            run.run(Terms::OK, limiter.layer(Origin))
        }
        "timeout-pending" => run.run(Terms::OK, TimeoutLayer::new(WHILE).layer(Pause(Origin))),
        "timeout-pending-http" => run.run(Terms::OK, http_timeout.layer(Pause(Origin))),
        "timeout-pending-resilience" => {
            let limiter = TimeLimiterLayer::builder().timeout_duration(WHILE).build();
            run.run(Terms::OK, limiter.layer(Pause(Origin)))
        }
        "breaker-closed" => {
            let breaker = CircuitBreakerLayer::builder()
                .failure_rate_threshold(0.5)
                .sliding_window_size(100)
                .classify_response(|response: &Response<Body>| response.status().is_server_error())
                .build();
            run.run(Terms::OK, breaker.map_err(|error| error.to_string())?.layer(Origin))
        }
        "breaker-open" => {
            let breaker = CircuitBreakerLayer::builder().wait_duration_in_open(HOUR).build_with_handle();
            let (breaker, handle) = breaker.map_err(|error| error.to_string())?;
            runtime().block_on(handle.force_open());
            // The breaker answers with an error. This is how axum makes a response of it.
            let answer =
                |_| async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "30")], "the circuit is open") };
            let stack = ServiceBuilder::new().layer(HandleErrorLayer::new(answer)).layer(breaker);
            run.run(Terms::OK.unavailable(&["retry-after"]), stack.service(Origin))
        }
        "retry-resilience" => {
            let retry = RetryLayer::<Request<Empty<Bytes>>, Response<Body>, Infallible>::builder()
                .max_attempts(3)
                .exponential_backoff(Duration::from_millis(50))
                .build();
            // It asks for requests that are `Clone`. Those of axum are not, so they go without their bodies.
            let stack = ServiceBuilder::new().map_request(|request: Request<Body>| request.map(|_| Empty::new()));
            run.run(Terms::OK, stack.layer(retry).service(Origin))
        }
        "concurrency" => run.run(Terms::OK, GlobalConcurrencyLimitLayer::new(AMPLE).layer(Origin)),
        "concurrency-resilience" => {
            let bulkhead = BulkheadLayer::builder().max_concurrent_calls(AMPLE).reject_when_full().build();
            run.run(Terms::OK, bulkhead.map_err(|error| error.to_string())?.layer(Origin))
        }
        _ => Err(unknown(name)),
    }
}
