//! The limiter as a service, on paused time.

mod settling;
mod waiting;

use super::*;
use crate::shared::{Deadline, PeerAddr, Refusal, TrustedProxies, wall_now};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    future::Ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answered<T = Memory> = Response<LimitedBody<Full<Bytes>, T>>;

/// Two at once, one more each second.
const TWO: Quota = Quota::per_second(1).burst(2);

fn request(client: &str) -> Request<Empty<Bytes>> {
    let peer = PeerAddr(format!("{client}:1").parse().expect("an address"));
    Request::builder().uri("/").extension(peer).body(Empty::new()).expect("a request")
}

fn request_with(name: &'static str, value: &str) -> Request<Empty<Bytes>> {
    let mut request = request("192.0.2.1");
    request.headers_mut().insert(name, value.parse().expect("a value"));
    request
}

async fn inner(_: Request<Empty<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("served")))
}

async fn ask<T: Throttle + Clone>(layer: &RateLimitLayer<T>, request: Request<Empty<Bytes>>) -> Answered<T> {
    layer.layer(service_fn(inner)).oneshot(request).await.expect("infallible")
}

async fn statuses<T: Throttle + Clone>(layer: &RateLimitLayer<T>, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(ask(layer, request("192.0.2.1")).await.status().as_u16());
    }
    statuses
}

async fn body<T: Throttle>(response: Answered<T>) -> Bytes {
    response.into_body().collect().await.expect("a body").to_bytes()
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

// ===== admitting and refusing =====

#[tokio::test(start_paused = true)]
async fn the_burst_passes_then_one_each_interval() {
    let layer = RateLimitLayer::new(TWO);
    assert_eq!(statuses(&layer, 3).await, [200, 200, 429]);
    advance(Duration::from_secs(1)).await;
    assert_eq!(statuses(&layer, 2).await, [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn clients_have_a_bucket_each_and_a_network_of_ipv6_has_one() {
    let layer = RateLimitLayer::new(Quota::per_second(1));
    for (client, status) in
        [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 429), ("[2001:db8::1]", 200), ("[2001:db8::2]", 429)]
    {
        assert_eq!(ask(&layer, request(client)).await.status(), status, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_complete() {
    let layer = RateLimitLayer::new(TWO);
    statuses(&layer, 2).await;
    let refused = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&refused, "retry-after"), "1");
    assert_eq!(field(&refused, "ratelimit"), r#""default";r=0;t=1"#);
    assert_eq!(field(&refused, "ratelimit-policy"), r#""default";q=2;w=2"#);
    assert_eq!(field(&refused, "content-type"), "application/problem+json");
    assert_eq!(refused.extensions().get::<Refusal>().map(|r| r.error_type()), Some("rate_limited"));
    let problem: serde_json::Value = serde_json::from_slice(&body(refused).await).expect("JSON");
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], serde_json::json!(["default"]));
}

#[tokio::test(start_paused = true)]
async fn what_a_refusal_says_comes_at_once_is_as_long_as_was_told_and_then_over() {
    let layer = RateLimitLayer::new(TWO);
    statuses(&layer, 2).await;
    let mut said = ask(&layer, request("192.0.2.1")).await.into_body();
    let told = said.size_hint().exact();
    assert!(!said.is_end_stream());
    let frame = said.frame().await.expect("a frame").expect("a body");
    assert_eq!(frame.into_data().ok().map(|data| data.len() as u64), told);
    assert_eq!((said.is_end_stream(), said.size_hint().exact()), (true, Some(0)));
    assert!(said.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_json_is_told_in_text() {
    let layer = RateLimitLayer::new(Quota::per_second(1));
    statuses(&layer, 1).await;
    let refused = ask(&layer, request_with("accept", "text/html")).await;
    assert_eq!(field(&refused, "content-type"), "text/plain; charset=utf-8");
    assert!(body(refused).await.starts_with(b"The request exceeds its quota"));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_client_is_told_in_trailers_only_with_a_pushback() {
    let layer = RateLimitLayer::new(Quota::per_second(1));
    statuses(&layer, 1).await;
    let mut call = request_with("content-type", "application/grpc+proto");
    *call.method_mut() = Method::POST;
    let refused = ask(&layer, call).await;
    assert_eq!(refused.status(), StatusCode::OK);
    assert_eq!(field(&refused, "grpc-status"), "8");
    assert_eq!(field(&refused, "grpc-retry-pushback-ms"), "1000");
    assert!(body(refused).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_rounded_up_is_never_zero_and_is_always_enough() {
    for quota in [Quota::per_second(1000).burst(1), Quota::per_minute(7).burst(3), Quota::per_hour(1).sliding_log()] {
        let layer = RateLimitLayer::new(quota);
        statuses(&layer, quota.burst_size() as usize).await;
        let refused = ask(&layer, request("192.0.2.1")).await;
        let seconds: u64 = field(&refused, "retry-after").parse().expect("seconds");
        assert!(seconds >= 1);
        advance(Duration::from_secs(seconds)).await;
        assert_eq!(statuses(&layer, 1).await, [200], "{quota:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_never_pass_is_refused_for_good() {
    let layer = RateLimitLayer::new(TWO).cost_by(|_| 3);
    let refused = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(!refused.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_ones_own_keeps_retry_after_and_the_mark() {
    let layer = RateLimitLayer::new(Policy::new("mine", Quota::per_second(1))).on_refusal(|refused, head| {
        let policies: Vec<_> = refused.violated_policies().collect();
        Response::builder()
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .body(Bytes::from(format!("{policies:?} {}", head.uri)))
            .expect("a response")
    });
    statuses(&layer, 1).await;
    let refused = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(&refused, "retry-after"), "1");
    assert!(refused.extensions().get::<Refusal>().is_some());
    assert_eq!(body(refused).await, r#"["mine"] /"#);
}

// ===== keys =====

#[tokio::test(start_paused = true)]
async fn no_header_of_an_untrusted_peer_changes_its_key() {
    let layer = RateLimitLayer::new(Quota::per_second(1)).key_by(key::client(TrustedProxies::none()));
    for value in ["1.1.1.1", "2.2.2.2, 3.3.3.3"] {
        let status = ask(&layer, request_with("x-forwarded-for", value)).await.status();
        assert_eq!(status, if value == "1.1.1.1" { 200 } else { 429 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_shares_a_bucket_or_skips_or_is_refused_as_told() {
    let by_header = || RateLimitLayer::new(Quota::per_second(1)).key_by(key::header(header::FROM));
    assert_eq!(statuses(&by_header(), 2).await, [200, 429]);
    assert_eq!(statuses(&by_header().skip_missing_key(), 2).await, [200, 200]);
    assert_eq!(statuses(&by_header().refuse_missing_key(), 2).await, [400, 400]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_is_none_and_one_on_two_lines_never_goes_uncharged() {
    let layer = RateLimitLayer::new(Quota::per_second(1)).key_by(key::header(header::FROM)).skip_missing_key();
    for (second, status) in [("b", 200), ("c", 429)] {
        let mut twice = request_with("from", "a");
        twice.headers_mut().append("from", HeaderValue::from_static(second));
        assert_eq!(ask(&layer, twice).await.status(), status);
    }
    assert_eq!(ask(&layer.refuse_missing_key(), request_with("from", "")).await.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn keys_compose() {
    let layer = RateLimitLayer::new(Quota::per_second(1))
        .key_by(key::both(key::header(header::FROM), key::both(key::method(), key::path())));
    let of = |from: &str, path: &str| {
        let mut request = request_with("from", from);
        *request.uri_mut() = path.parse().expect("a path");
        request
    };
    for (from, path, status) in [("a", "/x", 200), ("a", "/y", 200), ("b", "/x", 200), ("a", "/x", 429)] {
        assert_eq!(ask(&layer, of(from, path)).await.status(), status, "{from} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ones_own_may_fall_back_on_a_ready_made_one() {
    let (user, client) = (key::header(header::FROM), key::client(TrustedProxies::none()));
    let layer = RateLimitLayer::new(Quota::per_second(1))
        .key_by(move |head: &Parts| user.read(head).or_else(|| client.read(head)));
    for (request, status) in [
        (request_with("from", "a"), 200),
        (request_with("from", "b"), 200),
        (request("192.0.2.1"), 200),
        (request_with("from", "a"), 429),
        (request("192.0.2.1"), 429),
    ] {
        assert_eq!(ask(&layer, request).await.status(), status);
    }
}

/// A key is read where the request stands, a function is lent its head: the service must not see a difference.
#[tokio::test]
async fn the_service_gets_the_request_as_it_came_whatever_has_been_read_of_it() {
    let layers = [
        RateLimitLayer::new(TWO),
        RateLimitLayer::new(TWO).key_by(|head: &Parts| Some(Key::new(head.uri.path()))),
        RateLimitLayer::new(TWO).cost_by(|_| 1).exempt(|head| head.method == http::Method::OPTIONS),
    ];
    for layer in layers {
        let service = layer.layer(service_fn(|request: Request<Empty<Bytes>>| async move {
            let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0.to_string());
            let seen =
                format!("{} {} {:?} {:?}", request.method(), request.uri(), request.version(), request.headers());
            Ok::<_, Infallible>(Response::new(Full::from(format!("{seen} {peer:?}"))))
        }));
        let mut request = request_with("from", "a");
        *request.uri_mut() = "/orders?page=2".parse().expect("a path");
        *request.method_mut() = http::Method::PUT;
        *request.version_mut() = http::Version::HTTP_2;
        let response = service.oneshot(request).await.expect("infallible");
        assert_eq!(body(response).await, r#"PUT /orders?page=2 HTTP/2.0 {"from": "a"} Some("192.0.2.1:1")"#,);
    }
}

// ===== policies =====

#[tokio::test(start_paused = true)]
async fn a_client_that_one_policy_refuses_takes_nothing_from_the_others() {
    let layer = RateLimitLayer::new(Policy::new("client", Quota::per_second(1)))
        .and(Policy::new("total", Quota::per_second(3).burst(3)).key_by(key::global()))
        .fields(Fields::draft().when(When::Always));
    for _ in 0..10 {
        ask(&layer, request("192.0.2.1")).await;
    }
    let second = ask(&layer, request("192.0.2.2")).await;
    assert_eq!(second.status(), 200);
    assert_eq!(field(&second, "ratelimit"), r#""client";r=0;t=1, "total";r=1;t=1"#);
    assert_eq!(field(&second, "ratelimit-policy"), r#""client";q=1;w=1, "total";q=3;w=1"#);
}

#[tokio::test(start_paused = true)]
async fn plans_give_each_key_its_own_quota_looked_up_or_known() {
    let plan = |key: &Key| (*key == Key::new("gold")).then_some(Quota::per_second(3));
    let known = Policy::new("plan", Quota::per_second(1)).plan_by(move |key, _| plan(key));
    let looked_up = Policy::new("plan", Quota::per_second(1)).plan_by_async(move |key, _| {
        let plan = plan(key);
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            plan
        }
    });
    for policy in [known, looked_up] {
        let layer = RateLimitLayer::new(policy).key_by(key::header(header::FROM));
        let mut passed = [0, 0];
        for _ in 0..5 {
            for (index, name) in ["gold", "free"].into_iter().enumerate() {
                passed[index] += usize::from(ask(&layer, request_with("from", name)).await.status() == 200);
            }
        }
        assert_eq!(passed, [3, 1]);
    }
}

#[test]
#[should_panic(expected = "two policies of one limiter are named \"default\"")]
fn two_policies_of_one_name_are_a_mistake() {
    let _ = RateLimitLayer::new(TWO).and(TWO);
}

#[tokio::test(start_paused = true)]
async fn layers_that_share_a_store_share_policies_of_one_name() {
    let store = Memory::for_keys(10);
    let one = RateLimitLayer::new(Quota::per_second(1)).store(store.clone());
    let same = RateLimitLayer::new(Quota::per_second(1)).store(store.clone());
    let other = RateLimitLayer::new(Policy::new("other", Quota::per_second(1))).store(store.clone());
    let elsewhere = RateLimitLayer::new(Quota::per_second(1)).store(Scoped::new(store, Key::new("elsewhere")));
    assert_eq!(statuses(&one, 1).await, [200]);
    assert_eq!(statuses(&same, 1).await, [429]);
    assert_eq!(statuses(&other, 1).await, [200]);
    assert_eq!(statuses(&elsewhere, 1).await, [200]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_policy_is_not_named() {
    let layer = RateLimitLayer::new(Policy::new("secret", Quota::per_second(1)).quiet());
    statuses(&layer, 1).await;
    let refused = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(field(&refused, "retry-after"), "1");
    assert!(!refused.headers().contains_key("ratelimit") && !refused.headers().contains_key("ratelimit-policy"));
    assert!(!String::from_utf8_lossy(&body(refused).await).contains("secret"));
}

// ===== exemptions, shadow, observing, a store that is down =====

#[tokio::test(start_paused = true)]
async fn the_exempt_pass_uncharged() {
    let layer = RateLimitLayer::new(Quota::per_second(1)).exempt(|head| head.headers.contains_key(header::FROM));
    for _ in 0..3 {
        assert_eq!(ask(&layer, request_with("from", "probe")).await.status(), 200);
    }
    assert_eq!(statuses(&layer, 2).await, [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_second_exemption_takes_none_from_the_first() {
    let layer = RateLimitLayer::new(Quota::per_hour(1))
        .exempt(|head| head.headers.contains_key(header::FROM))
        .exempt(|head| head.headers.contains_key(header::VIA));
    for name in ["from", "via", "from", "via"] {
        assert_eq!(ask(&layer, request_with(name, "probe")).await.status(), 200, "{name}");
    }
    assert_eq!(statuses(&layer, 2).await, [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn shadow_mode_refuses_nobody_and_tells_whom_it_would_have() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let layer = RateLimitLayer::new(TWO).shadow().observe(move |event| {
        if let Event::WouldRefuse(refused) = event {
            assert_eq!(refused.reason(), Reason::Limited);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(statuses(&layer, 5).await, [200; 5]);
    assert_eq!(told.load(Ordering::Relaxed), 3);
}

#[derive(Clone)]
struct Down;

impl Throttle for Down {
    type Deciding = Ready<Result<Decision, Unavailable>>;

    fn decide(&self, _: &[bartizan_store::Charge<'_>]) -> Self::Deciding {
        std::future::ready(Err(Unavailable::new("connection refused")))
    }

    fn peek(&self, charges: &[bartizan_store::Charge<'_>]) -> Self::Deciding {
        self.decide(charges)
    }

    fn settle(&self, _: &bartizan_store::Charge<'_>, _: bartizan_store::Stamp, _: u32) {}
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_requests_pass_or_get_503_as_told() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let layer = RateLimitLayer::new(TWO).store(Down).observe(move |event| {
        count.fetch_add(usize::from(matches!(event, Event::Unavailable(_))), Ordering::Relaxed);
    });
    assert_eq!(statuses(&layer, 3).await, [200; 3]);
    assert_eq!(told.load(Ordering::Relaxed), 3);
    let refused = ask(&layer.refuse_when_unavailable(), request("192.0.2.1")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(&refused, "retry-after"), "1");
}

// ===== waiting =====

/// Sends `count` requests at once and tells when each was served, or that it was refused.
async fn at_once(layer: &RateLimitLayer, count: usize, deadline: Option<Duration>) -> Vec<Option<u128>> {
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let layer = layer.clone();
        tasks.push(tokio::spawn(async move {
            let mut request = request("192.0.2.1");
            if let Some(deadline) = deadline {
                Deadline::after(deadline).tighten(request.extensions_mut());
            }
            let status = ask(&layer, request).await.status();
            (status == 200).then(|| began.elapsed().as_millis())
        }));
        tokio::task::yield_now().await;
    }
    let mut served = Vec::new();
    for task in tasks {
        served.push(task.await.expect("no panic"));
    }
    served
}

#[tokio::test(start_paused = true)]
async fn who_waits_passes_in_the_order_of_arrival_and_the_queue_has_an_end() {
    let layer = RateLimitLayer::new(Quota::per_second(10).burst(1)).wait_up_to(Duration::from_secs(5), 3);
    let served = at_once(&layer, 6, None).await;
    // Timers have a grain of a millisecond.
    let rounded: Vec<_> = served.iter().map(|at| at.map(|at| at / 100 * 100)).collect();
    assert_eq!(rounded, [Some(0), Some(100), Some(200), Some(300), None, None]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_allowed_or_past_the_deadline() {
    let layer = RateLimitLayer::new(Quota::per_second(10).burst(1)).wait_up_to(Duration::from_millis(150), 10);
    let began = Instant::now();
    assert_eq!(at_once(&layer, 4, None).await.iter().flatten().count(), 2);
    assert!(began.elapsed() <= Duration::from_millis(152));
    advance(Duration::from_secs(1)).await;
    let began = Instant::now();
    assert_eq!(at_once(&layer, 3, Some(Duration::from_millis(50))).await, [Some(0), None, None]);
    assert!(began.elapsed() <= Duration::from_millis(52));
}

#[tokio::test(start_paused = true)]
async fn one_who_stops_waiting_leaves_its_place_to_those_behind() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::from_secs(9), 2);
    assert_eq!(statuses(&layer, 1).await, [200]);
    let began = Instant::now();
    let wait = |layer: RateLimitLayer| tokio::spawn(async move { ask(&layer, request("192.0.2.1")).await.status() });
    let impatient = wait(layer.clone());
    tokio::task::yield_now().await;
    let patient = wait(layer.clone());
    tokio::task::yield_now().await;
    impatient.abort();
    assert_eq!(patient.await.expect("no panic"), 200);
    assert_eq!(began.elapsed().as_secs(), 1, "the one behind took the first place that came free");
    assert!(impatient.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn other_buckets_do_not_wait() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::from_secs(9), 2);
    statuses(&layer, 1).await;
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { ask(&layer, request("192.0.2.1")).await.status() }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert_eq!(ask(&layer, request("192.0.2.2")).await.status(), 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(waiting.await.expect("no panic"), 200);
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_no_overflow_and_a_queue_of_none_remembers_nobody() {
    let for_ever = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::MAX, 1);
    assert_eq!(statuses(&for_ever, 2).await, [200, 200]);
    let without_queue = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::MAX, 0);
    assert_eq!(statuses(&without_queue, 3).await, [200, 429, 429]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_shadow_mode() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(1)).wait_up_to(Duration::from_secs(5), 5).shadow();
    let began = Instant::now();
    assert_eq!(statuses(&layer, 3).await, [200; 3]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn behind_a_line_what_can_never_pass_is_told_so_and_what_takes_nothing_passes() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(2))
        .cost_by(|head| head.headers.get("from").map_or(1, |cost| cost.to_str().unwrap().parse().unwrap()))
        .wait_up_to(Duration::from_secs(9), 1);
    statuses(&layer, 2).await;
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { ask(&layer, request("192.0.2.1")).await.status() }
    });
    tokio::task::yield_now().await;
    assert_eq!(ask(&layer, request_with("from", "3")).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask(&layer, request_with("from", "0")).await.status(), StatusCode::OK);
    let refused = ask(&layer, request_with("from", "1")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&refused, "ratelimit"), r#""default";r=0;t=1"#);
    assert_eq!(waiting.await.expect("no panic"), 200);
}

#[tokio::test(start_paused = true)]
async fn nobody_stands_in_line_for_a_policy_that_takes_nothing_from_them() {
    let writes = Policy::new("writes", Quota::per_minute(1).burst(1))
        .cost_by(|head| u32::from(head.headers.contains_key("write")));
    let layer = RateLimitLayer::new(Policy::new("all", Quota::per_second(100)))
        .and(writes)
        .wait_up_to(Duration::from_secs(90), 1);
    assert_eq!(ask(&layer, request_with("write", "1")).await.status(), 200);
    let waiting = tokio::spawn({
        let layer = layer.clone();
        async move { ask(&layer, request_with("write", "2")).await.status() }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    assert_eq!(ask(&layer, request("192.0.2.1")).await.status(), 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(waiting.await.expect("no panic"), 200);
}

#[tokio::test(start_paused = true)]
async fn who_is_kept_back_by_another_bucket_goes_to_the_end_of_its_line() {
    let layer = RateLimitLayer::new(Policy::new("own", Quota::per(2, Duration::from_secs(3)).burst(1)))
        .and(Policy::new("total", Quota::per_second(1).burst(1)).key_by(key::global()))
        .wait_up_to(Duration::from_secs(60), 10);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, client, pause) in [
        ("a1", "192.0.2.1", 0),
        ("n5", "192.0.2.5", 14),
        ("n6", "192.0.2.6", 1),
        ("n7", "192.0.2.7", 1),
        ("a2", "192.0.2.1", 84),
    ] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let (layer, order) = (layer.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            assert_eq!(ask(&layer, request(client)).await.status(), 200);
            order.lock().expect("no panic").push(name);
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(*order.lock().expect("no panic"), ["a1", "n5", "n6", "n7", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_does_not_come_before_the_deadline_is_not_waited_for() {
    let slow = Policy::new("plan", Quota::per_second(1)).plan_by_async(|_, _| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        None
    });
    let layer = RateLimitLayer::new(slow);
    let mut request = request("192.0.2.1");
    Deadline::after(Duration::from_secs(1)).tighten(request.extensions_mut());
    let began = Instant::now();
    assert_eq!(ask(&layer, request).await.status(), 200);
    assert!(began.elapsed() <= Duration::from_millis(1002));
}

// ===== fields =====

#[tokio::test(start_paused = true)]
async fn the_fields_of_two_limiters_stand_beside_each_other() {
    let always = Fields::draft().when(When::Always);
    let inner =
        RateLimitLayer::new(Policy::new("tenant", Quota::per_minute(1).burst(1)).key_by(key::global())).fields(always);
    let outer = RateLimitLayer::new(Quota::per_second(9)).fields(always);
    let service = outer.layer(inner.layer(service_fn(self::inner)));
    service.clone().oneshot(request("192.0.2.1")).await.expect("infallible");
    let refused = service.oneshot(request("192.0.2.1")).await.expect("infallible");
    let told: Vec<_> = refused.headers().get_all("ratelimit").iter().collect();
    assert_eq!(told, [r#""tenant";r=0;t=60"#, r#""default";r=7;t=1"#]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_has_refused_can_still_be_given_another_policy() {
    let layer = RateLimitLayer::new(Policy::new("one", Quota::per_second(9)));
    statuses(&layer, 10).await;
    let layer = layer.and(Policy::new("two", Quota::per_hour(1)));
    assert_eq!(ask(&layer, request("192.0.2.2")).await.status(), 200);
    let refused = ask(&layer, request("192.0.2.2")).await;
    assert!(String::from_utf8_lossy(&body(refused).await).contains(r#"["two"]"#));
}

#[tokio::test(start_paused = true)]
async fn fields_go_with_admitted_responses_as_told() {
    let sent = |when| {
        let layer = RateLimitLayer::new(Quota::per_second(1).burst(4)).fields(Fields::draft().when(when));
        async move {
            let mut sent = Vec::new();
            for _ in 0..4 {
                sent.push(ask(&layer, request("192.0.2.1")).await.headers().contains_key("ratelimit"));
            }
            sent
        }
    };
    assert_eq!(sent(When::Always).await, [true; 4]);
    assert_eq!(sent(When::Refused).await, [false; 4]);
    assert_eq!(sent(When::Below(0.5)).await, [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn legacy_dialects_tell_of_the_tightest_policy() {
    for (fields, prefix) in
        [(Fields::draft_03(), "ratelimit"), (Fields::x_delta(), "x-ratelimit"), (Fields::x_epoch(), "x-ratelimit")]
    {
        let layer = RateLimitLayer::new(Quota::per_second(5).burst(5))
            .and(Policy::new("tight", Quota::per_minute(3).burst(3)))
            .fields(fields.when(When::Always));
        let response = ask(&layer, request("192.0.2.1")).await;
        assert_eq!(field(&response, &format!("{prefix}-limit")), "3");
        assert_eq!(field(&response, &format!("{prefix}-remaining")), "2");
        let reset: u64 = field(&response, &format!("{prefix}-reset")).parse().expect("seconds");
        if fields == Fields::x_epoch() {
            assert!(reset > 1_700_000_000);
        } else {
            assert_eq!(reset, 20);
        }
    }
}

/// The fields of a refusal speak of what refused, and of the time that `Retry-After` tells.
#[tokio::test(start_paused = true)]
async fn legacy_dialects_tell_of_the_policy_that_refuses_and_of_when_to_come_back() {
    let tokens = Policy::new("tokens", Quota::per_minute(1000).burst(1000)).cost_by(|_| 600);
    let two = RateLimitLayer::new(Policy::new("requests", Quota::per_second(2))).and(tokens);
    let slow = RateLimitLayer::new(Quota::per_second(10).burst(100));
    for (layer, passed, [retry_after, limit, left]) in [(two, 1, ["12", "1000", "400"]), (slow, 100, ["1", "100", "0"])]
    {
        statuses(&layer, passed).await;
        for (fields, prefix) in
            [(Fields::draft_03(), "ratelimit"), (Fields::x_delta(), "x-ratelimit"), (Fields::x_epoch(), "x-ratelimit")]
        {
            let layer = layer.clone().fields(fields);
            let wall = || fields::whole_seconds(wall_now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"));
            let before = wall();
            let refused = ask(&layer, request("192.0.2.1")).await;
            let after = wall();
            assert_eq!(refused.status(), 429);
            assert_eq!(field(&refused, "retry-after"), retry_after);
            assert_eq!(field(&refused, &format!("{prefix}-limit")), limit);
            assert_eq!(field(&refused, &format!("{prefix}-remaining")), left);
            let reset: u64 = field(&refused, &format!("{prefix}-reset")).parse().expect("seconds");
            let seconds = if fields == Fields::x_epoch() { reset - after..=reset - before } else { reset..=reset };
            assert!(seconds.contains(&retry_after.parse().expect("seconds")), "{seconds:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_refusal_further_in_tells_stands() {
    for (fields, prefix) in [(Fields::draft_03(), "ratelimit"), (Fields::x_delta(), "x-ratelimit")] {
        let outer = RateLimitLayer::new(Quota::per_second(10)).fields(fields.when(When::Always));
        let tokens = Policy::new("tokens", Quota::per_minute(1000).burst(1000)).cost_by(|_| 600);
        let further_in = RateLimitLayer::new(tokens).fields(fields);
        let told = || async {
            let both = outer.layer(further_in.layer(service_fn(inner)));
            let response = both.oneshot(request("192.0.2.1")).await.expect("infallible");
            let told =
                ["limit", "remaining", "reset"].map(|name| field(&response, &format!("{prefix}-{name}")).to_owned());
            (response.status().as_u16(), told)
        };
        assert_eq!(told().await, (200, ["10", "9", "1"].map(str::to_owned)));
        assert_eq!(told().await, (429, ["1000", "400", "12"].map(str::to_owned)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_with_quotes_is_escaped() {
    let layer =
        RateLimitLayer::new(Policy::new(r#"a"b\c"#, Quota::per_second(1))).fields(Fields::draft().when(When::Always));
    let response = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(field(&response, "ratelimit"), r#""a\"b\\c";r=0;t=1"#);
}

#[tokio::test(start_paused = true)]
async fn a_long_window_does_not_suggest_a_pace_above_its_quota() {
    let layer = RateLimitLayer::new(Quota::per(10_000, Duration::from_secs(1000)).burst(10_000))
        .fields(Fields::draft().when(When::Always));
    let response = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(field(&response, "ratelimit"), r#""default";r=9999;t=1000"#);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The fields parse back, and keep their promise: no more than `r` in `t` seconds is never refused.
    #[test]
    fn who_obeys_the_fields_is_never_refused(
        limit in 1..30_u32, burst in 1..30_u32, secs in 1..20_u64,
        windowed in 0..5_usize,
        pauses in prop::collection::vec(0..3000_u64, 1..30),
    ) {
        let quota = Quota::per(limit, Duration::from_secs(secs));
        let quota = match windowed {
            0 => quota.burst(burst),
            1 => quota.fixed_window(),
            2 => quota.calendar_window(),
            3 => quota.sliding_window(),
            _ => quota.sliding_log(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let layer = RateLimitLayer::new(quota).store(Memory::for_keys(8)).fields(Fields::draft().when(When::Always));
            for pause in pauses {
                advance(Duration::from_millis(pause)).await;
                let response = ask(&layer, request("192.0.2.1")).await;
                let list = sfv::Parser::new(field(&response, "ratelimit")).parse::<sfv::List>().expect("a list");
                let [sfv::ListEntry::Item(item)] = &list[..] else { panic!("one policy") };
                let number = |name| {
                    let value = item.params.get(name).and_then(sfv::BareItem::as_integer).expect("a parameter");
                    u64::try_from(value).expect("not negative")
                };
                let (left, window) = (number("r"), number("t"));
                assert!(window >= 1 || left > 0);
                if response.status() == 429 {
                    let retry_after: u64 = field(&response, "retry-after").parse().expect("seconds");
                    assert!(retry_after >= window.max(1));
                }
                let spread = Duration::from_secs(window) / u32::try_from(left.max(1)).expect("small");
                for _ in 0..left {
                    assert_eq!(ask(&layer, request("192.0.2.1")).await.status(), 200);
                    advance(spread / 2).await;
                }
            }
        });
    }
}

// ===== the shell =====

#[tokio::test(start_paused = true)]
async fn one_layer_applied_a_hundred_times_is_one_limit() {
    let layer = RateLimitLayer::new(TWO);
    let mut passed = 0;
    for _ in 0..100 {
        passed += statuses(&layer.clone(), 1).await.iter().filter(|status| **status == 200).count();
    }
    assert_eq!(passed, 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_passes_as_it_is() {
    let fails = service_fn(|_: Request<Empty<Bytes>>| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let mut service = RateLimitLayer::new(TWO).layer(fails);
    let error = service.ready().await.expect("ready").call(request("192.0.2.1")).await.expect_err("the service's own");
    assert_eq!(error, "broken");
}
