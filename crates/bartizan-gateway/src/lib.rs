//! What a backend for frontend, or a gateway, needs that is not a layer.
//!
//! - [`Upstream`] is a service behind: its endpoints, and how it is called, with retry, breakers, time limits and a
//!   fallback.
//! - [`Aggregate`] calls several services in parallel, each with a time limit of its own, and answers with one JSON
//!   document that says for each of them how it went.
//! - [`Proxy`] passes a request on and streams the answer back, in constant memory.
//! - [`serve()`] serves an application, and drains it when it is told to stop.
//!
//! ```
//! use axum::{Router, routing::get_service};
//! use bartizan_gateway::{Aggregate, Proxy, Source, Upstream, Upstreams};
//! use std::time::Duration;
//!
//! let users = Upstream::new("users", ["http://127.0.0.1:7101"])?;
//! let orders = Upstream::new("orders", ["http://127.0.0.1:7102", "http://127.0.0.1:7103"])?
//!     .attempt_timeout(Duration::from_millis(250));
//!
//! let dashboard = Aggregate::new(Upstreams::new([users.clone(), orders])?, [
//!     Source::get("user", "http://users/users/{user}").required().allow(["id", "name"]),
//!     Source::get("orders", "http://orders/orders?user={user}")
//!         .collection()
//!         .deny(["internal_ref"])
//!         .within(Duration::from_millis(500)),
//! ])?;
//! let users = Proxy::new(users, "http://users")?;
//!
//! let app: Router = Router::new()
//!     .route("/dashboard/{user}", get_service(dashboard))
//!     .route("/users/{id}", get_service(users));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An aggregate and a proxy call services through any [`HttpService`]: an [`Upstream`], several [`Upstreams`], the plain
//! [`client()`], or a stack of your own round one.
//!
//! # Who asks
//!
//! The services behind believe what they are told of a request, so what a stranger may have written has to be replaced on
//! the way. The proxy does so itself with `Via`, the forwarding fields and the request id. A tenant is written down by the
//! layer that checked it, and then the proxy has to [keep](Proxy::keep) the field, an aggregate to
//! [forward](Aggregate::forward) it:
//!
//! ```
//! use axum::{Router, routing::get_service};
//! use bartizan::tenant::{self, TenantLayer};
//! use bartizan_gateway::{Proxy, client};
//! use http::HeaderName;
//!
//! let tenant_id = HeaderName::from_static("x-tenant-id");
//! let users = Proxy::new(client(), "http://127.0.0.1:7101")?.keep([tenant_id.clone()]);
//! let app: Router = Router::new()
//!     .route("/users/{id}", get_service(users))
//!     .layer(TenantLayer::new(tenant::from_subdomain("example.com")).forward_as(tenant_id));
//! # Ok::<(), bartizan_gateway::ProxyError>(())
//! ```
//!
//! A cache in front of a service keeps tenants apart by what that layer left in the request's extensions. A stranger has no
//! way to write there, and nothing of it is sent; so it is [carried](Proxy::carry) to the layers in front of the service:
//!
//! ```
//! use bartizan::{cache::{CacheLayer, ResponseCache}, tenant::Tenant};
//! use bartizan_gateway::{Proxy, Upstream};
//! use tower::Layer;
//!
//! let cache = CacheLayer::new(ResponseCache::new(64 * 1024 * 1024)).partition_by(Tenant::key);
//! let users = cache.layer(Upstream::new("users", ["http://127.0.0.1:7101"])?);
//! let users = Proxy::new(users, "http://users")?.carry::<Tenant>();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aggregate;
mod cached;
mod carry;
mod cause;
mod client;
mod path;
mod pieces;
mod problem;
mod proxy;
mod request_id;
mod serve;
mod upload;
mod upstream;

#[cfg(feature = "tls")]
pub use self::upstream::{Tls, TlsError};
pub use self::{
    aggregate::{Aggregate, AggregateError, Meta, Source},
    cause::Cause,
    client::{Client, ClientBody, ClientError, HttpService, client},
    proxy::{Forwarding, Front, FrontLayer, Proxy, ProxyError, UpstreamWatch},
    serve::{BindError, Drained, Interim, Serve, bind, serve, shutdown_signal},
    upstream::{
        Answering, Attempts, EndpointStatus, SendError, Upstream, UpstreamBody, UpstreamError, UpstreamEvent, Upstreams,
    },
};
