//! An id on each request: on its way in, on its way out, and in everything that is logged in between.
//!
//! The client sees the id in the response field `x-request-id`, whatever the answer is: the service's own, a refusal
//! of a layer further in, or the 500 of a caught panic. The service sees it in the request field of the same name, so
//! that a call to the next service can pass it on, and as a [`RequestId`](crate::RequestId) in the extensions.
//!
//! An id that comes with the request is believed only if its sender is trusted: by default nobody is, because an id
//! that a stranger chooses makes his requests look like somebody else's in every log. A believed id must come on
//! exactly one line and be 1 to 128 bytes of `A-Z a-z 0-9 . _ ~ + / = : @ -`; any other is replaced, never trimmed.
//! A new id is a UUID of version 7, which sorts by time.
//!
//! # Example
//!
//! ```
//! use bartizan::{RequestId, TrustedProxies, request_id::RequestIdLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! async fn hello(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let id = RequestId::of(request.extensions()).expect("the layer has set it");
//!     Ok(Response::new(Full::from(format!("this is request {id}"))))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let proxies = TrustedProxies::new(["10.0.0.0/8"])?;
//! let service = ServiceBuilder::new().layer(RequestIdLayer::new().trust(proxies)).service(service_fn(hello));
//!
//! let response = service.oneshot(Request::new(())).await?;
//! assert_eq!(response.headers()["x-request-id"].len(), 36);
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! Outermost. What stands outside of this layer has no id, so a layer that catches panics belongs inside: request id →
//! access log → catch-panic → everything else. A panic of a layer that is itself outside of catch-panic closes the
//! connection; ours do not panic on what a client sends.
//!
//! A request that already has an id, because two of these layers are nested, keeps it.
//!
//! # What it remembers
//!
//! Nothing. Each thread keeps a random number generator, which asks the system for a new seed every 64 KiB: once in
//! some six thousand ids.
//!
//! # Lifting
//!
//! This folder and `shared/`; `uuid` and `rand`.

mod layer;
mod uuid_v7;

#[cfg(test)]
mod tests;

pub use self::layer::{Event, RequestIdLayer, RequestIds, ResponseFuture, Why};
