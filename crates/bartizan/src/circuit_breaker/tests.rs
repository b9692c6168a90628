//! The breaker as a service, on paused time.

mod aside;
mod by_key;
mod gate;
mod healing;
mod model;
mod traps;

use super::*;
use crate::shared::{Notes, Refusal};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

type Answer = Response<Full<Bytes>>;

/// Opens after two failures one after the other, or when half of four have failed.
const TWO: BreakerPolicy =
    BreakerPolicy::failure_rate(0.5).over(4).or_consecutive_failures(2).jitter(0.0).probes(1, 1).ramp(Duration::ZERO);

fn answer(status: u16) -> Answer {
    let mut response = Response::new(Full::from("answer"));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

fn with(status: u16, name: &'static str, value: &str) -> Answer {
    let mut response = answer(status);
    response.headers_mut().insert(name, value.parse().expect("a value"));
    response
}

async fn through<C, B>(layer: &CircuitBreakerLayer<C>, response: Response<B>) -> Response<WatchedBody<B>>
where
    C: Clone + ClassifyError<Infallible>,
    B: Body<Data = Bytes>,
{
    let mut response = Some(response);
    let service = service_fn(move |_: Request<()>| {
        let response = response.take().expect("called once");
        async move { Ok::<_, Infallible>(response) }
    });
    layer.layer(service).oneshot(Request::new(())).await.expect("infallible")
}

/// Calls a service that answers so, reads the body, and tells the status that the client sees.
async fn call<C: Clone + ClassifyError<Infallible>>(layer: &CircuitBreakerLayer<C>, response: Answer) -> u16 {
    let response = through(layer, response).await;
    let status = response.status().as_u16();
    response.into_body().collect().await.expect("a body");
    status
}

async fn calls(layer: &CircuitBreakerLayer, statuses: &[u16]) -> Vec<u16> {
    let mut seen = Vec::new();
    for status in statuses {
        seen.push(call(layer, answer(*status)).await);
    }
    seen
}

fn breaker(policy: BreakerPolicy) -> (Breaker, CircuitBreakerLayer) {
    let breaker = Breaker::new(policy);
    (breaker.clone(), CircuitBreakerLayer::new(breaker))
}

fn field<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

async fn pass(time: Duration) {
    advance(time).await;
}

const SECOND: Duration = Duration::from_secs(1);

// ===== the policy =====

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let policy = BreakerPolicy::new();
    assert_eq!(policy, BreakerPolicy::failure_rate(0.5).or_consecutive_failures(7));
    let spelled = policy.over(20).within(30 * SECOND).open_for(5 * SECOND, 60 * SECOND).jitter(0.2).probes(3, 2);
    assert_eq!(policy, spelled.half_open_at_most(2).ramp(10 * SECOND).heed_retry_after(300 * SECOND));
}

#[test]
fn numbers_that_make_no_sense_panic() {
    let policy = BreakerPolicy::new();
    let senseless: [&(dyn Fn() -> BreakerPolicy + std::panic::RefUnwindSafe); 12] = [
        &|| BreakerPolicy::failure_rate(0.0),
        &|| BreakerPolicy::failure_rate(1.1),
        &|| BreakerPolicy::failure_rate(f64::NAN),
        &|| BreakerPolicy::consecutive_failures(0),
        &|| BreakerPolicy::slow_calls(0.5, Duration::ZERO),
        &|| policy.over(0),
        &|| policy.of_last(0),
        &|| policy.within(Duration::from_millis(999)),
        &|| policy.open_for(Duration::ZERO, SECOND),
        &|| policy.open_for(2 * SECOND, SECOND),
        &|| policy.probes(0, 0),
        &|| policy.probes(2, 3),
    ];
    for (index, senseless) in senseless.iter().enumerate() {
        assert!(std::panic::catch_unwind(senseless).is_err(), "number {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn times_of_any_length_are_no_overflow() {
    let policy = BreakerPolicy::consecutive_failures(1).open_for(Duration::MAX, Duration::MAX).ramp(Duration::MAX);
    let (breaker, layer) =
        breaker(policy.within(Duration::MAX).heed_retry_after(Duration::MAX).half_open_at_most(u32::MAX));
    call(&layer, with(503, "retry-after", "18446744073709551615")).await;
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(calls(&layer, &[200]).await, [503]);
    breaker.restore(&Snapshot {
        remaining: Duration::MAX,
        lasted: Duration::MAX,
        opened: u32::MAX,
        ..breaker.snapshot()
    });
    assert_eq!(calls(&layer, &[200]).await, [503]);
}

// ===== opening and closing =====

#[tokio::test(start_paused = true)]
async fn it_opens_refuses_probes_and_closes() {
    let (breaker, layer) = breaker(TWO);
    assert_eq!(calls(&layer, &[200, 500, 500, 200]).await, [200, 500, 500, 503]);
    pass(5 * SECOND - Duration::from_millis(1)).await;
    assert_eq!(calls(&layer, &[200]).await, [503]);
    pass(Duration::from_millis(1)).await;
    assert_eq!(calls(&layer, &[200, 200]).await, [200, 200]);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_complete() {
    let (_, layer) = breaker(TWO);
    calls(&layer, &[500, 500]).await;
    pass(Duration::from_millis(1500)).await;
    let notes = Notes::default();
    let mut request = Request::new(());
    crate::shared::Context::of_mut(request.extensions_mut()).notes = Some(notes.clone());
    let never = service_fn(|_: Request<()>| async { Err::<Answer, _>("not called") });
    let refused = layer.layer(never).oneshot(request).await.expect("a response");
    assert_eq!(refused.status(), 503);
    assert_eq!(field(&refused, "retry-after"), "4");
    assert_eq!(field(&refused, "content-type"), "application/problem+json");
    assert_eq!(refused.extensions().get(), Some(&Refusal::new("breaker_open")));
    assert_eq!(notes.lock().error_type, Some("breaker_open"));
    assert_eq!(notes.lock().flags, crate::shared::Flag::UpstreamOverflow as u16);
    let body = refused.into_body().collect().await.expect("a body").to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"breaker_open".into()));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_grpc_is_refused_in_trailers_only() {
    let (breaker, layer) = breaker(TWO);
    breaker.force_open();
    let request = Request::post("/").header("content-type", "application/grpc").body(()).expect("a request");
    let service = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(answer(200)) });
    let refused = layer.layer(service).oneshot(request).await.expect("infallible");
    assert_eq!((refused.status().as_u16(), field(&refused, "grpc-status")), (200, "14"));
    assert_eq!(field(&refused, "grpc-retry-pushback-ms"), "5000");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_may_be_replaced_and_stays_one() {
    let (breaker, layer) = breaker(TWO);
    let layer = layer.on_refusal(|refused, _| {
        assert_eq!((refused.state(), refused.key(), refused.retry_after()), (State::Open, None, 5 * SECOND));
        Response::builder().status(502).body(Bytes::from_static(b"later")).expect("a response")
    });
    breaker.force_open();
    let refused = through(&layer, answer(200)).await;
    assert_eq!((refused.status().as_u16(), field(&refused, "retry-after")), (502, "5"));
    assert_eq!(refused.extensions().get(), Some(&Refusal::new("breaker_open")));
    assert_eq!(refused.into_body().collect().await.expect("a body").to_bytes(), "later");
}

#[tokio::test(start_paused = true)]
async fn each_time_in_a_row_it_is_open_for_twice_as_long() {
    let (breaker, layer) = breaker(TWO);
    calls(&layer, &[500, 500]).await;
    for seconds in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.snapshot().remaining, seconds * SECOND);
        pass(seconds * SECOND).await;
        assert_eq!(calls(&layer, &[500, 200]).await, [500, 503]);
    }
    pass(60 * SECOND).await;
    calls(&layer, &[200, 500, 500]).await;
    assert_eq!(breaker.snapshot().remaining, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn who_fails_again_in_the_ramp_has_not_recovered() {
    let (breaker, layer) = breaker(TWO.ramp(10 * SECOND));
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    assert_eq!(calls(&layer, &[200, 500, 500]).await, [200, 500, 500]);
    assert_eq!(breaker.snapshot().remaining, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn probes_are_judged_together() {
    for (outcomes, state) in
        [([500, 200, 200], State::Closed), ([200, 500, 200], State::Closed), ([200, 500, 500], State::Open)]
    {
        let (breaker, layer) = breaker(TWO.probes(3, 2));
        calls(&layer, &[500, 500]).await;
        pass(5 * SECOND).await;
        assert_eq!(calls(&layer, &outcomes).await, outcomes);
        assert_eq!(breaker.state(), state, "{outcomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_probes_run_at_once_than_there_are() {
    let (breaker, layer) = breaker(TWO.probes(3, 3));
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    let mut responses = Vec::new();
    for _ in 0..10 {
        responses.push(through(&layer, answer(200)).await);
    }
    let passed = responses.iter().filter(|response| response.status() == 200).count();
    assert_eq!((passed, field(&responses[9], "retry-after")), (3, "1"));
    for response in responses {
        response.into_body().collect().await.expect("a body");
    }
    assert_eq!(breaker.state(), State::Closed);
}

// ===== what counts as what =====

#[tokio::test(start_paused = true)]
async fn statuses_say_what_they_say() {
    let outcome = |status| Outcome::of_status(StatusCode::from_u16(status).expect("a status"));
    for (statuses, expected) in [
        (&[500, 502, 503, 504, 507, 520, 599][..], Outcome::Failure),
        (&[429], Outcome::SoftFailure(Weight::WHOLE)),
        (&[501, 505], Outcome::Ignored),
        (&[101, 200, 204, 301, 304, 400, 401, 403, 404, 408, 499], Outcome::Success),
    ] {
        for status in statuses {
            assert_eq!(outcome(*status), expected, "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_failure_neither_lengthens_nor_ends_a_series() {
    let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(3));
    calls(&layer, &[500, 429, 500, 429]).await;
    assert_eq!(breaker.snapshot().consecutive, 2);
    calls(&layer, &[500]).await;
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn soft_failures_degrade_the_rate_by_their_weight() {
    let policy = BreakerPolicy::failure_rate(0.5).over(4);
    let (whole, layer) = breaker(policy);
    calls(&layer, &[200, 200, 429, 429]).await;
    assert_eq!(whole.state(), State::Open);

    let (half, layer) = breaker(policy);
    let layer = layer.classify(|head| match head.status.as_u16() {
        429 => Outcome::SoftFailure(Weight::percent(50)),
        _ => Outcome::of_status(head.status),
    });
    for status in [200, 200, 429, 429, 429] {
        call(&layer, answer(status)).await;
    }
    assert_eq!((half.state(), half.snapshot().failed), (State::Closed, 150));
}

#[tokio::test(start_paused = true)]
async fn grpc_tells_in_its_trailers() {
    let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(4));
    for (status, series) in
        [("14", 1), ("0", 0), ("13", 1), ("5", 0), ("2", 1), ("8", 1), ("1", 1), ("12", 1), ("0", 0)]
    {
        let trailers =
            HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static(status))]);
        let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"message"))), Ok(Frame::trailers(trailers))];
        let mut response = Response::new(Frames(frames.into()));
        *response.version_mut() = http::Version::HTTP_2;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        through(&layer, response).await.into_body().collect().await.expect("a body");
        assert_eq!(breaker.snapshot().consecutive, series, "{status}");
    }
    let metrics = breaker.metrics();
    assert_eq!((metrics.succeeded, metrics.failed, metrics.soft_failed, metrics.ignored), (3, 3, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn grpc_in_trailers_only_tells_in_its_head() {
    let (breaker, layer) = breaker(TWO);
    for (status, series) in [("14", 1), ("0", 0), ("4", 1)] {
        let mut response = Response::new(Full::default());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        response.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
        call(&layer, response).await;
        assert_eq!(breaker.snapshot().consecutive, series, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_without_a_status_has_failed() {
    let (breaker, layer) = breaker(TWO);
    let mut response = with(200, "content-type", "application/grpc");
    *response.version_mut() = http::Version::HTTP_2;
    call(&layer, response).await;
    assert_eq!(breaker.metrics().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn errors_fail_unless_told_otherwise() {
    let failing = || service_fn(|_: Request<()>| async { Err::<Answer, _>("reset") });
    let (strict, layer) = breaker(TWO);
    layer.layer(failing()).oneshot(Request::new(())).await.expect_err("an error");
    assert_eq!(strict.metrics().failed, 1);

    let (lenient, layer) = breaker(TWO);
    let layer = layer.classify_error(|error: &&str| match *error {
        "reset" => Outcome::Ignored,
        _ => Outcome::Failure,
    });
    layer.layer(failing()).oneshot(Request::new(())).await.expect_err("an error");
    assert_eq!((lenient.metrics().failed, lenient.metrics().ignored), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn our_own_refusals_say_nothing_but_a_timeout_does() {
    let (breaker, layer) = breaker(TWO);
    let layer = layer.classify(|_| Outcome::Failure);
    let refused = |error_type| {
        let mut response = answer(503);
        response.extensions_mut().insert(Refusal::new(error_type));
        response
    };
    call(&layer, refused("rate_limited")).await;
    assert_eq!((breaker.metrics().ignored, breaker.metrics().failed), (1, 0));
    call(&layer, refused("timeout")).await;
    assert_eq!((breaker.metrics().ignored, breaker.metrics().failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_guise_of_a_good_answer_is_still_one() {
    let (breaker, layer) = breaker(TWO);
    let refused = |error_type| {
        let mut response = answer(200);
        response.extensions_mut().insert(Refusal::new(error_type));
        response
    };
    call(&layer, refused("rate_limited")).await;
    call(&layer, refused("timeout")).await;
    let metrics = breaker.metrics();
    assert_eq!((metrics.ignored, metrics.failed, metrics.succeeded), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_well_is_counted_and_told() {
    let (breaker, layer) = breaker(TWO);
    assert_eq!(calls(&layer, &[200, 404, 304]).await, [200, 404, 304]);
    assert_eq!((breaker.metrics().succeeded, breaker.metrics().late), (3, 0));

    let told = Arc::new(Mutex::new(Vec::new()));
    let told_too = Arc::clone(&told);
    let breaker = Breaker::new(TWO).observe(move |event| {
        if let Event::Judged(judged) = event {
            told_too.lock().expect("unpoisoned").push((judged.outcome, judged.late));
        }
    });
    let layer = CircuitBreakerLayer::new(breaker.clone());
    calls(&layer, &[200]).await;
    let late = through(&layer, answer(200)).await;
    breaker.reset();
    late.into_body().collect().await.expect("a body");
    assert_eq!(*told.lock().expect("unpoisoned"), [(Outcome::Success, false), (Outcome::Success, true)]);
    assert_eq!((breaker.metrics().succeeded, breaker.metrics().late), (2, 1));
}

// ===== until the body's end =====

/// A body of these frames, one after the other.
struct Frames<E>(VecDeque<Result<Frame<Bytes>, E>>);

impl<E: Unpin> Body for Frames<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Poll::Ready(self.0.pop_front())
    }
}

/// The body breaks in the middle.
fn broken() -> Response<Frames<&'static str>> {
    Response::new(Frames([Ok(Frame::data(Bytes::from_static(b"ans"))), Err("reset")].into()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_a_failure() {
    let (breaker, layer) = breaker(TWO);
    let response = through(&layer, broken()).await;
    assert_eq!(breaker.metrics(), Metrics::default());
    response.into_body().collect().await.expect_err("it breaks");
    assert_eq!(breaker.metrics(), Metrics { failed: 1, ..Metrics::default() });
}

#[tokio::test(start_paused = true)]
async fn bodies_that_break_one_after_the_other_open_it_as_heads_do() {
    let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(4));
    let breaks = async || through(&layer, broken()).await.into_body().collect().await.expect_err("it breaks");
    for _ in 0..3 {
        breaks().await;
    }
    calls(&layer, &[200]).await;
    assert_eq!((breaker.state(), breaker.snapshot().consecutive), (State::Closed, 0));
    calls(&layer, &[500, 500]).await;
    breaks().await;
    assert_eq!((breaker.state(), breaker.snapshot().consecutive), (State::Closed, 3));
    breaks().await;
    assert_eq!(breaker.state(), State::Open);
}

/// Each has its head before the one before it breaks.
#[tokio::test(start_paused = true)]
async fn bodies_that_break_open_it_whatever_is_in_flight() {
    for in_flight in [1, 2, 5] {
        let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(7));
        let mut bodies = VecDeque::new();
        for _ in 0..in_flight {
            bodies.push_back(through(&layer, broken()).await.into_body());
        }
        for call in 0..7 {
            assert_eq!(breaker.state(), State::Closed, "{call} of 7, with {in_flight} in flight");
            bodies.push_back(through(&layer, broken()).await.into_body());
            bodies.pop_front().expect("in flight").collect().await.expect_err("it breaks");
        }
        assert_eq!(breaker.state(), State::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_let_go_of_counts_by_its_head() {
    let (breaker, layer) = breaker(TWO);
    drop(through(&layer, answer(200)).await);
    assert_eq!(breaker.metrics(), Metrics { succeeded: 1, ..Metrics::default() });
    drop(through(&layer, answer(500)).await);
    assert_eq!(breaker.metrics().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_given_up_says_nothing_unless_it_took_too_long() {
    let (breaker, layer) = breaker(BreakerPolicy::consecutive_failures(1).or_slow_calls(1.0, SECOND));
    let hanging = service_fn(|_: Request<()>| async {
        sleep(60 * SECOND).await;
        Ok::<_, Infallible>(answer(200))
    });
    let patience = |time| tokio::time::timeout(time, layer.layer(hanging).oneshot(Request::new(())));
    patience(SECOND / 2).await.expect_err("it hangs");
    assert_eq!(breaker.metrics(), Metrics { ignored: 1, ..Metrics::default() });
    patience(SECOND).await.expect_err("it hangs");
    assert_eq!((breaker.metrics().failed, breaker.state()), (1, State::Open));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_body_has_had_enough_of_it() {
    let (breaker, layer) = breaker(BreakerPolicy::slow_calls(1.0, SECOND));
    let response = through(&layer, answer(200)).await;
    pass(SECOND).await; // all that it wants to know is in the head
    drop(response);
    assert_eq!((breaker.metrics().failed, breaker.metrics().succeeded), (0, 1));

    let mut body = through(&layer, broken()).await.into_body();
    body.frame().await.expect("a frame").expect("the first");
    pass(SECOND).await;
    drop(body);
    assert_eq!((breaker.metrics().failed, breaker.metrics().succeeded), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_has_failed() {
    let (breaker, layer) = breaker(TWO);
    let panicking = service_fn(|_: Request<()>| async {
        if true { panic!("on purpose") } else { Ok::<_, Infallible>(answer(200)) }
    });
    for _ in 0..2 {
        let call = tokio::spawn(layer.layer(panicking).oneshot(Request::new(())));
        assert!(call.await.expect_err("a panic").is_panic());
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn a_probe_dropped_at_any_poll_frees_its_place() {
    let (breaker, layer) = breaker(TWO);
    calls(&layer, &[500, 500]).await;
    pass(5 * SECOND).await;
    for polls in 0..5 {
        let slow = service_fn(|_: Request<()>| async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            Ok::<_, Infallible>(answer(200))
        });
        let mut future = Box::pin(layer.layer(slow).oneshot(Request::new(())));
        let mut ended = false;
        for _ in 0..polls {
            ended = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        }
        drop(future);
        assert_eq!((ended, breaker.state() == State::Closed), (polls == 4, polls == 4), "after {polls} polls");
    }
}

// ===== slow calls =====

async fn slowly(layer: &CircuitBreakerLayer, time: Duration, status: u16) -> u16 {
    let service = service_fn(move |_: Request<()>| async move {
        sleep(time).await;
        Ok::<_, Infallible>(answer(status))
    });
    let response = layer.layer(service).oneshot(Request::new(())).await.expect("infallible");
    let status = response.status().as_u16();
    response.into_body().collect().await.expect("a body");
    status
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_and_only_the_head_has_to_be_quick() {
    let (breaker, layer) = breaker(BreakerPolicy::slow_calls(0.5, SECOND).over(4));
    for millis in [999, 1000, 10] {
        slowly(&layer, Duration::from_millis(millis), 200).await;
    }
    let long_body = through(&layer, answer(200)).await;
    pass(10 * SECOND).await;
    long_body.into_body().collect().await.expect("a body");
    assert_eq!((breaker.state(), breaker.snapshot().slow, breaker.snapshot().calls), (State::Closed, 1, 4));
    slowly(&layer, SECOND, 200).await;
    slowly(&layer, SECOND, 200).await;
    assert_eq!(breaker.state(), State::Open);
}

// ===== Retry-After =====

#[tokio::test(start_paused = true)]
async fn it_stays_open_for_as_long_as_it_is_told() {
    let (breaker, layer) = breaker(TWO);
    calls(&layer, &[500]).await;
    call(&layer, with(503, "retry-after", "120")).await;
    assert_eq!(breaker.snapshot().remaining, 120 * SECOND);
    breaker.reset();
    calls(&layer, &[500]).await;
    call(&layer, with(503, "retry-after", "100000")).await;
    assert_eq!(breaker.snapshot().remaining, 300 * SECOND);
    breaker.reset();
    calls(&layer, &[500]).await;
    let mut dated = with(503, "retry-after", "Sun, 06 Nov 1994 08:50:37 GMT");
    dated.headers_mut().insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    call(&layer, dated).await;
    assert_eq!(breaker.snapshot().remaining, 60 * SECOND);
    breaker.reset();
    calls(&layer, &[500]).await;
    call(&layer, with(503, "retry-after", "1")).await;
    assert_eq!(breaker.snapshot().remaining, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_maintenance_page_opens_nothing_two_in_a_row_do() {
    let (breaker, layer) = breaker(BreakerPolicy::new().jitter(0.0));
    for _ in 0..30 {
        call(&layer, with(503, "retry-after", "30")).await;
        calls(&layer, &[200, 200, 200]).await;
        assert_eq!(breaker.state(), State::Closed);
    }
    call(&layer, with(503, "retry-after", "30")).await;
    call(&layer, with(503, "retry-after", "30")).await;
    assert_eq!((breaker.state(), breaker.snapshot().remaining), (State::Open, 30 * SECOND));
    breaker.reset();
    for _ in 0..2 {
        call(&layer, with(503, "retry-after", "0")).await;
    }
    assert_eq!(breaker.state(), State::Closed, "no time to wait is nothing to heed");
    let deaf = Breaker::new(BreakerPolicy::new().heed_retry_after(Duration::ZERO));
    let layer = CircuitBreakerLayer::new(deaf.clone());
    call(&layer, with(503, "retry-after", "30")).await;
    call(&layer, with(503, "retry-after", "30")).await;
    assert_eq!(deaf.state(), State::Closed);
}

// ===== by hand =====

#[tokio::test(start_paused = true)]
async fn a_shadow_refuses_nobody_and_tells_whom_it_would() {
    let told = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&told);
    let breaker = Breaker::new(TWO).observe(move |event| {
        *counts.lock().unwrap() += usize::from(matches!(event, Event::WouldRefuse(_)));
    });
    let layer = CircuitBreakerLayer::new(breaker.clone());
    breaker.shadow();
    assert_eq!(calls(&layer, &[500, 500, 500, 200]).await, [500, 500, 500, 200]);
    assert_eq!((breaker.state(), *told.lock().unwrap(), breaker.metrics().refused), (State::Open, 2, 2));
    pass(5 * SECOND).await;
    calls(&layer, &[200]).await;
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_forced_holds_until_it_is_reset() {
    let (breaker, layer) = breaker(TWO);
    for _ in 0..2 {
        breaker.force_open();
        pass(3600 * SECOND).await;
        assert_eq!(
            (calls(&layer, &[200]).await, breaker.state(), breaker.mode()),
            (vec![503], State::Open, Mode::ForcedOpen)
        );
    }
    for _ in 0..2 {
        breaker.force_closed();
        assert_eq!(calls(&layer, &[500, 500, 500]).await, [500, 500, 500]);
        assert_eq!((breaker.state(), breaker.snapshot().consecutive), (State::Closed, 3));
    }
    breaker.disable();
    let before = breaker.metrics();
    assert_eq!(calls(&layer, &[500, 500, 500]).await, [500, 500, 500]);
    assert_eq!((breaker.metrics(), breaker.snapshot().calls), (before, 0));
    breaker.reset();
    assert_eq!(calls(&layer, &[500, 500, 200]).await, [500, 500, 503]);
}

#[tokio::test(start_paused = true)]
async fn another_breaker_goes_on_from_a_snapshot() {
    for policy in [TWO, TWO.of_last(10)] {
        let (old, layer) = breaker(policy);
        calls(&layer, &[200, 200, 200, 500]).await;
        let (new, layer) = breaker(policy);
        new.restore(&old.snapshot());
        assert_eq!(new.snapshot().calls, 4);
        assert_eq!((new.snapshot().failed, new.snapshot().consecutive), (100, 1));
        calls(&layer, &[500]).await;
        assert_eq!(new.state(), State::Open);

        pass(2 * SECOND).await;
        let (newer, layer) = breaker(policy);
        newer.restore(&new.snapshot());
        assert_eq!((newer.snapshot(), newer.state()), (new.snapshot(), State::Open));
        assert_eq!(calls(&layer, &[200]).await, [503]);
        pass(3 * SECOND).await;
        assert_eq!(calls(&layer, &[200]).await, [200]);
        assert_eq!(newer.state(), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_sees_each_state() {
    let (breaker, layer) = breaker(TWO);
    let mut changes = breaker.watch();
    calls(&layer, &[500, 500]).await;
    assert_eq!(changes.next().await, Some(State::Open));
    pass(5 * SECOND).await;
    let probe = through(&layer, answer(200)).await;
    assert_eq!((changes.next().await, changes.state()), (Some(State::HalfOpen), State::HalfOpen));
    drop(probe);
    assert_eq!(changes.next().await, Some(State::Closed));
    drop((breaker, layer));
    assert_eq!(changes.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_what_happens_and_why() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let breaker = Breaker::new(TWO).observe(move |event| {
        telling.lock().unwrap().push(match event {
            Event::Changed(change) => format!("{:?} to {:?}: {:?}", change.from, change.to, change.cause),
            Event::Judged(judged) => format!("{:?}", judged.outcome),
            Event::Refused(refused) => format!("refused for {:?}", refused.retry_after()),
            other => format!("{other:?}"),
        });
    });
    let layer = CircuitBreakerLayer::new(breaker.clone());
    calls(&layer, &[500, 500, 200]).await;
    pass(5 * SECOND).await;
    calls(&layer, &[200]).await;
    breaker.force_open();
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!(
        told,
        [
            "Failure",
            "Closed to Open: ConsecutiveFailures",
            "Failure",
            "refused for 5s",
            "Open to HalfOpen: OpenTimeOver",
            "HalfOpen to Closed: Probes",
            "Success",
            "Closed to Open: Forced",
        ]
    );
}
