//! Latency, errors and broken bodies on purpose: to see whether what stands in front of a service holds when it fails.
//!
//! [`Faults`] is the switch, made before the layer and kept: it is off until somebody injects a fault, goes off by
//! itself when the fault's time is over, and [`heal`](Faults::heal) ends everything at once. A [`Fault`] says what goes
//! wrong, for what share of the requests, for which of them, and for how long. What was injected is not told to the
//! client, unless with [`told_in`](FaultLayer::told_in).
//!
//! # Example
//!
//! ```
//! use bartizan::fault::{Fault, FaultLayer, Faults};
//! use http::{Request, Response, StatusCode};
//! use std::{convert::Infallible, time::Duration};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let faults = Faults::new().at_most(1.0); // by default no more than 5 % of the requests are harmed
//! let orders = ServiceBuilder::new()
//!     .layer(FaultLayer::new(faults.clone()))
//!     .service(service_fn(|_: Request<String>| async { Ok::<_, Infallible>(Response::new("42".to_owned())) }));
//! let ask = || orders.clone().oneshot(Request::new(String::new()));
//!
//! assert_eq!(ask().await?.status(), StatusCode::OK);
//!
//! faults.inject(Fault::status(StatusCode::SERVICE_UNAVAILABLE).lasting(Duration::from_secs(15)));
//! assert_eq!(ask().await?.status(), StatusCode::SERVICE_UNAVAILABLE);
//!
//! tokio::time::sleep(Duration::from_secs(15)).await;
//! assert_eq!(ask().await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! Several at once, each with an aim and a share of its own:
//!
//! ```
//! use bartizan::fault::{Fault, Faults};
//! use std::time::Duration;
//!
//! let faults = Faults::new().at_most(0.5).seed(7); // the same requests in the same order meet the same faults
//! faults.inject([
//!     Fault::latency(Duration::from_millis(200)..=Duration::from_millis(800)).share(0.3),
//!     Fault::truncated(100).share(0.05).only(|head| head.uri.path().starts_with("/export")),
//! ]);
//! faults.heal();
//! ```
//!
//! # Order
//!
//! Innermost in the service that shall fail, so that its own log, ids and limits see the harm as they would see a real
//! one; or innermost in a client, next to the connection, below what retries, breaks and times out.
//!
//! # What it remembers
//!
//! The faults of the last [`inject`](Faults::inject), how many requests they have aimed at, and how many were harmed.
//! While it is off, a request costs one load.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; add `rand` to the dependencies.

mod body;
mod faults;
mod kinds;
mod layer;
mod strike;

#[cfg(test)]
mod tests;

pub use self::{
    body::{Broken, FaultyBody},
    faults::Faults,
    kinds::Fault,
    layer::{Event, FaultLayer, Faulty, ResponseFuture},
};
