use super::{Answer, Event, Fallback, FallbackLayer, Reason, fixed, from_fn, from_part, reason::Triggers, service};
use crate::shared::{Deadline, Refusal, ResponseBody};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    future::{pending, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Body = Full<Bytes>;
type Outcome = Result<Response<Body>, &'static str>;

fn status(status: u16) -> Outcome {
    Ok(Response::builder().status(status).body(Full::from("the service's own")).unwrap())
}

/// What one of our layers answers instead of calling.
fn refused(status: u16, error_type: &'static str) -> Outcome {
    let mut response = Response::builder().status(status).body(Full::from("refused")).unwrap();
    response.extensions_mut().insert(Refusal::new(error_type));
    Ok(response)
}

fn stopgap() -> Response<Bytes> {
    Response::new(Bytes::from_static(b"stopgap"))
}

/// What a client gets, and what is told of it.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    reason: Option<Reason>,
    body: Bytes,
}

async fn read(response: Response<ResponseBody<Body>>) -> Got {
    let reason = Fallback::of(response.extensions()).map(Fallback::reason);
    let (head, body) = response.into_parts();
    Got { status: head.status, headers: head.headers, reason, body: body.collect().await.unwrap().to_bytes() }
}

async fn send<A>(layer: FallbackLayer<A>, outcome: Outcome) -> Result<Got, &'static str>
where
    A: Answer<Body, Body, &'static str>,
{
    let inner = service_fn(move |_: Request<Body>| ready(outcome.clone()));
    Ok(read(layer.layer(inner).oneshot(request()).await?).await)
}

fn request() -> Request<Body> {
    Request::get("/orders/7?a=b").header("x-tenant-id", "acme").body(Full::from("a query")).unwrap()
}

fn due_in(time: Duration) -> Request<Body> {
    let mut request = request();
    Deadline::after(time).tighten(request.extensions_mut());
    request
}

type Events = Arc<Mutex<Vec<Event>>>;

fn watched() -> (Events, impl Fn(&Event) + Send + Sync + 'static) {
    let events = Events::default();
    let observer = Arc::clone(&events);
    (events, move |event: &Event| observer.lock().unwrap().push(*event))
}

// ===== the decision =====

#[test]
fn what_triggers_and_what_passes() {
    let grpc = |status: u8| {
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(status)))])
    };
    let plain = HeaderMap::new();
    let judge = |triggers: &Triggers, status: u16, headers: &HeaderMap, refusal: Option<&'static str>| {
        let status = StatusCode::from_u16(status).unwrap();
        triggers.judge_closely(status, headers, refusal.map(Refusal::new)).map(|reason| reason.to_string())
    };
    let usual = Triggers::new();
    for (status, headers, refusal, reason) in [
        (502, &plain, None, Some("502")),
        (503, &plain, None, Some("503")),
        (504, &plain, None, Some("504")),
        (500, &plain, None, None),
        (501, &plain, None, None),
        (599, &plain, None, None),
        (404, &plain, None, None),
        (429, &plain, None, None),
        (503, &plain, Some("breaker_open"), Some("breaker_open")),
        (504, &plain, Some("timeout"), Some("timeout")),
        (500, &plain, Some("overloaded"), Some("overloaded")),
        (403, &plain, Some("tenant_unknown"), None),
        (429, &plain, Some("rate_limited"), None),
        // A text of the user's own in the place of a refusal.
        (200, &plain, Some("breaker_open"), None),
        (200, &grpc(14), Some("breaker_open"), Some("breaker_open")),
        (200, &grpc(4), Some("timeout"), Some("timeout")),
        (200, &grpc(8), Some("rate_limited"), None),
        (200, &grpc(3), Some("rate_limit_no_key"), None),
        (200, &grpc(14), None, None),
    ] {
        let told = judge(&usual, status, headers, refusal);
        assert_eq!(told.as_deref(), reason, "{status} {headers:?} {refusal:?}");
    }
    let mut pacing = Triggers::new();
    pacing.rate_limited = true;
    assert_eq!(judge(&pacing, 429, &plain, Some("rate_limited")).as_deref(), Some("rate_limited"));
    assert_eq!(judge(&pacing, 200, &grpc(8), Some("rate_limited")).as_deref(), Some("rate_limited"));
    assert_eq!(judge(&pacing, 429, &plain, None), None);
}

proptest! {
    #[test]
    fn of_the_statuses_those_that_were_named_and_never_one_below_500(
        named in prop::collection::vec(500..600u16, 0..5),
        status in 100..1000u16,
    ) {
        let mut triggers = Triggers::new();
        triggers.set_statuses(named.iter().map(|status| StatusCode::from_u16(*status).unwrap()));
        let response = Response::builder().status(status).body(()).unwrap();
        prop_assert_eq!(triggers.judge(&response).is_some(), named.contains(&status));
    }
}

#[test]
#[should_panic(expected = "a fallback stands in for 5xx only")]
fn a_4xx_cannot_be_named() {
    let _ = FallbackLayer::new(fixed(stopgap())).statuses([StatusCode::TOO_MANY_REQUESTS]);
}

#[test]
fn a_stopgap_is_for_those_who_read() {
    let [usual, mut all] = [Triggers::new(), Triggers::new()];
    all.unsafe_methods = true;
    for (method, is_safe) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
        ("CONNECT", false),
        ("ORDER", false),
        ("get", false),
    ] {
        let method: Method = method.parse().unwrap();
        assert_eq!((usual.includes(&method), all.includes(&method)), (is_safe, true), "{method}");
    }
}

// ===== the answers =====

#[tokio::test]
async fn what_the_service_can_answer_passes() {
    for code in [200, 204, 304, 404, 429, 500] {
        let got = send(FallbackLayer::new(fixed(stopgap())), status(code)).await.unwrap();
        assert_eq!((got.status.as_u16(), got.reason, got.body.as_ref()), (code, None, b"the service's own".as_ref()));
        assert!(got.headers.is_empty(), "{:?}", got.headers);
    }
}

#[tokio::test]
async fn a_fixed_answer_says_that_it_is_one_and_why() {
    let (events, observer) = watched();
    let layer = FallbackLayer::new(fixed(stopgap())).observe(observer);
    for (outcome, why) in
        [(status(503), "503"), (refused(503, "breaker_open"), "breaker_open"), (Err("broken"), "error")]
    {
        let got = send(layer.clone(), outcome).await.unwrap();
        assert_eq!((got.status, got.body.as_ref()), (StatusCode::OK, b"stopgap".as_ref()));
        assert_eq!(
            (&got.headers["x-fallback"], &got.headers["cache-control"]),
            (&why.parse().unwrap(), &"no-store".parse().unwrap())
        );
        assert_eq!(got.reason.map(|reason| reason.to_string()).as_deref(), Some(why));
        assert_eq!(events.lock().unwrap().pop(), got.reason.map(Event::Answered));
    }
}

#[tokio::test]
async fn an_order_that_failed_is_not_confirmed() {
    let (events, observer) = watched();
    let kept = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&kept);
    let answer = from_part(move |_| counts.fetch_add(1, Relaxed), |_, _| stopgap());
    let layer = FallbackLayer::new(answer).observe(observer);
    let order = || Request::post("/orders").body(Body::from("an order")).unwrap();
    for outcome in [status(504), refused(503, "breaker_open"), Err("broken")] {
        let failing = service_fn(|_: Request<Body>| ready(outcome.clone()));
        let answered = layer.layer(failing).oneshot(order()).await;
        assert_eq!(answered.map(|answer| answer.status()), outcome.map(|answer| answer.status()));
    }
    assert_eq!((events.lock().unwrap().len(), kept.load(Relaxed)), (0, 0));

    let failing = service_fn(|_: Request<Body>| ready(status(504)));
    let answered = layer.answer_unsafe_methods().layer(failing).oneshot(order()).await.unwrap();
    assert_eq!((answered.status(), &answered.headers()["x-fallback"]), (StatusCode::OK, &HeaderValue::from(504)));
}

#[tokio::test]
async fn what_an_answer_says_about_caches_it_says() {
    let mut response = stopgap();
    response.headers_mut().insert("cache-control", HeaderValue::from_static("max-age=5"));
    let got = send(FallbackLayer::new(fixed(response)).no_header(), status(503)).await.unwrap();
    assert_eq!(
        got.headers,
        HeaderMap::from_iter([(http::header::CACHE_CONTROL, HeaderValue::from_static("max-age=5"))])
    );
    assert!(got.reason.is_some(), "the mark stays");
}

#[tokio::test]
async fn errors_pass_if_it_is_said_so_and_limits_of_ours_answer_if_it_is_said_so() {
    let layer = FallbackLayer::new(fixed(stopgap()));
    assert_eq!(send(layer.clone().pass_errors(), Err("broken")).await.unwrap_err(), "broken");
    assert_eq!(send(layer.clone(), refused(429, "rate_limited")).await.unwrap().status, 429);
    let got = send(layer.answer_rate_limited(), refused(429, "rate_limited")).await.unwrap();
    assert_eq!((got.status, &got.headers["x-fallback"]), (StatusCode::OK, &HeaderValue::from_static("rate_limited")));
}

#[tokio::test]
async fn other_statuses_and_another_field_can_be_named() {
    let layer = FallbackLayer::new(fixed(stopgap()))
        .statuses([StatusCode::INTERNAL_SERVER_ERROR])
        .header(HeaderName::from_static("x-degraded"));
    assert_eq!(send(layer.clone(), status(500)).await.unwrap().headers["x-degraded"], "500");
    assert_eq!(send(layer, status(503)).await.unwrap().status, 503);
}

#[tokio::test]
async fn a_function_sees_the_head_or_the_part_of_it_that_was_kept() {
    let whole = from_fn(|head, reason| Response::new(format!("{} {} {reason}", head.method, head.uri).into()));
    assert_eq!(send(FallbackLayer::new(whole), status(502)).await.unwrap().body, "GET /orders/7?a=b 502");

    let kept = Arc::new(AtomicUsize::new(0));
    let part = from_part(
        {
            let kept = Arc::clone(&kept);
            move |head| {
                kept.fetch_add(1, Relaxed);
                head.headers.get("x-tenant-id").cloned()
            }
        },
        |tenant: Option<HeaderValue>, _| Response::new(Bytes::copy_from_slice(tenant.unwrap().as_bytes())),
    );
    assert_eq!(send(FallbackLayer::new(part), Err("broken")).await.unwrap().body, "acme");
    assert_eq!(kept.load(Relaxed), 1);
}

#[tokio::test]
async fn the_head_reaches_the_service_as_it_was() {
    let inner = service_fn(|request: Request<Body>| {
        let (head, _) = request.into_parts();
        ready(Outcome::Ok(Response::new(Full::from(format!("{} {} {:?}", head.method, head.uri, head.headers)))))
    });
    let expected = {
        let (head, _) = request().into_parts();
        format!("{} {} {:?}", head.method, head.uri, head.headers)
    };
    let layer = FallbackLayer::new(from_fn(|_, _| stopgap()));
    let got = read(layer.layer(inner).oneshot(request()).await.unwrap()).await;
    assert_eq!(got.body, expected);
}

#[tokio::test]
async fn another_service_gets_the_head_the_reason_and_no_body() {
    let other = service_fn(|request: Request<Body>| async move {
        let reason = request.extensions().get::<Reason>().unwrap().to_string();
        let (head, body) = request.into_parts();
        let length = body.collect().await.unwrap().to_bytes().len();
        Outcome::Ok(Response::new(Full::from(format!("{} {} {reason} {length}", head.method, head.uri))))
    });
    let got = send(FallbackLayer::new(service(other)), refused(504, "timeout")).await.unwrap();
    assert_eq!(got.body, "GET /orders/7?a=b timeout 0");
    assert_eq!(got.headers["x-fallback"], "timeout");
}

#[tokio::test]
async fn a_head_without_its_body_promises_none() {
    let names = |request: Request<Body>| {
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        ready(Outcome::Ok(Response::new(Full::from(names.join(" ")))))
    };
    let layer = FallbackLayer::new(service(service_fn(names))).answer_unsafe_methods();
    for (content_type, stay) in [("text/plain", "x-tenant-id"), ("application/grpc", "x-tenant-id content-type")] {
        let request = Request::post("/orders")
            .header("x-tenant-id", "acme")
            .header("content-type", content_type)
            .header("content-length", "8")
            .header("content-encoding", "gzip")
            .header("content-language", "en")
            .header("content-location", "/orders/7")
            .header("content-range", "bytes 0-7/8")
            .header("transfer-encoding", "gzip")
            .header("transfer-encoding", "chunked")
            .header("trailer", "x-sum")
            .header("expect", "100-continue")
            .body(Body::from("an order"))
            .unwrap();
        let failing = service_fn(|_: Request<Body>| ready(status(503)));
        assert_eq!(read(layer.layer(failing).oneshot(request).await.unwrap()).await.body, stay);
    }
}

/// Is not ready at first, and says when it was called all the same.
#[derive(Clone, Default)]
struct Hesitant {
    polls: usize,
    called_early: Arc<AtomicBool>,
}

impl Service<Request<Body>> for Hesitant {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Outcome>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), &'static str>> {
        self.polls += 1;
        if self.polls < 3 {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.called_early.fetch_or(self.polls < 3, Relaxed);
        ready(status(200))
    }
}

#[tokio::test]
async fn another_service_is_called_when_it_is_ready() {
    let other = Hesitant::default();
    let layer = FallbackLayer::new(service(other.clone()));
    for _ in 0..2 {
        assert_eq!(send(layer.clone(), status(503)).await.unwrap().status, 200);
    }
    assert!(!other.called_early.load(Relaxed));
}

#[tokio::test]
async fn a_fallback_that_fails_or_is_refused_does_not_pass_for_an_answer() {
    let (events, observer) = watched();
    let failing = service_fn(|_: Request<Body>| ready(Outcome::Err("broken too")));
    let layer = FallbackLayer::new(service(failing)).observe(observer);
    assert_eq!(send(layer, status(503)).await.unwrap_err(), "broken too");
    assert_eq!(*events.lock().unwrap(), [Event::Failed(Reason::Status(StatusCode::SERVICE_UNAVAILABLE))]);

    let (events, observer) = watched();
    let open = service_fn(|_: Request<Body>| ready(refused(503, "breaker_open")));
    let got = send(FallbackLayer::new(service(open)).observe(observer), Err("broken")).await.unwrap();
    assert_eq!((got.status.as_u16(), got.reason, got.headers.len()), (503, None, 0));
    assert_eq!(*events.lock().unwrap(), [Event::Failed(Reason::Error)]);
}

#[tokio::test]
async fn another_service_that_answers_5xx_has_not_helped_and_what_you_say_yourself_stands() {
    let (events, observer) = watched();
    let down = service_fn(|_: Request<Body>| ready(status(500)));
    let got = send(FallbackLayer::new(service(down)).observe(observer), status(503)).await.unwrap();
    assert_eq!((got.status.as_u16(), got.reason, got.headers.len()), (500, None, 0));
    assert_eq!(*events.lock().unwrap(), [Event::Failed(Reason::Status(StatusCode::SERVICE_UNAVAILABLE))]);

    // gRPC says the same in a field, with the status 200.
    for (code, has_helped) in [(0, true), (5, true), (14, false), (4, false)] {
        let said = Response::builder().header("content-type", "application/grpc").header("grpc-status", code);
        let said = said.body(Body::default()).unwrap();
        let other = service_fn(move |_: Request<Body>| ready(Outcome::Ok(said.clone())));
        let got = send(FallbackLayer::new(service(other)), status(503)).await.unwrap();
        assert_eq!((got.status, got.headers.contains_key("x-fallback")), (StatusCode::OK, has_helped), "{code}");
        assert_eq!(got.reason.is_some(), has_helped, "{code}");
    }

    let mut closed = stopgap();
    *closed.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let got = send(FallbackLayer::new(fixed(closed)), status(504)).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.headers["x-fallback"]), (503, &HeaderValue::from(504)));
}

// ===== time, and letting go =====

#[tokio::test(start_paused = true)]
async fn another_service_is_not_waited_for_past_the_deadline() {
    let (events, observer) = watched();
    let other = service_fn(|_: Request<Body>| async {
        sleep(60 * SECOND).await;
        status(200)
    });
    let layer = FallbackLayer::new(service(other)).observe(observer);
    let failing = service_fn(|_: Request<Body>| ready(status(503)));
    let start = Instant::now();
    let response = layer.layer(failing).oneshot(due_in(SECOND)).await.unwrap();
    assert!(start.elapsed() <= SECOND + Duration::from_millis(1));
    assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
    assert_eq!((response.status().as_u16(), Fallback::of(response.extensions())), (504, None));
    assert_eq!(*events.lock().unwrap(), [Event::Failed(Reason::Status(StatusCode::SERVICE_UNAVAILABLE))]);
}

/// Real time: with a paused clock it never passes, as this service leaves nobody idle.
#[test]
fn another_service_that_uses_up_the_budget_of_the_task_is_given_up_all_the_same() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(async {
            // Yields only when tokio makes it.
            let busy = service_fn(|_: Request<Body>| async {
                let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
                loop {
                    give.send(()).unwrap();
                    if take.recv().await.is_none() {
                        return status(200);
                    }
                }
            });
            let failing = service_fn(|_: Request<Body>| ready(status(503)));
            FallbackLayer::new(service(busy)).layer(failing).oneshot(due_in(Duration::from_millis(50))).await
        });
        let _ = done.send(answer.unwrap().status());
    });
    assert_eq!(is_done.recv_timeout(10 * SECOND), Ok(StatusCode::GATEWAY_TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn another_service_is_not_asked_after_the_deadline_and_the_first_answer_stands() {
    let (events, observer) = watched();
    let other = service_fn(|_: Request<Body>| -> std::future::Ready<Outcome> { unreachable!("nobody waits for it") });
    let layer = FallbackLayer::new(service(other)).observe(observer);
    let late = service_fn(|_: Request<Body>| async {
        advance(2 * SECOND).await;
        status(503)
    });
    let got = read(layer.layer(late).oneshot(due_in(SECOND)).await.unwrap()).await;
    assert_eq!((got.status.as_u16(), got.body.as_ref()), (503, b"the service's own".as_ref()));
    assert_eq!(*events.lock().unwrap(), [Event::NoTime(Reason::Status(StatusCode::SERVICE_UNAVAILABLE))]);
}

#[tokio::test(start_paused = true)]
async fn what_answers_at_once_answers_after_the_deadline_too() {
    let late = service_fn(|_: Request<Body>| async {
        advance(2 * SECOND).await;
        refused(504, "deadline")
    });
    let layer = FallbackLayer::new(from_fn(|_, _| stopgap()));
    let got = read(layer.layer(late).oneshot(due_in(SECOND)).await.unwrap()).await;
    assert_eq!((got.status.as_u16(), &got.headers["x-fallback"]), (200, &HeaderValue::from_static("deadline")));
}

/// Something that a failed answer holds, such as a connection.
#[derive(Clone)]
struct Held(#[allow(dead_code, reason = "it is counted, not read")] Arc<()>);

#[tokio::test(start_paused = true)]
async fn what_the_failed_answer_holds_is_let_go_before_another_service_is_asked() {
    let held = Arc::new(());
    let failing = {
        let held = Arc::clone(&held);
        service_fn(move |_: Request<Body>| {
            let mut response = status(503).unwrap();
            response.extensions_mut().insert(Held(Arc::clone(&held)));
            ready(Outcome::Ok(response))
        })
    };
    let seen = Arc::new(AtomicUsize::new(0));
    let other = {
        let (held, seen) = (Arc::clone(&held), Arc::clone(&seen));
        service_fn(move |_: Request<Body>| {
            seen.store(Arc::strong_count(&held), Relaxed);
            pending::<Outcome>()
        })
    };
    let mine = Arc::strong_count(&held);
    let mut waiting = pin!(FallbackLayer::new(service(other)).layer(failing).oneshot(request()));
    assert!(timeout(SECOND, &mut waiting).await.is_err());
    assert_eq!(seen.load(Relaxed), mine, "the failed answer was still there");
}

#[tokio::test(start_paused = true)]
async fn a_fallback_dropped_at_any_poll_leaks_nothing() {
    let alive = Arc::new(());
    for polls in 0..12 {
        let slow = |outcome: Outcome| {
            let alive = Arc::clone(&alive);
            service_fn(move |_: Request<Body>| {
                let (alive, outcome) = (Held(Arc::clone(&alive)), outcome.clone());
                async move {
                    for _ in 0..3 {
                        tokio::task::yield_now().await;
                    }
                    drop(alive);
                    outcome
                }
            })
        };
        let (first, other) = (slow(status(503)), slow(status(200)));
        let mine = Arc::strong_count(&alive);
        let mut future = Box::pin(FallbackLayer::new(service(other)).layer(first).oneshot(due_in(SECOND)));
        let mut left = polls;
        let answer = std::future::poll_fn(|cx| {
            if left == 0 {
                return std::task::Poll::Ready(None);
            }
            left -= 1;
            future.as_mut().poll(cx).map(Some)
        })
        .await;
        drop(future);
        assert!(Arc::strong_count(&alive) < mine, "after {polls} polls something is alive"); // the services are gone too
        assert_eq!(answer.is_some_and(|answer| answer.unwrap().status() == 200), polls > 6, "{polls} polls");
    }
}

#[tokio::test]
async fn an_infallible_stack_stays_infallible() {
    let inner = service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(status(503).unwrap())));
    let other = service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(status(200).unwrap())));
    let Ok(response) = FallbackLayer::new(service(other)).layer(inner).oneshot(request()).await;
    assert_eq!(response.status(), StatusCode::OK);
}
