//! What the cache sees, and who sees the cache.

use super::*;
use bartizan::{
    Refusal,
    access_log::{AccessLogLayer, Format},
    cache::{CacheLayer, ResponseCache},
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, State},
    fallback::{FallbackLayer, fixed},
    rate_limit::RateLimitLayer,
    tenant::{Tenant, TenantLayer, from_header},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

#[tokio::test(start_paused = true)]
async fn hits_are_charged_only_if_the_limit_is_outside() {
    let limit_outside = stack(RateLimitLayer::new(ONE), cache(), briefly);
    send(limit_outside.clone(), get("/")).await;
    assert_eq!(send(limit_outside, get("/")).await.status, StatusCode::TOO_MANY_REQUESTS);

    let limit_inside = stack(cache(), RateLimitLayer::new(ONE), briefly);
    send(limit_inside.clone(), get("/")).await;
    let hit = send(limit_inside, get("/")).await;
    assert_eq!((hit.status, told(&hit)), (StatusCode::OK, "bartizan; hit; ttl=1"));
}

#[tokio::test(start_paused = true)]
async fn each_tenant_has_what_is_stored_for_it_only_if_the_cache_is_inside() {
    let tenants = || TenantLayer::new(from_header("x-tenant-id"));
    let of_each = || cache().partition_by(Tenant::key);

    let inside = stack(tenants(), of_each(), briefly);
    for (tenant, says) in [
        ("acme", "bartizan; fwd=uri-miss; stored; ttl=1"),
        ("globex", "bartizan; fwd=uri-miss; stored; ttl=1"),
        ("acme", "bartizan; hit; ttl=1"),
    ] {
        assert_eq!(told(&send(inside.clone(), get_for(tenant)).await), says, "{tenant}");
    }

    let outside = stack(of_each(), tenants(), briefly);
    for _ in 0..2 {
        let passed = send(outside.clone(), get_for("acme")).await;
        assert_eq!(told(&passed), "bartizan; fwd=bypass; detail=no-key");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_a_line_with_its_flag_only_if_the_log_is_outside() {
    let lines = Lines::default();
    let log = || AccessLogLayer::new().write_to(lines.clone(), Format::Json);

    let outside = stack(log(), cache(), once());
    send(outside.clone(), get("/")).await;
    assert_eq!(only(&lines).get("flags"), None);
    sleep(Duration::from_secs(2)).await;
    let stale = send(outside, get("/")).await;
    assert_eq!(told(&stale), "bartizan; fwd=stale; fwd-status=503; ttl=-1");
    assert_eq!((only(&lines)["flags"].as_str(), stale.status), (Some("SI"), StatusCode::OK));

    let inside = stack(cache(), log(), briefly);
    send(inside.clone(), get("/")).await;
    only(&lines);
    send(inside, get("/")).await;
    assert!(lines.take().is_empty(), "a hit leaves no line");
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_answers_for_an_open_breaker_only_if_the_cache_is_outside() {
    let breaker = || Breaker::new(BreakerPolicy::consecutive_failures(1));

    let ours = breaker();
    let outside = stack(cache(), CircuitBreakerLayer::new(ours.clone()), once());
    send(outside.clone(), get("/")).await;
    sleep(Duration::from_secs(2)).await;
    for says in ["bartizan; fwd=stale; fwd-status=503; ttl=-1", "bartizan; fwd=stale; ttl=-1; detail=breaker-open"] {
        let stale = send(outside.clone(), get("/")).await;
        assert_eq!((stale.status, told(&stale), ours.state()), (StatusCode::OK, says, State::Open));
    }

    let inside = stack(CircuitBreakerLayer::new(breaker()), cache(), once());
    send(inside.clone(), get("/")).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(send(inside.clone(), get("/")).await.status, StatusCode::OK);
    assert_eq!(send(inside.clone(), get("/never-asked")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        send(inside, get("/")).await.extensions.get::<Refusal>().map(|why| why.error_type()),
        Some("breaker_open")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_goes_before_a_fallback_on_either_side() {
    let fallback = || FallbackLayer::new(fixed(Response::new(bytes::Bytes::new())));
    let stale = "bartizan; fwd=stale; ttl=-1; detail=no-answer";

    let inside = stack(cache(), fallback(), once());
    send(inside.clone(), get("/")).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(told(&send(inside.clone(), get("/")).await), stale);
    let never_asked = send(inside, get("/never-asked")).await;
    assert_eq!((never_asked.headers["x-fallback"].as_bytes(), never_asked.status), (&b"503"[..], StatusCode::OK));

    let outside = stack(fallback(), cache(), once());
    send(outside.clone(), get("/")).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(told(&send(outside, get("/")).await), "bartizan; fwd=stale; fwd-status=503; ttl=-1");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_keeps_nobody_from_sharing_an_answer_when_the_service_is_well_again() {
    let fallback = FallbackLayer::new(fixed(Response::new(bytes::Bytes::new())));
    let asked = Arc::new(Mutex::new(0));
    let calls = Arc::clone(&asked);
    let service = stack(cache(), fallback, move |_: Request<Bytes>| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        let is_first = *calls == 1;
        async move {
            sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(if is_first { unavailable() } else { fresh() })
        }
    });
    send(service.clone(), get("/")).await;
    tokio::join!(send(service.clone(), get("/")), send(service.clone(), get("/")), send(service, get("/")));
    assert_eq!(*asked.lock().unwrap(), 2);
}

/// Fresh for a second each time, and good for a day when the service fails.
async fn brief(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    let reply = Response::builder().header(header::CACHE_CONTROL, "max-age=1");
    Ok(reply.body(Bytes::from("hello")).unwrap())
}

fn from_a_host() -> Request<Bytes> {
    Request::get("http://a.example/").body(Bytes::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_stands_in_for_an_open_breaker_only_if_the_cache_is_outside() {
    let cache = || CacheLayer::new(ResponseCache::new(1 << 20));
    let breaker = Breaker::new(BreakerPolicy::new());
    let guard = || CircuitBreakerLayer::new(breaker.clone());

    let outside = stack(cache(), guard(), brief);
    let inside = stack(guard(), cache(), brief);
    send(outside.clone(), from_a_host()).await;
    send(inside.clone(), from_a_host()).await;
    sleep(Duration::from_secs(10)).await;
    breaker.force_open();

    let stale = send(outside, from_a_host()).await;
    assert_eq!((stale.status, stale.headers[header::AGE].to_str().unwrap()), (StatusCode::OK, "10"));
    assert_eq!(send(inside, from_a_host()).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_charged_only_if_the_cache_is_inside_of_the_limit() {
    let cache = || CacheLayer::new(ResponseCache::new(1 << 20));

    let free = stack(cache(), RateLimitLayer::new(ONE), brief);
    let charged = stack(RateLimitLayer::new(ONE), cache(), brief);
    for _ in 0..3 {
        assert_eq!(send(free.clone(), from_a_host()).await.status, StatusCode::OK);
    }
    assert_eq!(send(charged.clone(), from_a_host()).await.status, StatusCode::OK);
    assert_eq!(send(charged, from_a_host()).await.status, StatusCode::TOO_MANY_REQUESTS);

    // What is stale stands in for what the limit refuses.
    sleep(Duration::from_secs(10)).await;
    let stale = send(free, from_a_host()).await;
    assert_eq!((stale.status, stale.headers[header::AGE].to_str().unwrap()), (StatusCode::OK, "10"));
}

// ===== helpers =====

fn cache() -> CacheLayer {
    CacheLayer::new(ResponseCache::new(1 << 20))
}

/// A response that is fresh for a second.
fn fresh() -> Response<Bytes> {
    Response::builder().header("cache-control", "max-age=1").body(Bytes::from("hello")).unwrap()
}

fn unavailable() -> Response<Bytes> {
    Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).body(Bytes::default()).unwrap()
}

async fn briefly(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    Ok(fresh())
}

/// A service that is well for one request, and down from then on.
fn once() -> impl Fn(Request<Bytes>) -> std::future::Ready<Result<Response<Bytes>, Infallible>> + Clone + Send {
    let was_asked = Arc::new(AtomicBool::new(false));
    move |_| std::future::ready(Ok(if was_asked.swap(true, Ordering::Relaxed) { unavailable() } else { fresh() }))
}

/// What the cache says of an answer.
fn told(head: &response::Parts) -> &str {
    head.headers["cache-status"].to_str().unwrap()
}
