//! Bounds how many requests are being answered at once, in all or per tenant, route, or anything in the head.
//!
//! A request holds a permit until the last byte of its answer has been handed over, or somebody drops it: not only until
//! the head. Who finds none is answered `503 Service Unavailable` as `application/problem+json` with the code
//! `overloaded` and `Retry-After`, or waits for one in a bounded queue; a gRPC client gets `UNAVAILABLE` and a pushback.
//! Nothing else of the service is touched.
//!
//! # Example
//!
//! ```
//! use bartizan::concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limit = ConcurrencyLimit::new(1);
//! let service = ServiceBuilder::new()
//!     .layer(ConcurrencyLimitLayer::new(limit.clone()))
//!     .service(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello"))) }));
//! let ask = || service.clone().oneshot(Request::new(()));
//!
//! let first = ask().await?; // its body is still to come
//! assert_eq!(limit.in_flight(), 1);
//! assert_eq!(ask().await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//!
//! first.into_body().collect().await?;
//! assert_eq!(limit.in_flight(), 0);
//! assert_eq!(ask().await?.status(), StatusCode::OK);
//!
//! limit.resize(200); // while it runs, up or down
//! # Ok(())
//! # }
//! ```
//!
//! Ten at once for each tenant; ten more may wait for half a second, in the order in which they came:
//!
//! ```
//! use bartizan::concurrency_limit::ConcurrencyLimitLayer;
//! use std::time::Duration;
//!
//! let per_tenant = ConcurrencyLimitLayer::new(10)
//!     .key_by(|head| head.headers.get("x-tenant-id").cloned())
//!     .wait_up_to(Duration::from_millis(500), 10)
//!     .exempt(|head| head.uri.path() == "/healthz");
//! # let _ = per_tenant;
//! ```
//!
//! # Order
//!
//! On a server: inside rate limits, which turn away more cheaply and tell when to come back; inside a deadline, which
//! bounds the waiting; outside a cache only if hits shall count. In front of an upstream: inside retry, so that each
//! attempt holds a permit of its own and none while it pauses; inside the breaker, which never counts against the
//! upstream what was refused here; outside the attempt's timeout, whose time begins when there is a permit.
//!
//! # What it remembers
//!
//! How many are in flight, and who waits, in the [`ConcurrencyLimit`] that you made and may keep. Per key that takes
//! 300 KiB, and 100 bytes more for each of up to 16 384 keys at once; where more of them have requests in flight, some
//! share a limit until it calms down. A key without a request in flight takes no room that another could not have.
//!
//! # Upgrades
//!
//! A response that switches protocols has no body, so its permit is back when its head is handed over. For the
//! connection that goes on take a permit by hand, with [`ConcurrencyLimit::try_acquire`], and drop it at the end.
//!
//! # What others do better
//!
//! Behind a balancer an endpoint shall say in `poll_ready` that it is busy, so that another one is chosen: that is
//! tower's `ConcurrencyLimit`, with `load_shed` where nobody should wait. Servers never ask, so this layer decides when
//! it is called.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; it needs tokio's `sync`.

mod event;
mod future;
mod gate;
mod layer;
mod limit;
mod table;
mod word;

#[cfg(all(test, bartizan_loom))]
mod loom;
#[cfg(all(test, not(bartizan_loom)))]
mod tests;

pub use self::{
    event::{Event, Refused},
    future::ResponseFuture,
    gate::Permit,
    layer::{ConcurrencyLimitLayer, ConcurrencyLimited},
    limit::ConcurrencyLimit,
};
