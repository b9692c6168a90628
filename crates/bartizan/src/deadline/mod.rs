//! One deadline for a request, from the wire, over every layer, to the wire.
//!
//! [`DeadlineLayer`] gives each request that comes in a [`Deadline`](crate::Deadline): an instant in its extensions,
//! which every layer that waits consults, and which can only become earlier. A sender that is trusted may ask for less
//! than the maximum, in `grpc-timeout` or in milliseconds in a field that you name. [`PropagateDeadlineLayer`] tells the
//! next service what is left, less a margin for the way, so that nobody works on an answer for which nobody waits.
//!
//! Both refuse what has no time left: with `504 Gateway Timeout` as `application/problem+json` and the code `deadline`,
//! or with `DEADLINE_EXCEEDED` to a client of gRPC, without calling the service. They do not stop a service that is at
//! work: [`TimeoutLayer`] does that, and knows the deadline.
//!
//! A line that is no length of time is ignored, as gRPC's servers mostly do: it could only have shortened the wait. A
//! zero is one, and means that nobody waits.
//!
//! What a stranger tells goes no further: [`DeadlineLayer`] takes both fields away from every request, believed or not,
//! and [`PropagateDeadlineLayer`] writes what the [`Deadline`](crate::Deadline) says over whatever stands there. Else a
//! client could make the next service refuse in an instant, and a breaker blame that service for it.
//!
//! # Example
//!
//! A service that passes its deadline on to another one:
//!
//! ```
//! # #[cfg(feature = "timeout")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, body::Body, extract::Request, routing::get};
//! use bartizan::{Deadline, TrustedProxies, timeout::TimeoutLayer};
//! use bartizan::deadline::{DeadlineLayer, PropagateDeadlineLayer};
//! use http::Response;
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! /// In the place of a client of another service: answers with the time that it was given.
//! async fn told(request: Request) -> Result<Response<Body>, Infallible> {
//!     let millis = request.headers()["x-request-timeout-ms"].to_str().expect("digits").to_owned();
//!     Ok(Response::new(Body::from(millis)))
//! }
//!
//! let orders = ServiceBuilder::new().layer(PropagateDeadlineLayer::new()).service(service_fn(told));
//!
//! let app = Router::new()
//!     .route("/", get(|incoming: Request| async move {
//!         let mut outgoing = Request::new(Body::empty());
//!         if let Some(deadline) = Deadline::of(incoming.extensions()) {
//!             deadline.tighten(outgoing.extensions_mut());
//!         }
//!         orders.oneshot(outgoing).await
//!     }))
//!     .layer(
//!         ServiceBuilder::new()
//!             .layer(DeadlineLayer::new(Duration::from_secs(30)).trust_everybody())
//!             .layer(TimeoutLayer::new(Duration::from_secs(30))),
//!     );
//!
//! let request = Request::builder().uri("/").header("x-request-timeout-ms", "2000").body(Body::empty())?;
//! let response = app.oneshot(request).await?;
//! let told: u64 = std::str::from_utf8(&axum::body::to_bytes(response.into_body(), 100).await?)?.parse()?;
//! assert!((1_900..2_000).contains(&told), "of two seconds {told} ms are left");
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "timeout"))]
//! # fn main() {}
//! ```
//!
//! # Order
//!
//! Inbound, after those who refuse cheaply (limits, tenant) and before those who wait; a limit that waits for its turn
//! belongs inside. Then [`TimeoutLayer`], which keeps the deadline.
//!
//! Outbound, [`PropagateDeadlineLayer`] stands inside retry and attempt timeout, next to the connection, so that each
//! attempt tells what is left when it starts. Whoever makes the outgoing request copies the deadline onto it, as above.
//!
//! # The body
//!
//! A deadline is kept until the response's head. For the bodies see [`timeout`](crate::timeout#the-bodies), which says
//! which of tower-http's layers bounds what.
//!
//! # What it remembers
//!
//! Nothing. The deadline is the request's.
//!
//! # Lifting
//!
//! This folder and `shared/`; no dependency beyond those.
//!
//! [`TimeoutLayer`]: crate::timeout::TimeoutLayer

mod event;
mod future;
mod layer;
mod propagate;
mod refusal;
mod time_left;
mod wire;

#[cfg(test)]
mod tests;

pub use self::{
    event::Event,
    future::ResponseFuture,
    layer::{DeadlineLayer, Deadlines},
    propagate::{PropagateDeadline, PropagateDeadlineLayer},
};
