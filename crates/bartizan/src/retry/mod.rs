//! Sends a request again when that is safe and likely to help.
//!
//! *Safe* is what RFC 9110 §9.2.2 calls idempotent, a request with an `Idempotency-Key`, what you say is, and any
//! request that the service is certain not to have processed: no connection was made, or it was turned back unread. A
//! POST that may have been processed is never sent twice, not even after a 429 or 503: neither proves that nothing
//! happened. *Likely to help* are the statuses 429, 502, 503 and 504, errors of the connection, gRPC's `UNAVAILABLE`, and
//! an attempt that a timeout of ours gave up; not a refusal by another layer on this side, unless the request can go
//! [elsewhere](RetryLayer::elsewhere); and not once the [`Budget`] of the destination is spent.
//!
//! When all is in vain, the caller gets the last answer as it came. So it does, at once, if the server asks for a
//! longer pause than there is time for, or says not to try again. If the deadline passes, or the service fails to get
//! ready, while another attempt is waited for, it gets the last error, or the last answer. The body of that has been let
//! go by then: it comes along only if it was read to its end, to save its connection (HTTP/1), and was short, up to
//! 8 KiB. If not, the head says nothing of it.
//!
//! # Example
//!
//! The request's body need not be `Clone`: the first attempt streams it, and what went by is kept for the next, up to
//! 64 KiB. The service inside gets a [`RequestBody`], which a client that is generic over its body takes as it is.
//!
//! ```
//! use bartizan::retry::{Attempt, RequestBody, RetryLayer, RetryPolicy};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use std::convert::Infallible;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Stands for a client of another service that is overloaded at first.
//! let client = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
//!     let attempt = Attempt::of(request.extensions()).number();
//!     let body = request.into_body().collect().await.expect("it does not break off").to_bytes();
//!     let mut response = Response::new(Full::new(body));
//!     if attempt < 3 {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let client = RetryLayer::new(RetryPolicy::attempts(3)).layer(client);
//!
//! let request = Request::put("http://orders.internal/7").body(Full::from("two of each"))?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "two of each");
//! # Ok(())
//! # }
//! ```
//!
//! A service that insists on a body of another type gets it by one line in between, and one allocation:
//! `.map_request(|request: Request<_>| request.map(axum::body::Body::new))`.
//!
//! # Order
//!
//! Outside of whatever judges or ends a single attempt (circuit breaker, attempt timeout, the span of the client), so
//! that each attempt counts and an open breaker ends them at its place; inside of what answers for all of them (total
//! timeout, cache, fallback). A [`Deadline`](crate::Deadline) in the request's extensions is kept: no attempt is begun
//! that could not end before it, as far as earlier ones tell.
//!
//! Every attempt sees the same head, with its extensions; from the second on that is sent, [`Attempt`] among them, and
//! `x-retry-attempt` for the next hop.
//!
//! What comes after the head of an answer is the caller's: a body that breaks off is not asked for again. The one
//! exception is a call of gRPC, of which the first frame is looked at, for 50 ms at most: its status may be in there.
//!
//! # What it remembers
//!
//! In the [`Budget`], made in [`RetryLayer::new`] or given to it, two counts over ten seconds, and how many requests
//! wait for the head of an answer: up to then a retry is one. The first retry after an error that proves that the
//! service has not seen the request is counted in neither. Beside the budget, how long the last fifteen attempts took
//! of requests that have a deadline, from when all of the body had come, until they were answered: their median is
//! expected of the next one. A failure is not learned: one that is answered more quickly lets the oldest of them be
//! forgotten, and an error, or what a timeout has cut short, changes nothing. Bodies are kept while there may be another
//! attempt, 64 MiB of them in the whole process ([`ReplayMemory`]); what finds no place is sent once.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; add `rand` and `sfv` to the dependencies.

mod attempt;
mod backoff;
mod body;
mod budget;
mod carried;
mod course;
mod crowd;
mod decision;
mod drain;
mod event;
mod failure;
mod fields;
mod future;
mod head;
mod layer;
mod ledger;
mod outcome;
mod pace;
mod policy;
mod record;
mod replay;
mod spare;
mod told;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    attempt::Attempt,
    backoff::Jitter,
    body::ResponseBody,
    budget::{Budget, Withdrawal},
    event::{Event, GaveUp, Reason},
    failure::{Causes, Classify, Failure},
    future::ResponseFuture,
    layer::{Retry, RetryLayer},
    policy::RetryPolicy,
    replay::{BodyError, ReplayMemory, RequestBody},
};
