//! Answers 504 when a service takes too long.
//!
//! A client whose request is not answered in time gets `504 Gateway Timeout` as `application/problem+json`, with the
//! code `timeout`, or `deadline` if the [`Deadline`](crate::Deadline) with which the request came was the earlier one; a
//! client of gRPC gets `DEADLINE_EXCEEDED`. What the service was doing is dropped first. The time runs until the head of the response;
//! an answer that is there when the time is looked at is handed over, however late it is, and a panic stays a panic.
//!
//! [`TimeoutLayer`] is for a request in all, [`AttemptTimeoutLayer`] for each attempt of a retry.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, extract::Request, routing::get};
//! use bartizan::timeout::TimeoutLayer;
//! use http::StatusCode;
//! use std::time::Duration;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new()
//!     .route("/fast", get(|| async { "here" }))
//!     .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await; "here, at last" }))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2)));
//!
//! let answer = async |path| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await;
//! assert_eq!(answer("/fast").await?.status(), StatusCode::OK);
//! assert_eq!(answer("/slow").await?.status(), StatusCode::GATEWAY_TIMEOUT);
//! # Ok(())
//! # }
//! ```
//!
//! Outbound, both stand round a retry, with the breaker in between:
//!
//! ```text
//! TimeoutLayer           30 s for all attempts, and for the pauses between them
//! RetryLayer
//! CircuitBreakerLayer    counts a timeout as a failure
//! AttemptTimeoutLayer    10 s for each
//! connection
//! ```
//!
//! # The bodies
//!
//! A response whose head is in time can still take for ever. tower-http bounds that, and these layers do not do it again:
//! `ResponseBodyTimeoutLayer` breaks off a response that rests between two frames, `RequestBodyTimeoutLayer` a request
//! whose client falls silent, and `ResponseBodyDeadlineLayer` and `RequestBodyDeadlineLayer` bound a body as a whole,
//! counted from its head. Thirty seconds of rest is a good default. A body that is broken off closes an HTTP/1
//! connection and resets an HTTP/2 stream.
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use bartizan::timeout::TimeoutLayer;
//! use std::time::Duration;
//! use tower::ServiceBuilder;
//! use tower_http::timeout::{RequestBodyTimeoutLayer, ResponseBodyDeadlineLayer, ResponseBodyTimeoutLayer};
//!
//! let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(
//!     ServiceBuilder::new()
//!         .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(30)))    // the client rests
//!         .layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(30)))   // the service rests
//!         .layer(ResponseBodyDeadlineLayer::new(Duration::from_secs(300))) // the download as a whole
//!         .layer(TimeoutLayer::new(Duration::from_secs(30))),              // until the head
//! );
//! # let _ = app;
//! ```
//!
//! # What others make of a timeout
//!
//! The answer bears the mark [`Refusal`](crate::Refusal), with the error type `timeout` or `deadline`. Unlike other
//! refusals it says nothing about whether the service has done its work. So a breaker counts `timeout` as a failure of the
//! service, and a retry treats it as an attempt that may have had its effect: it repeats what is idempotent, and nothing
//! else. After `deadline` nobody waits any more: it is no reason to try again, and whoever gives too little time harms
//! no service by it.
//!
//! So it matters whose time was over, and not which layer has seen it: when the limit for all attempts ends one of them,
//! its answer is `timeout` too, if the attempt has had at least half of that limit. If it has had less, since a queue or
//! another attempt took the rest, the service behind is not to blame for it, and its answer is `deadline`.
//! [`Deadline::limit`](crate::Deadline::limit) does the same for limits of your own.
//!
//! # Order
//!
//! Inbound inside of [`deadline`](crate::deadline), and inside of everything that refuses without a wait. Outbound
//! [`TimeoutLayer`] outside of retry, [`AttemptTimeoutLayer`] inside of retry and breaker, so that slowness counts as
//! failure. The waits of limits that stand inside count.
//!
//! # What it costs
//!
//! A service that answers at once pays for no clock and no timer. [`TimeoutLayer`] reads the clock all the same, to set
//! the deadline; see [`tightens`](TimeoutLayer::tightens).
//!
//! # What it remembers
//!
//! Nothing.
//!
//! # Lifting
//!
//! This folder and `shared/`; no dependency beyond those.

mod due;
mod future;
mod layer;
mod policy;

#[cfg(test)]
mod tests;

pub use self::{
    due::Refused,
    future::ResponseFuture,
    layer::{AttemptTimeoutLayer, Event, Timeout, TimeoutLayer},
};
