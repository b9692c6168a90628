//! In front of a handler: who names a request, who logs it, and who is charged.

use super::*;
use bartizan::{
    Deadline,
    access_log::{AccessLogLayer, Format},
    rate_limit::RateLimitLayer,
    request_id::RequestIdLayer,
    tenant::{Tenant, TenantLayer, from_header},
};
use http::Method;
use tower::util::MapRequestLayer;
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer};

// ===== request id =====

#[tokio::test(start_paused = true)]
async fn the_line_has_the_id_only_if_the_log_is_inside() {
    let lines = Lines::default();
    let log = || AccessLogLayer::new().write_to(lines.clone(), Format::Json);

    let head = send(stack(RequestIdLayer::new(), log(), hello), get("/")).await;
    assert_eq!(only(&lines)["request_id"], head.headers["x-request-id"].to_str().unwrap());

    send(stack(log(), RequestIdLayer::new(), hello), get("/")).await;
    assert_eq!(only(&lines).get("request_id"), None);
}

#[tokio::test(start_paused = true)]
async fn a_429_has_an_id_only_if_the_limit_is_inside() {
    let id_outside = stack(RequestIdLayer::new(), RateLimitLayer::new(ONE), hello);
    send(id_outside.clone(), get("/")).await;
    let refused = send(id_outside, get("/")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key("x-request-id"));

    let id_inside = stack(RateLimitLayer::new(ONE), RequestIdLayer::new(), hello);
    send(id_inside.clone(), get("/")).await;
    let refused = send(id_inside, get("/")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!refused.headers.contains_key("x-request-id"));
}

#[tokio::test(start_paused = true)]
async fn a_caught_panic_has_an_id_only_if_it_is_caught_inside() {
    let caught = send(stack(RequestIdLayer::new(), CatchPanicLayer::new(), panics), get("/")).await;
    assert_eq!(caught.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(caught.headers.contains_key("x-request-id"));

    let caught = send(stack(CatchPanicLayer::new(), RequestIdLayer::new(), panics), get("/")).await;
    assert_eq!(caught.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!caught.headers.contains_key("x-request-id"));
}

// ===== access log =====

#[tokio::test(start_paused = true)]
async fn a_refusal_is_logged_only_if_the_limit_is_inside() {
    let lines = Lines::default();
    let log = || AccessLogLayer::new().write_to(lines.clone(), Format::Json);

    let log_outside = stack(log(), RateLimitLayer::new(ONE), hello);
    send(log_outside.clone(), get("/")).await;
    assert_eq!(only(&lines)["status"], 200);
    send(log_outside, get("/")).await;
    let line = only(&lines);
    assert_eq!(line["status"], 429);
    assert!(line["flags"].to_string().contains("RL"), "{line}");

    let log_inside = stack(RateLimitLayer::new(ONE), log(), hello);
    send(log_inside.clone(), get("/")).await;
    assert_eq!(only(&lines)["status"], 200);
    send(log_inside, get("/")).await;
    assert_eq!(lines.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_500_in_the_log_only_if_it_is_caught_inside() {
    let lines = Lines::default();
    let log = || AccessLogLayer::new().write_to(lines.clone(), Format::Json);

    send(stack(log(), CatchPanicLayer::new(), panics), get("/")).await;
    assert_eq!(only(&lines)["status"], 500);

    send(stack(CatchPanicLayer::new(), log(), panics), get("/")).await;
    let line = only(&lines);
    assert_eq!(line.get("status").and_then(Value::as_u64).unwrap_or(0), 0, "{line}");
    assert!(line["flags"].to_string().contains("DC"), "{line}");
}

// ===== rate limit =====

#[tokio::test(start_paused = true)]
async fn each_tenant_has_its_own_bucket_only_if_the_limit_is_inside() {
    let tenant = || TenantLayer::new(from_header("x-tenant-id"));
    let limit = || RateLimitLayer::new(ONE).key_by(Tenant::key);

    let limit_inside = stack(tenant(), limit(), hello);
    assert_eq!(send(limit_inside.clone(), get_for("acme")).await.status, StatusCode::OK);
    assert_eq!(send(limit_inside.clone(), get_for("acme")).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(limit_inside, get_for("globex")).await.status, StatusCode::OK);

    let limit_outside = stack(limit(), tenant(), hello);
    assert_eq!(send(limit_outside.clone(), get_for("acme")).await.status, StatusCode::OK);
    assert_eq!(send(limit_outside, get_for("globex")).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn a_preflight_is_free_and_a_429_readable_only_if_the_limit_is_inside_of_cors() {
    let preflight = || {
        let request = Request::builder().method(Method::OPTIONS).header(header::ORIGIN, "https://a.example");
        request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET").body(Bytes::default()).unwrap()
    };

    let limit_inside = stack(CorsLayer::permissive(), RateLimitLayer::new(ONE), hello);
    assert_eq!(send(limit_inside.clone(), preflight()).await.status, StatusCode::OK);
    assert_eq!(send(limit_inside.clone(), get("/")).await.status, StatusCode::OK);
    let refused = send(limit_inside, get("/")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));

    let limit_outside = stack(RateLimitLayer::new(ONE), CorsLayer::permissive(), hello);
    assert_eq!(send(limit_outside.clone(), preflight()).await.status, StatusCode::OK);
    let refused = send(limit_outside, get("/")).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!refused.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_deadline_only_if_the_limit_is_inside() {
    let deadline = MapRequestLayer::new(|mut request: Request<Bytes>| {
        Deadline::after(Duration::from_secs(10)).tighten(request.extensions_mut());
        request
    });
    let limit = || RateLimitLayer::new(ONE).wait_up_to(Duration::from_secs(2 * 60 * 60), 10);

    let limit_inside = stack(deadline.clone(), limit(), hello);
    assert_eq!(send(limit_inside.clone(), get("/")).await.status, StatusCode::OK);
    let start = Instant::now();
    assert_ne!(send(limit_inside, get("/")).await.status, StatusCode::OK);
    assert!(start.elapsed() <= Duration::from_secs(10));

    let limit_outside = stack(limit(), deadline, hello);
    assert_eq!(send(limit_outside.clone(), get("/")).await.status, StatusCode::OK);
    let start = Instant::now();
    assert_eq!(send(limit_outside, get("/")).await.status, StatusCode::OK);
    assert!(start.elapsed() > Duration::from_secs(10));
}
