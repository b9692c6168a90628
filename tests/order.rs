//! What `docs/order.md` says of two layers that swap, shown.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

#[path = "common/lines.rs"]
mod lines;

use bartizan::{
    Deadline, Refusal,
    access_log::{AccessLogLayer, Format},
    cache::{CacheLayer, ResponseCache},
    circuit_breaker::{Breaker, BreakerPolicy, CircuitBreakerLayer, State},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    deadline::PropagateDeadlineLayer,
    fallback::{FallbackLayer, fixed},
    rate_limit::{Quota, RateLimitLayer},
    request_id::RequestIdLayer,
    retry::{Jitter, RetryLayer, RetryPolicy},
    tenant::{Tenant, TenantLayer, from_header},
    timeout::AttemptTimeoutLayer,
};
use http::{Method, Request, Response, StatusCode, header, response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use lines::Lines;
use serde_json::Value;
use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};
use tower_http::{catch_panic::CatchPanicLayer, cors::CorsLayer};

type Bytes = Full<bytes::Bytes>;

const ONE: Quota = Quota::per_hour(1);

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

// ===== cache =====

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

// ===== outbound =====

#[tokio::test(start_paused = true)]
async fn each_attempt_counts_and_an_open_breaker_ends_them_only_if_the_breaker_is_inside_of_retry() {
    let breaker = || Breaker::new(BreakerPolicy::consecutive_failures(2));
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));

    let (ours, behind) = (breaker(), Behind::answering(StatusCode::SERVICE_UNAVAILABLE));
    let inside = ServiceBuilder::new().layer(retry()).layer(CircuitBreakerLayer::new(ours.clone()));
    send(inside.service(behind.clone()), get("/")).await;
    assert_eq!((ours.state(), behind.seen()), (State::Open, 2));

    let (ours, behind) = (breaker(), Behind::answering(StatusCode::SERVICE_UNAVAILABLE));
    let outside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(retry());
    send(outside.service(behind.clone()), get("/")).await;
    assert_eq!((ours.state(), behind.seen()), (State::Closed, 3));
}

#[tokio::test(start_paused = true)]
async fn slowness_counts_as_failure_only_if_the_timeout_is_inside_of_the_breaker() {
    let breaker = || Breaker::new(BreakerPolicy::consecutive_failures(1));
    let timeout = || AttemptTimeoutLayer::new(Duration::from_secs(1));

    let ours = breaker();
    let inside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(timeout());
    assert_eq!(send(inside.service(Behind::slow()), get("/")).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(ours.state(), State::Open);

    let ours = breaker();
    let outside = ServiceBuilder::new().layer(timeout()).layer(CircuitBreakerLayer::new(ours.clone()));
    assert_eq!(send(outside.service(Behind::slow()), get("/")).await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!((ours.state(), ours.metrics().ignored), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_own_time_only_if_the_timeout_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));
    let timeout = || AttemptTimeoutLayer::new(Duration::from_secs(1));

    let behind = Behind::slow();
    let inside = ServiceBuilder::new().layer(retry()).layer(timeout());
    send(inside.service(behind.clone()), get("/")).await;
    assert_eq!(behind.seen(), 3);

    let behind = Behind::slow();
    let outside = ServiceBuilder::new().layer(timeout()).layer(retry());
    send(outside.service(behind.clone()), get("/")).await;
    assert_eq!(behind.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_waits_for_the_attempts_only_if_the_retry_is_inside() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(3));
    let fallback = || FallbackLayer::new(fixed(Response::new(bytes::Bytes::new())));

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let inside = ServiceBuilder::new().layer(fallback()).layer(retry());
    assert_eq!(send(inside.service(behind.clone()), get("/")).await.status, StatusCode::OK);
    assert_eq!(behind.seen(), 3);

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let outside = ServiceBuilder::new().layer(retry()).layer(fallback());
    assert_eq!(send(outside.service(behind.clone()), get("/")).await.status, StatusCode::OK);
    assert_eq!(behind.seen(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_no_permit_only_if_the_limit_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(2).jitter(Jitter::Equal));
    let in_the_pause = Duration::from_millis(25);

    let limit = ConcurrencyLimit::new(1);
    let inside = ServiceBuilder::new().layer(retry()).layer(ConcurrencyLimitLayer::new(limit.clone()));
    let call = tokio::spawn(send(inside.service(Behind::answering(StatusCode::SERVICE_UNAVAILABLE)), get("/")));
    sleep(in_the_pause).await;
    assert_eq!((limit.in_flight(), call.is_finished()), (0, false));

    let limit = ConcurrencyLimit::new(1);
    let outside = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(limit.clone())).layer(retry());
    let call = tokio::spawn(send(outside.service(Behind::answering(StatusCode::SERVICE_UNAVAILABLE)), get("/")));
    sleep(in_the_pause).await;
    assert_eq!((limit.in_flight(), call.is_finished()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_told_what_is_left_only_if_that_is_inside_of_retry() {
    let retry = || RetryLayer::new(RetryPolicy::attempts(2).jitter(Jitter::Equal));
    let with_deadline = || {
        let mut request = get("/");
        Deadline::after(Duration::from_secs(10)).tighten(request.extensions_mut());
        request
    };

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let inside = ServiceBuilder::new().layer(retry()).layer(PropagateDeadlineLayer::new());
    send(inside.service(behind.clone()), with_deadline()).await;
    assert!(behind.told()[1] < behind.told()[0], "{:?}", behind.told());

    let behind = Behind::answering(StatusCode::SERVICE_UNAVAILABLE);
    let outside = ServiceBuilder::new().layer(PropagateDeadlineLayer::new()).layer(retry());
    send(outside.service(behind.clone()), with_deadline()).await;
    assert_eq!(behind.told()[1], behind.told()[0], "though some of it has passed");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_says_nothing_of_the_service_only_if_the_limit_is_inside_of_the_breaker() {
    let breaker = || Breaker::new(BreakerPolicy::new());
    let full = || {
        let limit = ConcurrencyLimit::new(1);
        (limit.try_acquire().unwrap(), ConcurrencyLimitLayer::new(limit))
    };

    let (ours, (permit, limit)) = (breaker(), full());
    let inside = ServiceBuilder::new().layer(CircuitBreakerLayer::new(ours.clone())).layer(limit);
    assert_eq!(send(inside.service(Behind::slow()), get("/")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((ours.metrics().ignored, ours.metrics().refused), (1, 0));
    drop(permit);

    // Outside, one that waits in line for its permit may be waiting for a refusal.
    let ours = breaker();
    ours.force_open();
    let limit = ConcurrencyLimit::new(1);
    let permit = limit.try_acquire().unwrap();
    let waiting = ConcurrencyLimitLayer::new(limit).wait_up_to(Duration::from_secs(5), 1);
    let outside = ServiceBuilder::new().layer(waiting).layer(CircuitBreakerLayer::new(ours));
    let start = Instant::now();
    let call = tokio::spawn(send(outside.service(Behind::slow()), get("/")));
    sleep(Duration::from_secs(4)).await;
    drop(permit);
    assert_eq!(call.await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() >= Duration::from_secs(4));
}

// ===== cache =====

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

/// A service behind, which takes any body and always does the same.
#[derive(Clone)]
struct Behind {
    status: StatusCode,
    after: Duration,
    told: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Behind {
    fn answering(status: StatusCode) -> Self {
        Self { status, after: Duration::from_millis(10), told: Arc::default() }
    }

    fn slow() -> Self {
        Self { after: Duration::from_secs(60), ..Self::answering(StatusCode::OK) }
    }

    /// How many requests it has seen.
    fn seen(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// What each request told of the time that it has.
    fn told(&self) -> Vec<Option<u64>> {
        self.told.lock().unwrap().clone()
    }
}

impl<B> Service<Request<B>> for Behind {
    type Response = Response<Bytes>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let told = request.headers().get("x-request-timeout-ms").map(|left| left.to_str().unwrap().parse().unwrap());
        self.told.lock().unwrap().push(told);
        let Self { status, after, .. } = *self;
        Box::pin(async move {
            sleep(after).await;
            let mut response = Response::new(Bytes::default());
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

async fn hello(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    Ok(Response::new(Bytes::from("hello")))
}

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

async fn panics(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
    panic!("on purpose")
}

/// `service` inside of `inner`, inside of `outer`.
fn stack<O, I, F, Fut>(outer: O, inner: I, service: F) -> O::Service
where
    O: Layer<I::Service>,
    I: Layer<tower::util::ServiceFn<F>>,
    F: Fn(Request<Bytes>) -> Fut,
{
    ServiceBuilder::new().layer(outer).layer(inner).service(service_fn(service))
}

/// Sends a request, reads the answer to its end, and gives its head.
async fn send<S, B>(service: S, request: Request<Bytes>) -> response::Parts
where
    S: Service<Request<Bytes>, Response = Response<B>, Error = Infallible>,
    B: Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    assert!(body.collect().await.is_ok());
    head
}

fn get(path: &str) -> Request<Bytes> {
    Request::get(path).header("host", "h").body(Bytes::default()).unwrap()
}

fn get_for(tenant: &str) -> Request<Bytes> {
    Request::get("/").header("host", "h").header("x-tenant-id", tenant).body(Bytes::default()).unwrap()
}

/// The only line since the last look.
fn only(lines: &Lines) -> Value {
    let lines = lines.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap()
}
