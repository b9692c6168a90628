use super::{
    DeadlineLayer, Event, PropagateDeadlineLayer,
    time_left::{Passed, coming_in, going_out},
    wire::{self, Told, from_grpc, from_millis, to_grpc, to_millis},
};
use crate::shared::{Deadline, PeerAddr, Refusal, RequestId, THIRTY_YEARS, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const MILLIS: HeaderName = HeaderName::from_static("x-request-timeout-ms");
const SECOND: Duration = Duration::from_secs(1);

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
}

// ===== the wire =====

#[test]
fn a_timeout_of_grpc_is_up_to_eight_digits_and_a_unit() {
    let read = |value: &str| from_grpc(&HeaderValue::from_str(value).unwrap());
    for (value, time) in [
        ("1n", Duration::from_nanos(1)),
        ("99999999u", Duration::from_micros(99_999_999)),
        ("5m", Duration::from_millis(5)),
        ("007S", Duration::from_secs(7)),
        ("2M", Duration::from_secs(120)),
        ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ("0S", Duration::ZERO),
    ] {
        assert_eq!(read(value), Some(time), "{value}");
    }
    for value in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "123456789S", "1SS", "1S ", "0x1S", "∞S"] {
        assert_eq!(HeaderValue::from_str(value).ok().as_ref().and_then(from_grpc), None, "{value}");
    }
}

#[test]
fn milliseconds_are_up_to_ten_digits() {
    let read = |value: &str| from_millis(&HeaderValue::from_str(value).unwrap());
    assert_eq!(read("1500"), Some(Duration::from_millis(1500)));
    assert_eq!((read("0"), read("9999999999")), (Some(Duration::ZERO), Some(Duration::from_millis(9_999_999_999))));
    for value in ["", " 1", "1 ", "-1", "+1", "1.0", "1e3", "10000000000", "30s", "infinity"] {
        assert_eq!(read(value), None, "{value:?}");
    }
}

#[test]
fn a_timeout_of_grpc_is_written_in_the_finest_unit_that_has_room() {
    for (time, value) in [
        (Duration::from_nanos(99_999_999), "99999999n"),
        (Duration::from_nanos(100_000_999), "100000u"),
        (Duration::from_secs(30), "30000000u"),
        (Duration::from_secs(100), "100000m"),
        (Duration::from_secs(200_000), "200000S"),
        (THIRTY_YEARS, "15768000M"),
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(to_grpc(time), value);
    }
}

#[test]
fn of_several_lines_the_shortest_counts() {
    let read = |lines| wire::read(&fields(lines), &MILLIS);
    let told = |time| Told { time, is_malformed: false };
    assert_eq!(read(&[]), told(None));
    assert_eq!(read(&[("grpc-timeout", "2S"), ("x-request-timeout-ms", "1000")]), told(Some(SECOND)));
    assert_eq!(read(&[("x-request-timeout-ms", "2000"), ("x-request-timeout-ms", "1000")]), told(Some(SECOND)));
}

#[test]
fn a_line_that_says_nothing_takes_no_other_line_along() {
    let read = |lines| wire::read(&fields(lines), &MILLIS);
    let told = |time| Told { time, is_malformed: true };
    assert_eq!(read(&[("grpc-timeout", "1S"), ("x-request-timeout-ms", "soon")]), told(Some(SECOND)));
    assert_eq!(read(&[("grpc-timeout", "soon"), ("x-request-timeout-ms", "1000")]), told(Some(SECOND)));
    let lines = [("x-request-timeout-ms", "2000"), ("x-request-timeout-ms", ""), ("x-request-timeout-ms", "1000")];
    assert_eq!(read(&lines), told(Some(SECOND)));
    assert_eq!(read(&[("grpc-timeout", "soon"), ("grpc-timeout", "later")]), told(None));
}

#[test]
fn what_stood_in_either_field_is_replaced_by_what_is_left() {
    let written = |lines: &[(&'static str, &str)]| {
        let mut fields = fields(lines);
        wire::write(&mut fields, &MILLIS, SECOND);
        fields.remove("content-type");
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    let grpc = ("content-type", "application/grpc");
    for (stood, others) in [("0", "0n"), ("300", "200m"), ("5000", "1H"), ("ever", "never")] {
        let lines = [("x-request-timeout-ms", stood), ("x-request-timeout-ms", "1"), ("grpc-timeout", others)];
        assert_eq!(written(&lines), ["x-request-timeout-ms: 1000"]);
        assert_eq!(written(&[&[grpc], &lines[..]].concat()), ["grpc-timeout: 1000000u"]);
    }
    assert_eq!(written(&[]), ["x-request-timeout-ms: 1000"]);
    assert_eq!(written(&[grpc]), ["grpc-timeout: 1000000u"]);
}

// ===== the decision =====

fn durations() -> impl Strategy<Value = Duration> {
    // Short ones, long ones, and those at the edges of the units.
    prop_oneof![
        (0..2_000_000_000u64).prop_map(Duration::from_nanos),
        (0..10_000_000u64).prop_map(Duration::from_millis),
        (0..THIRTY_YEARS.as_secs()).prop_map(Duration::from_secs),
        Just(THIRTY_YEARS),
        Just(Duration::ZERO),
    ]
}

proptest! {
    #[test]
    fn the_round_trip_over_the_wire_never_extends(time in durations()) {
        let from_grpc = from_grpc(&to_grpc(time)).unwrap();
        prop_assert!(from_grpc <= time, "{time:?} came back as {from_grpc:?}");
        let from_millis = from_millis(&to_millis(time)).unwrap();
        prop_assert!(from_millis <= time, "{time:?} came back as {from_millis:?}");
        // And what gets lost is less than one of the unit, of which at least 100 000 fit, unless it is a nanosecond.
        prop_assert!(time - from_grpc <= time / 100_000, "{time:?} came back as {from_grpc:?}");
        prop_assert!(time.as_millis() >= 9_999_999_999 || time - from_millis < Duration::from_millis(1));
    }

    #[test]
    fn any_bytes_are_a_time_or_malformed_and_never_a_panic(value in prop::collection::vec(any::<u8>(), 0..14)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            let _ = (from_grpc(&value), from_millis(&value));
        }
    }

    #[test]
    fn a_child_is_never_later_than_its_parent(
        stands in prop::option::of(durations()),
        told in prop::option::of(durations()),
        maximum in durations(),
        margin in durations(),
        on_the_way in durations(),
        is_grpc: bool,
    ) {
        let now = Instant::now();
        let parent = stands.map(|time| Deadline::at(now + time));
        let Ok(deadline) = coming_in(now, parent, told, maximum) else {
            let nothing = [stands, told, Some(maximum)].into_iter().flatten().any(|time| time.is_zero());
            prop_assert!(nothing, "refused with time left");
            return Ok(());
        };
        let least = [stands, told, Some(maximum)].into_iter().flatten().min().unwrap();
        prop_assert_eq!(deadline.instant() - now, least);
        prop_assert!(least > Duration::ZERO);

        // The next service, which gets the request later and has a maximum of its own.
        let Ok(left) = going_out(now, deadline, margin) else {
            prop_assert!(least.saturating_sub(margin) < Duration::from_millis(1));
            return Ok(());
        };
        let mut fields = if is_grpc { fields(&[("content-type", "application/grpc")]) } else { HeaderMap::new() };
        wire::write(&mut fields, &MILLIS, left);
        let told = wire::read(&fields, &MILLIS).time;
        prop_assert!(told.is_some_and(|told| told <= left && !told.is_zero()));
        let child = coming_in(now + on_the_way, None, told, maximum).unwrap();
        prop_assert!(child.instant() + margin <= deadline.instant() + on_the_way);
    }
}

#[test]
fn a_deadline_that_is_now_has_passed() {
    let now = Instant::now();
    assert_eq!(coming_in(now, Some(Deadline::at(now)), None, SECOND), Err(Passed));
    assert_eq!(coming_in(now, None, Some(Duration::ZERO), SECOND), Err(Passed));
    assert_eq!(going_out(now, Deadline::at(now + SECOND), SECOND), Err(Passed));
    assert_eq!(going_out(now, Deadline::at(now + SECOND), Duration::MAX), Err(Passed));
}

// ===== the service =====

type Events = Arc<Mutex<Vec<Event>>>;

fn watched() -> (Events, impl Fn(&Event) + Send + Sync + 'static) {
    let events = Events::default();
    let observer = Arc::clone(&events);
    (events, move |event: &Event| observer.lock().unwrap().push(*event))
}

/// Answers with the head of the request it gets.
async fn echo(request: Request<()>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let (head, ()) = request.into_parts();
    let mut response = Response::new(Full::default());
    *response.headers_mut() = head.headers;
    if let Some(deadline) = Deadline::of(&head.extensions) {
        response.extensions_mut().insert(deadline);
    }
    Ok(response)
}

async fn come_in(layer: DeadlineLayer, request: Request<()>) -> Response<StatusCode> {
    let response = layer.layer(service_fn(echo)).oneshot(request).await.unwrap();
    let status = response.status();
    response.map(|_| status)
}

fn left(response: &Response<StatusCode>) -> Option<Duration> {
    Deadline::of(response.extensions()).map(Deadline::remaining)
}

fn from(peer: &str, lines: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().extension(PeerAddr(peer.parse().unwrap())).body(()).unwrap();
    *request.headers_mut() = fields(lines);
    request
}

#[tokio::test(start_paused = true)]
async fn by_default_each_request_has_the_maximum_and_nobody_is_believed() {
    let (events, observer) = watched();
    let request = from("10.0.0.1:1", &[("x-request-timeout-ms", "1"), ("grpc-timeout", "1m")]);
    let response = come_in(DeadlineLayer::default().observe(observer), request).await;
    assert_eq!(left(&response), Some(30 * SECOND));
    assert_eq!(*events.lock().unwrap(), [Event::Set(30 * SECOND)]);
}

#[tokio::test(start_paused = true)]
async fn a_trusted_peer_gets_less_if_it_asks_for_less_and_never_more() {
    let layer = DeadlineLayer::new(10 * SECOND).trust(TrustedProxies::new(["10.0.0.0/8"]).unwrap());
    for (peer, asked, granted) in [
        ("10.0.0.1:1", "2000", 2 * SECOND),
        ("10.0.0.1:1", "9999999999", 10 * SECOND),
        ("192.0.2.1:1", "2000", 10 * SECOND),
    ] {
        let response = come_in(layer.clone(), from(peer, &[("x-request-timeout-ms", asked)])).await;
        assert_eq!(left(&response), Some(granted), "{peer} asked for {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_field_can_be_named() {
    let envoy = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
    let layer = DeadlineLayer::new(10 * SECOND).trust_everybody().header(envoy);
    let lines = [("x-envoy-expected-rq-timeout-ms", "2000"), ("x-request-timeout-ms", "1")];
    assert_eq!(left(&come_in(layer, from("10.0.0.1:1", &lines)).await), Some(2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_ignored_and_told() {
    let (events, observer) = watched();
    let layer = DeadlineLayer::new(SECOND).trust_everybody().observe(observer);
    let response = come_in(layer, from("10.0.0.1:1", &[("grpc-timeout", "1 fortnight")])).await;
    assert_eq!((response.status(), left(&response)), (StatusCode::OK, Some(SECOND)));
    assert_eq!(*events.lock().unwrap(), [Event::Malformed, Event::Set(SECOND)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_malformed_is_told_and_the_other_counts() {
    let (events, observer) = watched();
    let layer = DeadlineLayer::new(30 * SECOND).trust_everybody().observe(observer);
    let lines = [("grpc-timeout", "1S"), ("x-request-timeout-ms", "soon")];
    assert_eq!(left(&come_in(layer, from("10.0.0.1:1", &lines)).await), Some(SECOND));
    assert_eq!(*events.lock().unwrap(), [Event::Malformed, Event::Set(SECOND)]);
}

#[tokio::test(start_paused = true)]
async fn what_a_request_was_told_in_stays_at_the_door_whoever_sent_it() {
    let lines = [("x-request-timeout-ms", "2000"), ("x-request-timeout-ms", "?"), ("grpc-timeout", "3S"), ("a", "b")];
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    for layer in
        [DeadlineLayer::default(), DeadlineLayer::default().trust(proxies), DeadlineLayer::default().trust_everybody()]
    {
        for peer in ["10.0.0.1:1", "192.0.2.1:1"] {
            let response = come_in(layer.clone(), from(peer, &lines)).await;
            assert_eq!(*response.headers(), fields(&[("a", "b")]), "{peer} {layer:?}");
        }
    }
    let named = HeaderName::from_static("connect-timeout-ms");
    let layer = DeadlineLayer::default().header(named);
    let response = come_in(layer, from("192.0.2.1:1", &[("connect-timeout-ms", "0")])).await;
    assert!(response.headers().is_empty(), "{response:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_tells_does_not_reach_the_next_service() {
    for (content_type, told) in [("application/grpc", "29995000u"), ("text/plain", "29995")] {
        let stack = ServiceBuilder::new().layer(DeadlineLayer::new(30 * SECOND)).layer(PropagateDeadlineLayer::new());
        let lines = [("content-type", content_type), ("x-request-timeout-ms", "0"), ("grpc-timeout", "0n")];
        let response = stack.service_fn(echo).oneshot(from("192.0.2.1:1", &lines)).await.unwrap();
        let told_in = if content_type == "text/plain" { "x-request-timeout-ms" } else { "grpc-timeout" };
        assert_eq!(*response.headers(), fields(&[("content-type", content_type), (told_in, told)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_from_further_out_stays_if_it_is_earlier() {
    for (stands, granted) in [(SECOND, SECOND), (60 * SECOND, 10 * SECOND)] {
        let mut request = from("10.0.0.1:1", &[]);
        Deadline::after(stands).tighten(request.extensions_mut());
        assert_eq!(left(&come_in(DeadlineLayer::new(10 * SECOND), request).await), Some(granted));
    }
}

#[tokio::test(start_paused = true)]
async fn work_for_which_nobody_waits_is_refused_at_the_door() {
    let (events, observer) = watched();
    let layer = DeadlineLayer::new(10 * SECOND).observe(observer);
    let mut request = from("10.0.0.1:1", &[]);
    Deadline::after(SECOND).tighten(request.extensions_mut());
    crate::shared::Context::of_mut(request.extensions_mut()).id = RequestId::new(HeaderValue::from_static("r-1"));
    advance(2 * SECOND).await; // it stood in a queue further out

    let service = layer.layer(service_fn(|_: Request<()>| async {
        unreachable!("nobody waits for this answer");
        #[allow(unreachable_code, reason = "it has a type")]
        Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::default()))
    }));
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["code"], &body["instance"]), (&"deadline".into(), &"urn:request:r-1".into()));
    assert_eq!(*events.lock().unwrap(), [Event::Refused]);
}

#[tokio::test(start_paused = true)]
async fn a_zero_from_the_wire_is_no_time() {
    let layer = DeadlineLayer::new(SECOND).trust_everybody();
    let grpc = [("grpc-timeout", "0n"), ("content-type", "application/grpc")];
    let mut request = from("10.0.0.1:1", &grpc);
    *request.method_mut() = Method::POST;
    let response = come_in(layer.clone(), request).await;
    assert_eq!((response.status(), &response.headers()["grpc-status"]), (StatusCode::OK, &HeaderValue::from(4)));
    let response = come_in(layer, from("10.0.0.1:1", &[("x-request-timeout-ms", "0")])).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_ones_own_is_marked_all_the_same() {
    let layer = DeadlineLayer::new(Duration::ZERO).on_refusal(|head| {
        let mut response = Response::new(bytes::Bytes::from(head.uri.path().to_owned()));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    let response = come_in(layer, from("10.0.0.1:1", &[])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
}

#[tokio::test(start_paused = true)]
async fn the_next_service_is_told_what_is_left_but_for_the_margin() {
    let (events, observer) = watched();
    let service = PropagateDeadlineLayer::new().observe(observer).layer(service_fn(echo));
    let mut request = Request::new(());
    Deadline::after(SECOND).tighten(request.extensions_mut());
    advance(Duration::from_micros(200_500)).await;
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-request-timeout-ms"], "794");
    assert_eq!(*events.lock().unwrap(), [Event::Told(Duration::from_micros(794_500))]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_deadline_goes_out_as_it_is() {
    let service = PropagateDeadlineLayer::new().layer(service_fn(echo));
    let response = service.oneshot(from("10.0.0.1:1", &[("grpc-timeout", "1S")])).await.unwrap();
    assert_eq!(*response.headers(), fields(&[("grpc-timeout", "1S")]));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_would_come_back_too_late_does_not_go_out() {
    let (events, observer) = watched();
    let layer = PropagateDeadlineLayer::new().margin(Duration::from_millis(50)).observe(observer);
    let mut request = Request::new(());
    Deadline::after(Duration::from_millis(50)).tighten(request.extensions_mut());
    let response = layer.layer(service_fn(echo)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.extensions().get(), Some(&Refusal::new("deadline")));
    assert_eq!(*events.lock().unwrap(), [Event::Refused]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_that_there_is_no_time() {
    let layer = PropagateDeadlineLayer::new();
    for (left, told) in [(SECOND, Some("995")), (Duration::from_millis(6), Some("1")), (Duration::from_millis(5), None)]
    {
        let mut request = from("10.0.0.1:1", &[("x-request-timeout-ms", "0")]);
        Deadline::after(left).tighten(request.extensions_mut());
        let response = layer.layer(service_fn(echo)).oneshot(request).await.unwrap();
        assert_eq!(response.headers().get("x-request-timeout-ms").map(|told| told.to_str().unwrap()), told);
        assert_eq!(response.status() == StatusCode::GATEWAY_TIMEOUT, told.is_none());
    }
}

#[tokio::test]
async fn an_error_of_the_service_passes() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<Full<bytes::Bytes>>, _>("broken") });
    assert_eq!(DeadlineLayer::default().layer(failing).oneshot(Request::new(())).await.unwrap_err(), "broken");
    assert_eq!(PropagateDeadlineLayer::new().layer(failing).oneshot(Request::new(())).await.unwrap_err(), "broken");
}
