//! What a request goes through, from the outside in.

use crate::{dashboard, upstreams::Upstreams};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, get_service},
};
use bartizan::{
    Deadline, Problem,
    access_log::{AccessLogLayer, Format},
    bridge::axum::matched_path,
    rate_limit::{Fields, Policy, Quota, RateLimitLayer, When},
    request_id::RequestIdLayer,
    tenant::{self, Tenant, TenantLayer, TenantSet},
};
use bartizan_gateway::Proxy;
use http::{HeaderMap, StatusCode};
use std::{any::Any, error::Error, time::Duration};
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer};

/// What a tenant may ask for, unless its plan says otherwise.
const GENEROUS: Quota = Quota::per_second(1_000);
/// The plan of globex.
const SMALL: Quota = Quota::per_second(5).burst(5);

/// How long anything may take until its answer begins.
const TIME_LIMIT: Duration = Duration::from_secs(3);

pub(crate) fn app(upstreams: Upstreams) -> Result<Router, Box<dyn Error>> {
    let per_tenant = Policy::new("tenant", GENEROUS)
        .plan_by(|_, head| (Tenant::of(&head.extensions)?.id() == "globex").then_some(SMALL));

    let for_tenants = Router::new()
        .route("/dashboard/web/{user}", get_service(dashboard::web(&upstreams)?))
        .route("/dashboard/mobile/{user}", get_service(dashboard::mobile(&upstreams)?))
        .route("/users/{id}", get_service(Proxy::new(upstreams.clone(), "http://users")?))
        .nest("/reports", Router::new().route("/orders.json", get_service(Proxy::new(upstreams, "http://orders")?)))
        .layer(
            ServiceBuilder::new()
                .layer(TenantLayer::new(tenant::from_header("x-tenant-id")).known(TenantSet::new(["acme", "globex"])?))
                .layer(RateLimitLayer::new(per_tenant).key_by(Tenant::key).fields(Fields::draft().when(When::Always)))
                .layer(from_fn(with_deadline)),
        );

    Ok(Router::new().merge(for_tenants).route("/livez", get(|| async { "alive\n" })).fallback(not_found).layer(
        ServiceBuilder::new()
            .layer(RequestIdLayer::new())
            .layer(AccessLogLayer::new().route_by(matched_path).write_to(std::io::stderr(), Format::Text))
            .layer(CatchPanicLayer::custom(panicked))
            // The server itself answers more than a hundred fields with 431.
            .layer(RequestBodyLimitLayer::new(64 * 1024))
            .layer(DefaultBodyLimit::disable()),
    ))
}

async fn with_deadline(mut request: Request, next: Next) -> Response {
    Deadline::after(TIME_LIMIT).tighten(request.extensions_mut());
    next.run(request).await
}

async fn not_found(headers: HeaderMap) -> Response {
    let problem = Problem::new(StatusCode::NOT_FOUND).detail("nothing is here: the demo's start tells what to try");
    problem.to_response(&headers).map(Body::from).into_response()
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).to_response(&HeaderMap::new()).map(Body::from)
}
