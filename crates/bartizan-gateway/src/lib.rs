//! What a backend for frontend, or a gateway, needs that is not a layer.
//!
//! - [`Aggregate`] calls several services in parallel, each with a time limit of its own, and answers with one JSON
//!   document that says for each of them how it went.
//! - [`Proxy`] passes a request on and streams the answer back, in constant memory.
//! - [`serve()`] serves an application, and drains it when it is told to stop.
//!
//! The first two call services through any [`Upstream`]: the plain [`client()`], or a stack of layers round one.
//!
//! ```
//! use axum::{Router, routing::get_service};
//! use bartizan_gateway::{Aggregate, Proxy, Source, client};
//! use std::time::Duration;
//!
//! let client = client();
//! let dashboard = Aggregate::new(client.clone(), [
//!     Source::get("user", "http://127.0.0.1:7101/users/{user}").required().allow(["id", "name"]),
//!     Source::get("orders", "http://127.0.0.1:7102/orders?user={user}")
//!         .collection()
//!         .deny(["internal_ref"])
//!         .within(Duration::from_millis(500)),
//! ])?;
//! let users = Proxy::new(client, "http://127.0.0.1:7101")?;
//!
//! let app: Router = Router::new()
//!     .route("/dashboard/{user}", get_service(dashboard))
//!     .route("/users/{id}", get_service(users));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod cause;
mod client;
mod problem;
mod proxy;
mod serve;

pub use self::{
    aggregate::{Aggregate, AggregateError, Meta, Source},
    cause::Cause,
    client::{Client, Upstream, client},
    proxy::{Forwarding, Proxy, ProxyError, UpstreamWatch},
    serve::{BindError, Drained, Serve, bind, serve, shutdown_signal},
};
