//! Who the request is for: read from the head, checked, and known to everything further in.
//!
//! A request whose tenant is missing, malformed or named twice with different results is answered with 400, one whose
//! tenant nobody knows with 403, and one that can't be checked because the directory is down with 503 and
//! `Retry-After`; each as `application/problem+json`, and never with the client's own value in it. A gRPC client gets
//! `INVALID_ARGUMENT`, `PERMISSION_DENIED`, or `UNAVAILABLE` and a pushback. The service sees a [`Tenant`] in the
//! request's extensions; so do the access log, the current `tracing` span if it has declared the field `tenant_id`, and
//! whatever takes a key: `.key_by(Tenant::key)`.
//!
//! One tenant has one spelling: 1 to 63 of `a-z 0-9 -`, no hyphen at either end, which is a label of a domain name.
//! Only a subdomain is lowered before it is checked, because names of hosts ignore case; nothing is ever trimmed or
//! decoded.
//!
//! # Example
//!
//! ```
//! use bartizan::tenant::{self, Tenant, TenantLayer, TenantSet};
//! use http::{Request, Response, StatusCode};
//! use std::convert::Infallible;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(TenantLayer::new(tenant::from_header("x-tenant-id")).known(TenantSet::new(["acme", "globex"])?))
//!     .service(service_fn(|request: Request<String>| async move {
//!         let tenant = Tenant::of(request.extensions()).map(|tenant| tenant.id().to_owned());
//!         Ok::<_, Infallible>(Response::new(tenant.unwrap_or_default()))
//!     }));
//!
//! let request = Request::builder().header("x-tenant-id", "acme").body(String::new())?;
//! assert_eq!(service.clone().oneshot(request).await?.status(), StatusCode::OK);
//!
//! let request = Request::builder().header("x-tenant-id", "initech").body(String::new())?;
//! assert_eq!(service.oneshot(request).await?.status(), StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```
//!
//! A header is what a client says, not who it is. Take it from clients only behind something that has checked it; where
//! authentication stands further out, read its claim with [`from_extension`] instead, or as well: two sources that
//! name different tenants are a refusal.
//!
//! Where tenants come and go, ask a directory. What it says of a tenant comes along as [`Tenant::data`]:
//!
//! ```
//! use bartizan::tenant::{self, CachedDirectory, TenantId, TenantLayer};
//! use std::time::Duration;
//!
//! #[derive(Clone, Copy)]
//! enum Plan { Free, Gold }
//!
//! async fn find(tenant: TenantId) -> Result<Option<Plan>, std::io::Error> {
//!     Ok((tenant.as_str() == "acme").then_some(Plan::Gold)) // a query, most likely
//! }
//!
//! let directory = CachedDirectory::new(find).found_for(Duration::from_secs(30));
//! let layer = TenantLayer::new(tenant::from_subdomain("example.com").or(tenant::from_header("x-tenant-id")))
//!     .directory(directory.clone());
//! ```
//!
//! # Order
//!
//! Inside request id and access log, so that refusals carry an id and are logged; inside a limit by address, so that a
//! flood of invented names is cut off before it reaches a directory; inside authentication, if a claim names the tenant;
//! outside everything that is per tenant. With [`from_path_stripped`], put the layer round a whole axum router,
//! `Router::new().fallback_service(layer.layer(router))`: what stands in `Router::layer` runs when the route has been
//! chosen already.
//!
//! # What it remembers
//!
//! Nothing but a directory's answers, and those in the [`CachedDirectory`] that you made and may keep: up to 10 000 found
//! tenants and, apart from them, up to 10 000 unknown names, so that invented names never push out a known tenant.
//!
//! # When the directory is down
//!
//! Errors are never remembered. By default the request is refused with 503; [`CachedDirectory::stale_if_error`] lets
//! the last good answer stand for a while, [`TenantLayer::admit_when_down`] lets requests in unverified.
//!
//! # Lifting
//!
//! Copy this folder and `shared/`; it needs `bartizan-store` for [`Key`] and `Scoped`, moka and `futures-util` for
//! [`CachedDirectory`].

mod directory;
mod event;
mod gate;
mod id;
mod known;
mod layer;
mod lookup;
mod refused;
mod source;

#[cfg(test)]
mod tests;

pub use self::{
    directory::{Answer, Directory},
    event::{Assurance, Event},
    id::{InvalidTenantId, TenantId},
    known::{Tenant, TenantSet},
    layer::{ResponseFuture, TenantLayer, WithTenant},
    lookup::CachedDirectory,
    refused::Refused,
    source::{Source, from_extension, from_fn, from_header, from_path, from_path_stripped, from_subdomain},
};
pub use bartizan_store::Key;
