//! Refuses to call a service that fails, until it has recovered.
//!
//! While it is closed, calls pass and are counted. When too many of them fail, or take too long, it opens: calls are
//! answered with `503 Service Unavailable` as `application/problem+json`, with `Retry-After`; a gRPC client gets
//! `UNAVAILABLE` and a pushback. After a while it is half-open: a few calls pass as probes, and if enough of them
//! succeed, it closes, and admits a share that rises from a tenth to all.
//!
//! What counts is how a call ends: at the end of the response's body, with the trailers of gRPC, and not at its head. An
//! outcome from before the breaker last changed its state changes nothing. Only where streams never end, their heads have
//! to do: a good one ends a series of failures at the head, unless its own body is the next to fail, and closes a
//! half-open breaker when the time for probes is over.
//!
//! # Example
//!
//! ```
//! use bartizan::circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, State};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! const POLICY: BreakerPolicy = BreakerPolicy::failure_rate(0.5).over(20).or_consecutive_failures(2);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = Breaker::new(POLICY); // made once, and kept to look at
//! let client = CircuitBreakerLayer::new(breaker.clone()).layer(service_fn(|_: Request<()>| async {
//!     Response::builder().status(502).body(Full::<Bytes>::default()) // a service that is down
//! }));
//!
//! for status in [StatusCode::BAD_GATEWAY, StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE] {
//!     let response = client.clone().oneshot(Request::new(())).await?;
//!     assert_eq!(response.status(), status);
//! }
//! assert_eq!(breaker.state(), State::Open);
//! assert_eq!(breaker.metrics().refused, 1);
//! # Ok(())
//! # }
//! ```
//!
//! A breaker for each host, and slow calls count, too:
//!
//! ```
//! use bartizan::circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, Event, Key};
//! use std::time::Duration;
//!
//! let policy = BreakerPolicy::new().or_slow_calls(0.8, Duration::from_secs(2));
//! let breaker = Breaker::new(policy).observe(|event| {
//!     if let Event::Changed(change) = event {
//!         println!("{:?}: {:?}, because of {:?}", change.key, change.to, change.cause);
//!     }
//! });
//! let layer = CircuitBreakerLayer::new(breaker).key_by(|head| head.uri.host().map(Key::new));
//! # let _ = layer;
//! ```
//!
//! # Order
//!
//! Inside retries, so that each attempt counts and an open breaker ends them; outside the timeout of an attempt, so that
//! slowness counts as failure. A fallback stands further out and knows a refusal by its [`Refusal`](crate::Refusal).
//! Under a balancer there is a breaker for each endpoint, as a [gate](CircuitBreakerLayer::gate).
//!
//! # What it remembers
//!
//! What its [`Breaker`] remembers, which is made before the layer and shared by every clone, route and connection. What
//! that takes does not depend on how much happens: see [`Breaker::new`] and [`Breaker::keys_at_most`]. A call takes no
//! lock and allocates nothing while the breaker is closed, but for two cases: to find the breaker of a key it shares a
//! lock with all that do so, and while the share of admitted calls rises, each call takes one for a moment.
//! [`Breaker::snapshot`] takes it over a restart, without its keys.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; add `bartizan-store` and `rand` to the dependencies, and `sync` to tokio's features.

mod aside;
mod body;
mod breaker;
mod control;
mod core;
mod event;
mod future;
mod gate;
mod keyed;
mod layer;
mod machine;
mod outcome;
mod permit;
mod policy;
mod refusal;
mod series;
mod totals;
mod window;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    body::WatchedBody,
    breaker::{Breaker, Changes, Metrics, Mode, Snapshot, State},
    event::{Cause, Event, Judged, Transition},
    future::ResponseFuture,
    layer::{CircuitBreaker, CircuitBreakerLayer},
    outcome::{AllFail, ClassifyError, Outcome, Weight},
    policy::BreakerPolicy,
    refusal::Refused,
};
pub use bartizan_store::Key;
