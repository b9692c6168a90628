//! Answers in the place of a service that cannot.
//!
//! A client gets what you give instead: a [`fixed`] response, what a function makes of the request's head
//! ([`from_fn`], [`from_part`]), or the answer of another [`service`]. The field `x-fallback` tells why: `timeout`,
//! `breaker_open`, `503`, `error`. The answer says `cache-control: no-store` if it says nothing of its own about caches, so
//! that a stopgap does not outlive its need.
//!
//! It stands in when the service fails, when one of our layers refuses to call it or gives it up, and when it answers
//! 502, 503 or 504. It never hides a 4xx: what is wrong with a request is for its sender to see. And it answers only
//! requests to read, unless [told](FallbackLayer::answer_unsafe_methods) otherwise: nobody should take `200 []` for the
//! confirmation of an order.
//!
//! # Example
//!
//! ```
//! use axum::{body::Body, response::IntoResponse};
//! use bartizan::fallback::{Fallback, FallbackLayer, Reason, fixed};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recommendations = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(fixed(Response::new(Bytes::from_static(b"[]")))))
//!     .service(service_fn(|_: Request<Body>| async {
//!         Ok::<_, Infallible>(StatusCode::SERVICE_UNAVAILABLE.into_response())
//!     }));
//!
//! let response = recommendations.oneshot(Request::new(Body::empty())).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.headers()["x-fallback"], "503");
//! let fallback = Fallback::of(response.extensions()).expect("the mark for whoever puts answers together");
//! assert_eq!(fallback.reason(), Reason::Status(StatusCode::SERVICE_UNAVAILABLE));
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! Outbound and outermost, where caches stand: outside of timeout, retry and breaker, so that it answers when all of them
//! have done what they can. A fallback that is a service of its own has its own stack inside.
//!
//! The deadline holds for it too: another service is not asked when there is no time left, and no longer than until the
//! deadline. What answers at once answers all the same.
//!
//! # What it costs
//!
//! What the kind of answer needs to keep of each request: nothing for [`fixed`], what you say for [`from_part`], a copy of
//! the head for the others; and nothing of a request that is not answered because of its method. The failed answer is dropped before another service is asked, and with it what it holds.
//!
//! # What it remembers
//!
//! Nothing.
//!
//! # Lifting
//!
//! This folder and `shared/`; no dependency beyond those.

mod answer;
mod asking;
mod future;
mod layer;
mod reason;

#[cfg(test)]
mod tests;

pub use self::{
    answer::{Answer, Fixed, Made, Served, fixed, from_fn, from_part, service},
    asking::Asking,
    future::ResponseFuture,
    layer::{Event, FallbackLayer, WithFallback},
    reason::{Fallback, Reason},
};
