//! Answers 429 to whoever asks for more than a quota grants: per client, tenant, route, or anything in the head.
//!
//! A refused client gets `429 Too Many Requests` as `application/problem+json` with the problem types and the
//! `violated-policies` of [draft-ietf-httpapi-ratelimit-headers-11], `Retry-After` in whole seconds (rounded up, at
//! least 1, and up to a tenth more, so that those who were refused together do not come back together), and `RateLimit` and
//! `RateLimit-Policy`; a gRPC client gets `RESOURCE_EXHAUSTED` and a pushback. Nothing else of the service is touched.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use bartizan::{PeerAddr, rate_limit::{Quota, RateLimitLayer}};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//!
//! const PER_CLIENT: Quota = Quota::per_second(10).burst(2); // ten a second, two at once
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/", get(|| async { "hello" })).layer(RateLimitLayer::new(PER_CLIENT));
//!
//! let mut answers = Vec::new();
//! for client in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"] {
//!     let peer = PeerAddr(format!("{client}:4711").parse()?); // a server does this: bridge::axum::with_peer_addr
//!     let request = Request::builder().uri("/").extension(peer).body(Body::empty())?;
//!     answers.push(app.clone().oneshot(request).await?);
//! }
//! assert_eq!(answers[1].status(), StatusCode::OK);
//! assert_eq!(answers[2].status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(answers[2].headers()["retry-after"], "1");
//! assert_eq!(answers[2].headers()["ratelimit-policy"], r#""default";q=10;w=1"#);
//! assert_eq!(answers[3].status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! Several policies are decided in one step, all or nothing, so that a client who is refused by one takes nothing from
//! the others; and a login is charged for its failures only:
//!
//! ```
//! use bartizan::rate_limit::{Policy, Quota, RateLimitLayer, key};
//!
//! let everybody = RateLimitLayer::new(Quota::per_second(10))
//!     .and(Policy::new("day", Quota::per_day(10_000).calendar_window()))
//!     .and(Policy::new("total", Quota::per_second(5_000)).key_by(key::global()));
//!
//! let login = RateLimitLayer::new(Policy::new("login", Quota::per_minute(5).burst(5)))
//!     .settle_by(|outcome| u32::from(outcome.status().is_none_or(|status| status == 401)));
//! # let _ = (everybody, login);
//! ```
//!
//! # Order
//!
//! By client address outside authentication, so that guessing costs the guesser; by tenant or user inside it. Inside
//! CORS, so that a browser may read the 429, and with [`exempt`](RateLimitLayer::exempt) for what must always pass.
//!
//! # What it remembers
//!
//! What its [store](RateLimitLayer::store) remembers: by default a [`Memory`] of its own, made in
//! [`RateLimitLayer::new`] and shared by every clone, route, method and connection. It never forgives a debt. It takes
//! 3.5 MiB for 100 000 keys at once and never grows; a policy that counts in windows takes a second table of 10.5 MiB, and
//! 32 bytes for each key that has a fixed or calendar window open.
//!
//! # When the store is down
//!
//! Requests are admitted, and an [`Event`] tells it; with [`refuse_when_unavailable`] they are answered with 503.
//! A `Memory` is never down.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; add `bartizan-store`, `itoa`, `sfv` and `smallvec` to the dependencies, and tokio's `sync`.
//!
//! [draft-ietf-httpapi-ratelimit-headers-11]: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/11/
//! [`refuse_when_unavailable`]: RateLimitLayer::refuse_when_unavailable

mod body;
mod event;
mod fields;
mod future;
mod head;
pub mod key;
mod layer;
mod limiter;
mod plain;
mod policy;
mod queue;
mod refusal;
mod rules;
mod settle;
mod turn;

#[cfg(test)]
mod tests;

pub use self::{
    body::LimitedBody,
    event::Event,
    fields::{Fields, When},
    future::ResponseFuture,
    layer::{RateLimit, RateLimitLayer},
    policy::Policy,
    refusal::{Reason, Refused},
    settle::Outcome,
};
pub use bartizan_store::{
    Algorithm, Charge, Decision, Key, Memory, PolicyName, Quota, Scoped, Stamp, Standing, Throttle, Unavailable,
    Verdict,
};
