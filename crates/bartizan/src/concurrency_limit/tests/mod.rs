//! The limit as a service, on paused time.

mod gate;
mod keys;

use super::*;
use crate::shared::{Deadline, Refusal, ResponseBody};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use std::{
    convert::Infallible,
    future::{Ready, pending, poll_fn, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, limit::GlobalConcurrencyLimitLayer, service_fn};

type Answer = Response<ResponseBody<Full<Bytes>, Permit>>;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn to(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).expect("a request")
}

fn answers(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(Response::new(Full::from("served"))))
}

async fn ask(layer: &ConcurrencyLimitLayer, request: Request<()>) -> Answer {
    layer.layer(service_fn(answers)).oneshot(request).await.expect("infallible")
}

/// A request that is on its way, with its answer's body unread.
fn send(layer: &ConcurrencyLimitLayer, request: Request<()>) -> JoinHandle<Answer> {
    let layer = layer.clone();
    tokio::spawn(async move { ask(&layer, request).await })
}

async fn settle() {
    for _ in 0..4 {
        yield_now().await;
    }
}

// ===== admitting and refusing =====

#[tokio::test(start_paused = true)]
async fn a_permit_is_held_until_the_body_has_ended() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone());
    let mut first = ask(&layer, to("/")).await;
    assert_eq!((limit.in_flight(), ask(&layer, to("/")).await.status().as_u16()), (1, 503));
    assert!(first.frame().await.is_some());
    assert_eq!(limit.in_flight(), 0, "the last byte is out, though the body is still there");
    assert_eq!(ask(&layer, to("/")).await.status(), 200);
    drop(first);
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_body_holds_nothing() {
    let limit = ConcurrencyLimit::new(1);
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))));
    let response = ConcurrencyLimitLayer::new(limit.clone()).layer(inner).oneshot(to("/")).await;
    assert_eq!((response.is_ok(), limit.in_flight()), (true, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_complete() {
    let layer = ConcurrencyLimitLayer::new(1).retry_after(1500 * MILLISECOND);
    let _held = ask(&layer, to("/")).await;
    let refused = ask(&layer, to("/")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "2");
    assert_eq!(refused.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(refused.extensions().get(), Some(&Refusal::new("overloaded")));
    let body = refused.into_body().collect().await.expect("a body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"overloaded".into()));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_never_zero() {
    let layer = ConcurrencyLimitLayer::new(1).retry_after(Duration::ZERO);
    let _held = ask(&layer, to("/")).await;
    assert_eq!(ask(&layer, to("/")).await.headers()[header::RETRY_AFTER], "1");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_grpc_is_refused_in_its_own_words() {
    let layer = ConcurrencyLimitLayer::new(1);
    let _held = ask(&layer, to("/")).await;
    let mut request = to("/");
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(header::CONTENT_TYPE, "application/grpc".parse().expect("a value"));
    let refused = ask(&layer, request).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["grpc-status"]), (200, &14.into()));
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "1000");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_can_be_replaced_and_stays_one() {
    let layer = ConcurrencyLimitLayer::new(1).on_refusal(|refused, head| {
        let text = format!("{refused:?} {}", head.uri.path());
        Response::builder().status(529).body(text.into()).expect("a response")
    });
    let _held = ask(&layer, to("/")).await;
    let refused = ask(&layer, to("/a")).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()[header::RETRY_AFTER]), (529, &1.into()));
    assert!(refused.extensions().get::<Refusal>().is_some());
    assert_eq!(refused.into_body().collect().await.expect("a body").to_bytes(), "Full /a");
}

#[tokio::test(start_paused = true)]
async fn who_is_exempt_passes_uncounted() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone());
    let layer = layer.exempt(|head| head.uri.path() == "/healthz").exempt(|head| head.uri.path() == "/metrics");
    let _held = ask(&layer, to("/")).await;
    for path in ["/healthz", "/metrics"] {
        let healthy = ask(&layer, to(path)).await;
        assert_eq!((healthy.status().as_u16(), limit.in_flight()), (200, 1), "{path}");
    }
    assert_eq!(ask(&layer, to("/")).await.status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_permit_taken_by_hand_counts() {
    let limit = ConcurrencyLimit::new(2);
    let layer = ConcurrencyLimitLayer::new(limit.clone());
    let permit = limit.try_acquire();
    let _held = ask(&layer, to("/")).await;
    assert!(permit.is_some() && limit.try_acquire().is_none());
    assert_eq!(ask(&layer, to("/")).await.status(), 503);
    drop(permit);
    assert_eq!(ask(&layer, to("/")).await.status(), 200);
}

#[test]
fn a_limit_of_nothing_is_a_mistake() {
    assert!(std::panic::catch_unwind(|| ConcurrencyLimit::new(0)).is_err());
}

// ===== waiting =====

#[tokio::test(start_paused = true)]
async fn who_waits_enters_in_the_order_of_coming_and_nobody_overtakes() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 3);
    let held = ask(&layer, to("/")).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for name in 0..3 {
        let (layer, order) = (layer.clone(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let answer = ask(&layer, to("/")).await;
            order.lock().unwrap().push(name);
            sleep(SECOND).await;
            answer.status().as_u16()
        }));
        settle().await;
    }
    assert_eq!((limit.in_flight(), limit.waiting()), (1, 3));
    assert_eq!(ask(&layer, to("/")).await.status(), 503, "the queue is full");

    drop(held);
    // The permit has an owner already, though it has not run yet.
    assert!(limit.try_acquire().is_none());
    for one in waiting {
        assert_eq!(one.await.expect("no panic"), 200);
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_told_nor_past_the_deadline() {
    let layer = ConcurrencyLimitLayer::new(1).wait_up_to(2 * SECOND, 8);
    let _held = ask(&layer, to("/")).await;
    let waited = async |deadline: Option<Duration>| {
        let mut request = to("/");
        deadline.map(|after| request.extensions_mut().insert(Deadline::after(after)));
        let started = Instant::now();
        assert_eq!(ask(&layer, request).await.status(), 503);
        started.elapsed()
    };
    assert_eq!(waited(None).await, 2 * SECOND);
    assert_eq!(waited(Some(SECOND)).await, SECOND);
    assert_eq!(waited(Some(5 * SECOND)).await, 2 * SECOND);
    assert_eq!(waited(Some(Duration::ZERO)).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_too_late_goes_to_the_next() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(2 * SECOND, 8);
    let held = ask(&layer, to("/")).await;
    let mut request = to("/");
    request.extensions_mut().insert(Deadline::after(SECOND));
    let mut late = pin!(ask(&layer, request));
    assert!(poll_fn(|cx| Poll::Ready(late.as_mut().poll(cx).is_pending())).await);
    let next = send(&layer, to("/"));
    settle().await;
    // Nobody polls the first one when its time is over; then its permit comes.
    tokio::time::advance(1500 * MILLISECOND).await;
    drop(held);
    assert_eq!(late.await.status(), 503);
    assert_eq!(next.await.expect("no panic").status(), 200);
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_the_queue() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 2);
    let held = ask(&layer, to("/")).await;
    let (first, second) = (send(&layer, to("/")), send(&layer, to("/")));
    settle().await;
    assert_eq!(limit.waiting(), 2);
    first.abort();
    settle().await;
    assert_eq!(limit.waiting(), 1);
    drop(held);
    assert_eq!(second.await.expect("no panic").status(), 200);
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

/// The permit is in the hand of one who never comes for it.
#[tokio::test(start_paused = true)]
async fn a_permit_sent_to_one_who_has_gone_goes_to_the_next() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 2);
    let held = ask(&layer, to("/")).await;
    let (first, second) = (send(&layer, to("/")), send(&layer, to("/")));
    settle().await;
    drop(held);
    first.abort();
    assert_eq!(second.await.expect("no panic").status(), 200);
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_future_dropped_at_any_poll_gives_everything_back() {
    for polls in 0..4 {
        let limit = ConcurrencyLimit::new(1);
        let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 1);
        let held = ask(&layer, to("/")).await;
        {
            let inner = service_fn(|_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
            let mut future = pin!(layer.layer(inner).oneshot(to("/")));
            for poll in 0..polls {
                assert!(poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await);
                if poll == 1 {
                    limit.resize(2);
                }
            }
        }
        assert_eq!((limit.in_flight(), limit.waiting()), (1, 0), "{polls} polls");
        drop(held);
        assert_eq!(limit.in_flight(), 0);
    }
}

/// A service that must be asked before each call; a clone has not been asked.
#[derive(Debug)]
struct Picky {
    is_ready: bool,
}

impl Clone for Picky {
    fn clone(&self) -> Self {
        Self { is_ready: false }
    }
}

impl Service<Request<()>> for Picky {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "nobody has asked whether it is ready");
        answers(request)
    }
}

/// Of two places in the service, those of one key who wait would take both.
#[tokio::test(start_paused = true)]
async fn who_waits_keeps_no_place_in_the_service_from_others() {
    let layer =
        ConcurrencyLimitLayer::new(1).key_by(|head| Some(head.uri.path().to_owned())).wait_up_to(60 * SECOND, 9);
    let slow = service_fn(async |_: Request<()>| {
        sleep(SECOND).await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let service = layer.layer(GlobalConcurrencyLimitLayer::new(2).layer(slow));
    let began = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(tokio::spawn(service.clone().oneshot(to("/a"))));
        settle().await;
    }
    assert_eq!(service.clone().oneshot(to("/b")).await.expect("infallible").status(), 200);
    assert_eq!(began.elapsed(), SECOND);
    for (waited, one) in waiting.into_iter().enumerate() {
        assert_eq!(one.await.expect("no panic").expect("infallible").status(), 200);
        assert_eq!(began.elapsed().as_secs(), waited as u64 + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_before_one_who_has_waited_gives_the_permit_back() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(SECOND, 1);
    let held = ask(&layer, to("/")).await;
    let mut fails = layer.layer(Failing);
    let answer = tokio::spawn(fails.call(to("/")));
    settle().await;
    drop(held);
    assert_eq!((answer.await.expect("no panic").err(), limit.in_flight()), (Some("gone"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_in_time_keeps_no_permit() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(2 * SECOND, 1);
    let held = ask(&layer, to("/")).await;
    let places = GlobalConcurrencyLimitLayer::new(1);
    let mut service = layer.layer(places.layer(service_fn(answers)));
    let waiting = tokio::spawn(service.ready().await.expect("infallible").call(to("/")));
    let busy = places.layer(service_fn(|_: Request<()>| pending::<Result<(), Infallible>>()));
    tokio::spawn(busy.oneshot(to("/")));
    settle().await;
    drop(held);
    settle().await;
    assert_eq!(limit.in_flight(), 1);
    let began = Instant::now();
    let refused = waiting.await.expect("no panic").expect("infallible");
    assert_eq!((refused.status().as_u16(), limit.in_flight(), began.elapsed()), (503, 0, 2 * SECOND));
}

/// It was ready once.
#[derive(Clone)]
struct Failing;

impl Service<Request<()>> for Failing {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = Ready<Result<Response<Full<Bytes>>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("gone"))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        panic!("it is not ready")
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_calls_a_service_that_is_ready() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 2);
    let held = limit.try_acquire();
    let mut service = layer.layer(Picky { is_ready: false });
    let first = service.ready().await.expect("infallible").call(to("/"));
    let second = service.ready().await.expect("infallible").call(to("/"));
    drop(held);
    for one in [first, second] {
        assert_eq!(one.await.expect("infallible").status(), 200);
    }
}

// ===== while it runs =====

#[tokio::test(start_paused = true)]
async fn more_room_lets_those_enter_who_wait() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 8);
    let _held = ask(&layer, to("/")).await;
    let waiting = [send(&layer, to("/")), send(&layer, to("/")), send(&layer, to("/"))];
    settle().await;
    limit.resize(3);
    assert_eq!((limit.in_flight(), limit.waiting(), limit.limit()), (3, 1, 3));
    for one in waiting {
        assert_eq!(one.await.expect("no panic").status(), 200);
    }
    assert_eq!(limit.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_shrink_nobody_enters_until_enough_have_left() {
    let limit = ConcurrencyLimit::new(3);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(SECOND, 8);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(ask(&layer, to("/")).await);
    }
    limit.resize(1);
    let waiting = send(&layer, to("/"));
    settle().await;
    for in_flight in [2, 1] {
        held.pop();
        settle().await;
        assert_eq!((limit.in_flight(), limit.waiting()), (in_flight, 1), "who is in stays, who waits waits");
    }
    held.pop();
    assert_eq!(waiting.await.expect("no panic").status(), 200);
    limit.resize(0);
    assert_eq!(ask(&layer, to("/")).await.status(), 503);
    limit.resize(1);
    assert_eq!(ask(&layer, to("/")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_an_error_give_the_permit_back() {
    let limit = ConcurrencyLimit::new(1);
    let layer = ConcurrencyLimitLayer::new(limit.clone());
    let in_call = service_fn(|request: Request<()>| -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
        panic!("{}", request.uri())
    });
    let in_future = service_fn(|request: Request<()>| async move {
        if true {
            panic!("{}", request.uri());
        }
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let one = tokio::spawn(layer.layer(in_call).oneshot(to("/"))).await;
    let other = tokio::spawn(layer.layer(in_future).oneshot(to("/"))).await;
    assert!(one.is_err() && other.is_err());
    assert_eq!(limit.in_flight(), 0);

    let failing = service_fn(|_: Request<()>| ready(Err::<Response<Full<Bytes>>, _>("broken")));
    let mut future = pin!(layer.layer(failing).call(to("/")));
    let answer = poll_fn(|cx| future.as_mut().poll(cx)).await;
    assert_eq!((answer.err(), limit.in_flight()), (Some("broken"), 0), "the future is still there");
}

#[tokio::test(start_paused = true)]
async fn an_observer_sees_what_happens() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    let layer =
        ConcurrencyLimitLayer::new(1).wait_up_to(SECOND, 1).observe(move |event| seeing.lock().unwrap().push(*event));
    let held = ask(&layer, to("/")).await;
    let waiting = send(&layer, to("/"));
    settle().await;
    ask(&layer, to("/")).await;
    sleep(100 * MILLISECOND).await;
    drop(held);
    let held = waiting.await;
    ask(&layer, to("/")).await;
    drop(held);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            Event::Admitted,
            Event::Refused(Refused::QueueFull),
            Event::Waited(100 * MILLISECOND),
            Event::Admitted,
            Event::Waited(SECOND),
            Event::Refused(Refused::WaitedTooLong),
        ]
    );
}

/// It may be dropped at any time, and is out then.
struct Inside(Arc<AtomicU32>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Many requests on real threads, while the limit changes: never more in than may be, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_from_many_threads_no_more_are_in_than_the_highest_limit_and_all_come_back() {
    const HIGHEST: u32 = 8;
    let limit = ConcurrencyLimit::new(HIGHEST);
    let layer = ConcurrencyLimitLayer::new(limit.clone()).wait_up_to(60 * SECOND, 64);
    let (inside, most, served) =
        (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default(), Arc::<AtomicUsize>::default());
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let (layer, limit) = (layer.clone(), limit.clone());
            let (inside, most, served) = (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&served));
            let inner = service_fn(move |request: Request<()>| {
                let (inside, most) = (Arc::clone(&inside), Arc::clone(&most));
                async move {
                    most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                    let _inside = Inside(inside);
                    yield_now().await;
                    answers(request).await
                }
            });
            tokio::spawn(async move {
                for turn in 0..500u32 {
                    if task == 0 {
                        limit.resize(1 + turn % HIGHEST);
                    }
                    // Every third one does not wait for long.
                    let patience = if turn % 3 == 0 { Duration::from_micros(50) } else { 60 * SECOND };
                    let answer = timeout(patience, layer.layer(inner.clone()).oneshot(to("/"))).await;
                    if let Ok(Ok(answer)) = answer {
                        served.fetch_add(usize::from(answer.status() == StatusCode::OK), Relaxed);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert!(most.load(Relaxed) <= HIGHEST, "{most:?} were in at once");
    assert!(served.load(Relaxed) >= 32 * 300, "only {served:?} were served");
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn the_longest_time_to_come_back_after_is_no_overflow() {
    let _ = ConcurrencyLimitLayer::new(1).retry_after(Duration::MAX);
}
