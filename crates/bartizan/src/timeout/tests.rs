use super::{AttemptTimeoutLayer, Event, Refused, TimeoutLayer, due::Due};
use crate::shared::{Deadline, Refusal, ResponseBody};
use bytes::Bytes;
use http::{Extensions, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    future::{pending, poll_fn, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

type Body = Empty<Bytes>;
type Answer = Result<Response<Body>, Infallible>;

/// Answers after so long.
fn slow(
    time: Duration,
) -> impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
    service_fn(move |_: Request<()>| async move {
        sleep(time).await;
        Answer::Ok(Response::new(Empty::new()))
    })
}

fn due_in(time: Duration) -> Request<()> {
    let mut request = Request::new(());
    Deadline::after(time).tighten(request.extensions_mut());
    request
}

// ===== the decision =====

proptest! {
    #[test]
    fn whichever_ends_first_is_the_reason(
        limit in 0..5u64,
        deadline in prop::option::of((0..5u64, any::<bool>())),
        given in 1..10u64,
    ) {
        let now = Instant::now() + 10 * SECOND;
        let (limit, given) = (Duration::from_secs(limit), Duration::from_secs(given));
        let mut extensions = Extensions::new();
        let is_ours = deadline.is_some_and(|(_, is_ours)| is_ours);
        if let Some((seconds, _)) = deadline {
            // A deadline may have passed already.
            let deadline = Deadline::at(now - 2 * SECOND + Duration::from_secs(seconds));
            if is_ours { deadline.limit_of(given, &mut extensions) } else { deadline.tighten(&mut extensions) }
        }
        let deadline = Deadline::standing(&extensions);
        let due = Due::new(now, limit, limit, deadline);
        match deadline {
            Some(deadline) if deadline.instant() < now + limit => {
                let left = deadline.instant().saturating_duration_since(now);
                let is_ample = is_ours && left * 2 >= given;
                let refused = if is_ample { Refused::Timeout(left) } else { Refused::Deadline };
                prop_assert_eq!(due, Due { at: deadline.instant(), refused });
            }
            _ => prop_assert_eq!(due, Due { at: now + limit, refused: Refused::Timeout(limit) }),
        }
    }
}

#[test]
fn a_limit_of_for_ever_is_one() {
    let now = Instant::now();
    assert!(Due::new(now, Duration::MAX, Duration::MAX, None).at > now + Duration::from_secs(1_000_000));
}

// ===== the answer =====

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_passes_and_a_late_one_is_a_504() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = TimeoutLayer::new(SECOND).observe({
        let events = Arc::clone(&events);
        move |event| events.lock().unwrap().push(*event)
    });
    let start = Instant::now();
    let response = layer.layer(slow(SECOND / 2)).oneshot(Request::new(())).await.unwrap();
    assert_eq!((response.status(), start.elapsed()), (StatusCode::OK, SECOND / 2));

    let start = Instant::now();
    let response = layer.layer(slow(60 * SECOND)).oneshot(Request::new(())).await.unwrap();
    // The wheel turns once a millisecond.
    assert!((SECOND..=SECOND + Duration::from_millis(1)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.extensions().get(), Some(&Refusal::new("timeout")));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["code"], "timeout");
    assert_eq!(*events.lock().unwrap(), [Event::Refused(Refused::Timeout(SECOND))]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_if_it_is_earlier() {
    for layer in [
        &AttemptTimeoutLayer::new(10 * SECOND).layer(slow(60 * SECOND)),
        &TimeoutLayer::default().layer(slow(60 * SECOND)),
    ] {
        let start = Instant::now();
        let response = layer.clone().oneshot(due_in(SECOND)).await.unwrap();
        assert!(start.elapsed() <= SECOND + Duration::from_millis(1));
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_ends_the_wait_at_once() {
    let request = due_in(SECOND);
    advance(5 * SECOND).await;
    let start = Instant::now();
    let response = AttemptTimeoutLayer::default().layer(slow(SECOND)).oneshot(request).await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(1));
    assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_grpc_is_told_in_its_own_words() {
    let request = Request::post("/orders.Orders/Get").header("content-type", "application/grpc").body(()).unwrap();
    let response = TimeoutLayer::new(SECOND).layer(slow(60 * SECOND)).oneshot(request).await.unwrap();
    assert_eq!((response.status(), &response.headers()["grpc-status"]), (StatusCode::OK, &HeaderValue::from(4)));
    assert_eq!(response.extensions().get(), Some(&Refusal::new("timeout")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_ones_own_is_marked_all_the_same() {
    let layer = TimeoutLayer::new(SECOND).on_refusal(|refused| {
        let mut response = Response::new(Bytes::from(format!("late: {refused}")));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    let response = layer.layer(slow(60 * SECOND)).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.extensions().get(), Some(&Refusal::new("timeout")));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "late: timeout");
}

#[tokio::test]
async fn an_error_of_the_service_passes() {
    let failing = service_fn(|_: Request<()>| ready(Err::<Response<Body>, _>("broken")));
    assert_eq!(TimeoutLayer::default().layer(failing).oneshot(Request::new(())).await.unwrap_err(), "broken");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "as this test wants it")]
async fn a_panic_of_the_service_is_not_taken_for_a_timeout() {
    let panicking = service_fn(|_: Request<()>| async {
        sleep(SECOND / 2).await;
        panic!("as this test wants it");
        #[allow(unreachable_code, reason = "it has a type")]
        Answer::Ok(Response::new(Empty::new()))
    });
    let _ = TimeoutLayer::new(SECOND).layer(panicking).oneshot(Request::new(())).await;
}

// ===== the limit =====

#[tokio::test(start_paused = true)]
async fn requests_can_have_limits_of_their_own() {
    #[derive(Clone)]
    struct Patience(Duration);

    let layer = TimeoutLayer::new(SECOND).limit_by(|head| match head.method {
        Method::PUT => Some(5 * SECOND),
        _ => head.extensions.get().map(|Patience(time)| *time),
    });
    let patient = Request::builder().extension(Patience(9 * SECOND)).body(()).unwrap();
    for (request, limit) in [(Request::new(()), 1), (Request::put("/").body(()).unwrap(), 5), (patient, 9)] {
        let start = Instant::now();
        let response = layer.layer(slow(60 * SECOND)).oneshot(request).await.unwrap();
        assert_eq!((response.status(), start.elapsed().as_secs()), (StatusCode::GATEWAY_TIMEOUT, limit));
    }
}

/// The deadline that the service inside sees.
async fn seen_through<L>(layer: L, request: Request<()>) -> Option<Duration>
where
    L: Layer<Tell>,
    L::Service: Service<Request<()>, Response = Response<ResponseBody<Body>>, Error = Infallible>,
{
    let response = layer.layer(Tell).oneshot(request).await.unwrap();
    Deadline::of(response.extensions()).map(Deadline::remaining)
}

/// Answers with the deadline of the request.
#[derive(Clone)]
struct Tell;

impl Service<Request<()>> for Tell {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Answer>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        if let Some(deadline) = Deadline::of(request.extensions()) {
            response.extensions_mut().insert(deadline);
        }
        ready(Ok(response))
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_for_all_becomes_the_deadline_of_those_further_in_and_never_a_later_one() {
    let layer = TimeoutLayer::new(5 * SECOND);
    assert_eq!(seen_through(layer.clone(), Request::new(())).await, Some(5 * SECOND));
    assert_eq!(seen_through(layer.clone(), due_in(9 * SECOND)).await, Some(5 * SECOND));
    assert_eq!(seen_through(layer.clone(), due_in(SECOND)).await, Some(SECOND));
    assert_eq!(seen_through(layer.tightens(false), due_in(9 * SECOND)).await, Some(9 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_attempt_is_its_own_affair_unless_it_is_told() {
    let layer = AttemptTimeoutLayer::new(5 * SECOND);
    assert_eq!(seen_through(layer.clone(), Request::new(())).await, None);
    assert_eq!(seen_through(layer.clone(), due_in(9 * SECOND)).await, Some(9 * SECOND));
    assert_eq!(seen_through(layer.tightens(true), due_in(9 * SECOND)).await, Some(5 * SECOND));
}

// ===== readiness =====

/// Is ready after so long, each time anew, and answers after a second.
#[derive(Clone)]
struct Busy {
    time: Duration,
    until: Option<Instant>,
    calls: Arc<AtomicUsize>,
}

impl Busy {
    fn new(time: Duration) -> Self {
        Self { time, until: None, calls: Arc::default() }
    }
}

impl Service<Request<()>> for Busy {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + self.time);
        if Instant::now() >= until {
            return Poll::Ready(Ok(()));
        }
        let waker = cx.waker().clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            waker.wake();
        });
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.until = None;
        self.calls.fetch_add(1, Relaxed);
        Box::pin(async {
            sleep(SECOND).await;
            Ok(Response::new(Empty::new()))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_counts_if_it_is_said_so() {
    let layer = TimeoutLayer::new(5 * SECOND);
    let busy = Busy::new(Duration::from_millis(4500));
    let response = layer.layer(busy.clone()).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    let start = Instant::now();
    let response = layer.clone().count_readiness().layer(busy).oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_ready_too_late_is_not_called() {
    let busy = Busy::new(6 * SECOND);
    let layer = AttemptTimeoutLayer::new(5 * SECOND).count_readiness();
    let response = layer.layer(busy.clone()).oneshot(Request::new(())).await.unwrap();
    assert_eq!((response.status(), busy.calls.load(Relaxed)), (StatusCode::GATEWAY_TIMEOUT, 0));
}

#[tokio::test(start_paused = true)]
async fn one_wait_for_readiness_counts_for_one_request() {
    let mut service = TimeoutLayer::new(5 * SECOND).count_readiness().layer(Busy::new(3 * SECOND));
    for _ in 0..3 {
        let response = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let mut clone = service.clone();
    let response = clone.ready().await.unwrap().call(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

// ===== letting go =====

/// Sets a flag when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_service_holds_is_let_go_before_the_answer() {
    let dropped = Arc::new(AtomicBool::new(false));
    let service = service_fn(|_: Request<()>| {
        let held = OnDrop(Arc::clone(&dropped));
        async move {
            let _held = held;
            pending::<Answer>().await
        }
    });
    let mut future = pin!(TimeoutLayer::new(SECOND).layer(service).oneshot(Request::new(())));
    let response = poll_fn(|cx| future.as_mut().poll(cx)).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(dropped.load(Relaxed), "the future is still there, and what was in it is not");
}

#[test]
fn a_service_that_answers_at_once_needs_no_timer() {
    // There is no runtime here: a clock can be read, but to make a timer would panic.
    let service = service_fn(|_: Request<()>| ready(Answer::Ok(Response::new(Empty::new()))));
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    for mut service in [TimeoutLayer::default().layer(service), AttemptTimeoutLayer::default().layer(service)] {
        let future = pin!(service.call(due_in(SECOND)));
        assert!(future.poll(cx).is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_handed_over_however_late() {
    let mut service = TimeoutLayer::new(SECOND).layer(slow(2 * SECOND));
    let mut future = pin!(service.ready().await.unwrap().call(Request::new(())));
    assert!(timeout(Duration::ZERO, &mut future).await.is_err());
    advance(10 * SECOND).await; // nobody has polled meanwhile
    assert_eq!(future.await.unwrap().status(), StatusCode::OK);
}

// ===== what once went wrong =====

/// Yields as tokio's own channels do, and for no other reason.
#[test]
fn a_service_that_uses_up_tokios_budget_is_given_up_all_the_same() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let response = runtime.block_on(async {
            let busy = service_fn(|_: Request<()>| async {
                let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
                loop {
                    give.send(()).unwrap();
                    if take.recv().await.is_none() {
                        return Answer::Ok(Response::new(Empty::new()));
                    }
                }
            });
            // The real clock: a paused one moves only when nobody is busy.
            TimeoutLayer::new(Duration::from_millis(50)).layer(busy).oneshot(Request::new(())).await.unwrap()
        });
        done.send(response.status()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(20 * SECOND).expect("it is given up"), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_is_told_is_the_layers_own_whatever_readiness_took() {
    let limit = 3 * SECOND / 2;
    for tightens in [true, false] {
        let events = Arc::new(Mutex::new(Vec::new()));
        let tells = Arc::clone(&events);
        let layer = TimeoutLayer::new(limit).tightens(tightens).count_readiness();
        let layer = layer.observe(move |event| tells.lock().unwrap().push(*event));
        let began = Instant::now();
        let _ = layer.layer(Busy::new(SECOND)).oneshot(Request::new(())).await.unwrap();
        assert_eq!(began.elapsed(), limit);
        assert_eq!(*events.lock().unwrap(), [Event::Refused(Refused::Timeout(limit))]);
    }
}
