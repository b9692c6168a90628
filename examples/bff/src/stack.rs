//! What a request goes through, from the outside in.

use crate::{dashboard, upstreams::Behind};
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, Request},
    middleware::{Next, from_fn},
    response::Response,
    routing::{get, get_service, post_service},
};
use bartizan::{
    Deadline, Problem, RequestId,
    access_log::{AccessLogLayer, Format},
    bridge::axum::matched_path,
    rate_limit::{Fields, Policy, Quota, RateLimitLayer, When},
    request_id::RequestIdLayer,
    tenant::{self, Tenant, TenantLayer, TenantSet},
};
use bartizan_gateway::Proxy;
use http::{HeaderName, HeaderValue, StatusCode, header};
use std::{any::Any, error::Error, io::Write, time::Duration};
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, limit::RequestBodyLimitLayer};

/// Who asks. It goes to the services behind as it was checked here.
pub(crate) const X_TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");

/// Those who are known.
pub(crate) const TENANTS: [&str; 2] = ["acme", "globex"];

/// What a tenant may ask for, unless its plan says otherwise.
const GENEROUS: Quota = Quota::per_second(1_000);
/// The plan of globex.
const SMALL: Quota = Quota::per_second(5).burst(5);

/// How long anything may take until its answer begins.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// All of it, with the access log written to `log`.
pub(crate) fn app(behind: &Behind, log: impl Write + Send + 'static) -> Result<Router, Box<dyn Error>> {
    let per_tenant = Policy::new("tenant", GENEROUS)
        .plan_by(|_, head| (Tenant::of(&head.extensions)?.id() == "globex").then_some(SMALL));

    let tenants =
        TenantLayer::new(tenant::from_header("x-tenant-id")).known(TenantSet::new(TENANTS)?).forward_as(X_TENANT_ID);

    // The services are told of a tenant by a field, and the cache in front of them by the extension, which nothing that a
    // client sends can be.
    let proxy = |url| {
        let proxy = Proxy::new(behind.clone(), url)?.keep([X_TENANT_ID]).carry::<Tenant>();
        Ok::<_, Box<dyn Error>>(proxy)
    };
    let for_tenants = Router::new()
        .route("/dashboard/web/{user}", get_service(dashboard::web(behind)?))
        .route("/dashboard/mobile/{user}", get_service(dashboard::mobile(behind)?))
        .route("/users/{id}", get_service(proxy("http://users")?))
        .route("/orders", post_service(proxy("http://orders")?))
        .nest("/reports", Router::new().route("/orders.json", get_service(proxy("http://orders")?)))
        .layer(
            ServiceBuilder::new()
                .layer(tenants)
                .layer(RateLimitLayer::new(per_tenant).key_by(Tenant::key).fields(Fields::draft().when(When::Always)))
                .layer(from_fn(with_deadline)),
        );

    let livez = get(|| async { "alive\n" });
    let nothing_here = || async { StatusCode::NOT_FOUND };
    Ok(for_everybody(for_tenants.route("/livez", livez).fallback(nothing_here), log))
}

/// The layers that see every request, whatever becomes of it.
fn for_everybody(router: Router, log: impl Write + Send + 'static) -> Router {
    router.layer(
        ServiceBuilder::new()
            .layer(RequestIdLayer::new())
            .layer(AccessLogLayer::new().route_by(matched_path).write_to(log, Format::Text))
            .layer(from_fn(in_words))
            .layer(CatchPanicLayer::custom(panicked))
            // The server itself answers more than a hundred fields with 431.
            .layer(RequestBodyLimitLayer::new(64 * 1024))
            .layer(DefaultBodyLimit::disable()),
    )
}

async fn with_deadline(mut request: Request, next: Next) -> Response {
    Deadline::after(TIME_LIMIT).tighten(request.extensions_mut());
    next.run(request).await
}

/// What axum and tower-http answer without a problem document (404, 405, 413, a panic) gets one, as all else here.
async fn in_words(request: Request, next: Next) -> Response {
    let (asked, id) = (request.headers().clone(), RequestId::of(request.extensions()).cloned());
    let (mut head, body) = next.run(request).await.into_parts();

    let refuses = head.status.is_client_error() || head.status.is_server_error();
    let plain = head.headers.get(header::CONTENT_TYPE) == Some(&HeaderValue::from_static("text/plain; charset=utf-8"));
    let wordless = body.is_end_stream() || (head.status == StatusCode::PAYLOAD_TOO_LARGE && plain);
    let proxied = head.headers.contains_key(header::VIA);
    if !refuses || !wordless || proxied {
        return Response::from_parts(head, body);
    }
    let mut problem = Problem::new(head.status);
    if head.status == StatusCode::NOT_FOUND {
        problem = problem.detail("nothing is here: the demo's start tells what to try");
    }
    if let Some(id) = id {
        problem = problem.instance(format!("urn:request:{id}"));
    }
    let (words, body) = problem.to_response(&asked).into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.extend(words.headers);
    Response::from_parts(head, body.into())
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn panics() {
        panic!("as it was asked to");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_names_its_request() {
        let app = for_everybody(Router::new().route("/", get(panics)), std::io::sink());
        let response = app.oneshot(Request::new(Body::empty())).await.expect("it can't fail");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let id = response.headers()["x-request-id"].to_str().expect("ASCII").to_owned();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(problem["instance"], format!("urn:request:{id}"));
    }
}
