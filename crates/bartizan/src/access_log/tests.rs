use super::{AccessLogLayer, Class, Event, Format, Level, Names};
use crate::shared::{Context, Flag, Notes, PeerAddr, Refusal, RequestId, TrustedProxies};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::VecDeque,
    convert::Infallible,
    future::Ready,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};
use tower::{Service, ServiceExt, service_fn};
use tower_layer::Layer;

/// A writer whose lines can be read.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("UTF-8")
    }

    fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn only(&self) -> Value {
        let mut lines = self.json();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

/// A body of these frames, that knows neither its length nor that it has come to its end.
struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Frames {
    fn data(frames: &[&'static str]) -> Self {
        Self(frames.iter().map(|data| Ok(Frame::data(Bytes::from_static(data.as_bytes())))).collect())
    }

    fn and(mut self, frame: Result<Frame<Bytes>, &'static str>) -> Self {
        self.0.push_back(frame);
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

fn to_json(lines: &Lines) -> AccessLogLayer {
    AccessLogLayer::new().write_to(lines.clone(), Format::Json)
}

fn request() -> Request<()> {
    Request::builder()
        .uri("/orders/42?expand=items&token=secret")
        .header("user-agent", "curl/8")
        .header("content-length", "12")
        .extension(PeerAddr("198.51.100.7:4711".parse().unwrap()))
        .body(())
        .unwrap()
}

/// Sends a request through the layer and reads the whole response.
async fn send<B>(layer: AccessLogLayer, request: Request<()>, response: Response<B>)
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let response = Arc::new(Mutex::new(Some(response)));
    let inner = service_fn(move |_: Request<()>| {
        let response = response.lock().unwrap().take().expect("one call");
        async move { Ok::<_, Infallible>(response) }
    });
    let body = layer.layer(inner).oneshot(request).await.unwrap().into_body();
    let _ = body.collect().await;
}

fn status(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from("0123456789")).unwrap()
}

// ===== what a line says =====

#[tokio::test(start_paused = true)]
async fn a_line_tells_everything_that_is_known() {
    let lines = Lines::default();
    let layer = to_json(&lines)
        .service("shop")
        .user_by(|head| head.headers.get("x-user")?.to_str().ok().map(Cow::Borrowed))
        .route_by(|_| Some("/orders/{id}".into()));
    let inner = service_fn(|request: Request<()>| async move {
        tokio::time::sleep(Duration::from_micros(12_345)).await;
        Notes::of(request.extensions()).expect("somebody reads").tenant("acme");
        Ok::<_, Infallible>(status(200))
    });
    let mut request = request();
    request.headers_mut().insert("x-user", HeaderValue::from_static("ann"));
    Context::of_mut(request.extensions_mut()).id = RequestId::new(HeaderValue::from_static("id-1"));
    let body = layer.layer(inner).oneshot(request).await.unwrap().into_body();
    tokio::time::sleep(Duration::from_millis(7)).await;
    assert_eq!(lines.text(), "", "the body has not been sent");
    body.collect().await.unwrap();

    let mut line = lines.only();
    let ts = line.as_object_mut().unwrap().remove("ts").unwrap();
    assert!(ts.as_str().unwrap().ends_with('Z'), "{ts}");
    assert_eq!(ts.as_str().unwrap().len(), 24);
    // Tokio's timer counts whole milliseconds, rounded up.
    assert_eq!(
        line,
        serde_json::json!({
            "level": "INFO", "service": "shop", "request_id": "id-1", "tenant_id": "acme", "user_id": "ann",
            "client.address": "198.51.100.7", "method": "GET", "route": "/orders/{id}", "path": "/orders/42",
            "query": "expand=items&token=REDACTED", "protocol": "HTTP/1.1", "status": 200, "bytes_in": 12,
            "bytes_out": 10, "duration_ms": line["duration_ms"], "ttfb_ms": line["ttfb_ms"], "user_agent": "curl/8",
        })
    );
    let (duration, first_byte) = (line["duration_ms"].as_f64().unwrap(), line["ttfb_ms"].as_f64().unwrap());
    assert!((12.3..=14.0).contains(&first_byte), "{first_byte}");
    assert!((19.3..=22.0).contains(&duration), "{duration}");
}

#[tokio::test]
async fn names_can_be_in_camel_case() {
    let lines = Lines::default();
    let mut request = request();
    Context::of_mut(request.extensions_mut()).id = RequestId::new(HeaderValue::from_static("id-1"));
    send(to_json(&lines).names(Names::Camel), request, status(500)).await;
    let line = lines.only();
    for name in ["requestId", "clientAddress", "bytesIn", "bytesOut", "durationMs", "ttfbMs", "userAgent", "errorType"]
    {
        assert!(line.get(name).is_some(), "{name}: {line}");
    }
    assert!(line.as_object().unwrap().keys().all(|name| !name.contains(['_', '.'])), "{line}");
}

#[tokio::test]
async fn text_and_combined_read_as_their_tools_expect() {
    let lines = Lines::default();
    send(AccessLogLayer::new().write_to(lines.clone(), Format::Text), request(), status(200)).await;
    let text = lines.text();
    let (before, after) = text.split_once(" duration_ms=").unwrap();
    assert_eq!(
        before.split_once(' ').unwrap().1,
        "level=INFO client.address=198.51.100.7 method=GET path=/orders/42 query=\"expand=items&token=REDACTED\" \
         protocol=HTTP/1.1 status=200 bytes_in=12 bytes_out=10"
    );
    assert!(after.ends_with(" user_agent=curl/8\n"), "{after}");

    let lines = Lines::default();
    let mut request = request();
    request.headers_mut().insert("referer", HeaderValue::from_static("https://a.example/?code=1"));
    let layer = AccessLogLayer::new().write_to(lines.clone(), Format::Combined).user_by(|_| Some("ann b".into()));
    send(layer, request, status(204)).await;
    let text = lines.text();
    let (before, rest) = text.split_once('[').unwrap();
    let (date, after) = rest.split_once(']').unwrap();
    assert_eq!(before, "198.51.100.7 - ann\\x20b ");
    assert_eq!(date.len(), "20/Nov/2026:12:42:20 +0000".len());
    assert_eq!(
        after,
        " \"GET /orders/42?expand=items&token=REDACTED HTTP/1.1\" 204 10 \"https://a.example/?code=REDACTED\" \"curl/8\"\n"
    );
}

#[tokio::test]
async fn a_connect_asks_for_a_host_and_not_for_a_path() {
    for (format, part) in [
        (Format::Combined, "\"CONNECT example.com:443 HTTP/1.1\" 404"),
        (Format::Text, " path=example.com:443 "),
        (Format::Json, "\"path\":\"example.com:443\""),
    ] {
        for target in ["example.com:443", "me:secret@example.com:443"] {
            let lines = Lines::default();
            let connect = Request::connect(target).body(()).unwrap();
            send(AccessLogLayer::new().write_to(lines.clone(), format), connect, status(404)).await;
            assert!(lines.text().contains(part), "{}", lines.text());
        }
    }
}

#[tokio::test]
async fn notes_go_before_functions_and_the_query_can_be_left_out() {
    let lines = Lines::default();
    let inner = service_fn(|request: Request<()>| async move {
        let notes = Notes::of(request.extensions()).expect("somebody reads");
        notes.user("noted");
        notes.route("/noted");
        notes.error_type("upstream");
        notes.flag(Flag::StaleServed);
        notes.flag(Flag::UpstreamTimeout);
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = to_json(&lines)
        .user_by(|_| Some("found".into()))
        .route_by(|_| Some("/found".into()))
        .without_query()
        .sample(0.0);
    layer.layer(inner).oneshot(request()).await.unwrap();
    let line = lines.only();
    assert_eq!((&line["user_id"], &line["route"]), (&"noted".into(), &"/noted".into()));
    assert_eq!((&line["error.type"], &line["flags"]), (&"upstream".into(), &"UT,SI".into()));
    assert_eq!(line.get("query"), None);
}

#[tokio::test]
async fn the_client_is_found_behind_trusted_proxies() {
    let lines = Lines::default();
    let mut request = request();
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
    let proxies = TrustedProxies::new(["198.51.100.0/24"]).unwrap();
    send(to_json(&lines).client_by(proxies), request, status(200)).await;
    assert_eq!(lines.only()["client.address"], "203.0.113.9");
}

#[tokio::test]
async fn a_user_agent_is_cut_at_256_bytes_between_two_characters() {
    for (given, expected) in [
        ("a".repeat(300).into_bytes(), "a".repeat(256)),
        ("é".repeat(200).into_bytes(), "é".repeat(128)),
        (format!("a{}", "é".repeat(200)).into_bytes(), format!("a{}", "é".repeat(127))),
        (b"caf\xe9 \xff!".to_vec(), "caf\u{fffd} \u{fffd}!".to_owned()),
        (vec![0xff; 300], "\u{fffd}".repeat(85)),
    ] {
        let lines = Lines::default();
        let mut request = request();
        request.headers_mut().insert("user-agent", HeaderValue::from_bytes(&given).unwrap());
        send(to_json(&lines), request, status(200)).await;
        assert_eq!(lines.only()["user_agent"], *expected);
    }
}

#[tokio::test]
async fn a_request_is_never_told_what_another_was_noted() {
    let lines = Lines::default();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let kept = Arc::clone(&kept);
        service_fn(move |request: Request<()>| {
            kept.lock().unwrap().push(Notes::of(request.extensions()).unwrap().clone());
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        })
    };
    let service = to_json(&lines).layer(inner);
    for _ in 0..3 {
        service.clone().oneshot(request()).await.unwrap();
        for notes in &*kept.lock().unwrap() {
            notes.tenant("written too late");
        }
    }
    assert!(lines.json().iter().all(|line| line.get("tenant_id").is_none()), "{}", lines.text());
}

// ===== when a line is written =====

#[tokio::test]
async fn trailers_pass_and_the_line_is_written_at_the_end() {
    let lines = Lines::default();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let body = Frames::data(&["abc", "de"]).and(Ok(Frame::trailers(trailers.clone())));
    let body = Mutex::new(Some(body));
    let inner = service_fn(|_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(body.lock().unwrap().take().expect("one call"))))
    });
    let response = to_json(&lines).layer(inner).oneshot(request()).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(lines.only()["bytes_out"], 5);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_logged_with_status_0() {
    let lines = Lines::default();
    let service = to_json(&lines).layer(service_fn(|request: Request<()>| async move {
        Notes::of(request.extensions()).unwrap().tenant("acme");
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    }));
    let mut future = task(service.oneshot(request()));
    assert!(future.poll_once().is_pending());
    assert_eq!(lines.text(), "");
    drop(future);
    let line = lines.only();
    assert_eq!((&line["status"], &line["flags"]), (&0.into(), &"DC".into()));
    assert_eq!((&line["level"], line.get("error.type"), line.get("ttfb_ms")), (&"WARN".into(), None, None));
    assert_eq!(line["tenant_id"], "acme", "what was noted before the client left");
}

#[tokio::test]
async fn a_client_that_leaves_amid_the_body_is_logged_with_what_was_sent() {
    let lines = Lines::default();
    let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Frames::data(&["abc", "de"]))) });
    let mut body = to_json(&lines).layer(inner).oneshot(request()).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let line = lines.only();
    assert_eq!((&line["status"], &line["bytes_out"], &line["flags"]), (&200.into(), &3.into(), &"DC".into()));
}

#[tokio::test]
async fn a_body_that_no_server_sends_is_complete_without_being_read() {
    let switched =
        [(Method::GET, 101), (Method::CONNECT, 200), (Method::HEAD, 200), (Method::GET, 204), (Method::GET, 304)];
    for (method, status) in switched {
        let lines = Lines::default();
        let inner = service_fn(move |_: Request<()>| async move {
            Ok::<_, Infallible>(Response::builder().status(status).body(Frames::data(&["abc"])).unwrap())
        });
        let mut request = request();
        *request.method_mut() = method.clone();
        drop(to_json(&lines).layer(inner).oneshot(request).await.unwrap());
        let line = lines.only();
        assert_eq!((line.get("flags"), &line["level"]), (None, &"INFO".into()), "{method} {status}: {line}");
        assert_eq!(line["bytes_out"], 0);
    }
}

#[tokio::test]
async fn a_server_that_stops_at_the_announced_length_has_sent_all() {
    for (announced, flags) in [("3", Value::Null), ("5", "DC".into())] {
        let lines = Lines::default();
        let inner = service_fn(move |_: Request<()>| async move {
            let response = Response::builder().header("content-length", announced);
            Ok::<_, Infallible>(response.body(Frames::data(&["abc", "de"])).unwrap())
        });
        let mut body = to_json(&lines).layer(inner).oneshot(request()).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!(lines.only()["flags"], flags);
    }
}

#[tokio::test]
async fn what_breaks_is_logged_as_an_error() {
    let lines = Lines::default();
    send(to_json(&lines), request(), Response::new(Frames::data(&["abc"]).and(Err("broken")))).await;
    let line = lines.only();
    assert_eq!((&line["level"], &line["error.type"], &line["status"]), (&"ERROR".into(), &"body".into(), &200.into()));

    let lines = Lines::default();
    let failing = service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>("broken") });
    assert_eq!(to_json(&lines).layer(failing).oneshot(request()).await.err(), Some("broken"));
    let line = lines.only();
    assert_eq!((&line["level"], &line["error.type"], &line["status"]), (&"ERROR".into(), &"_OTHER".into(), &0.into()));
}

#[tokio::test]
async fn a_panic_is_no_client_that_left_and_a_caught_one_is_a_500() {
    async fn panics(_: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
        panic!("as this test wants it")
    }
    let lines = Lines::default();
    let service = to_json(&lines).layer(service_fn(panics));
    let spawned = tokio::spawn(async move { service.oneshot(request()).await.map(drop) });
    assert!(spawned.await.unwrap_err().is_panic());
    let line = lines.only();
    assert_eq!((&line["status"], &line["error.type"], line.get("flags")), (&0.into(), &"panic".into(), None));

    let lines = Lines::default();
    let service =
        to_json(&lines).layer(service_fn(|_: Request<()>| -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
            panic!("as this test wants it, before there is a future")
        }));
    let spawned = tokio::spawn(async move { service.oneshot(request()).await.map(drop) });
    assert!(spawned.await.unwrap_err().is_panic());
    assert_eq!(lines.only()["error.type"], "panic");

    let lines = Lines::default();
    let caught = tower_http::catch_panic::CatchPanicLayer::new().layer(service_fn(panics));
    let body = to_json(&lines).layer(caught).oneshot(request()).await.unwrap().into_body();
    body.collect().await.unwrap();
    let line = lines.only();
    assert_eq!((&line["status"], &line["error.type"]), (&500.into(), &"500".into()));
}

// ===== flags, levels, sample =====

#[tokio::test]
async fn a_refusal_tells_why() {
    for (error_type, flags) in [("rate_limited", Value::from("RL")), ("tenant_missing", Value::Null)] {
        let lines = Lines::default();
        let mut response = status(429);
        response.extensions_mut().insert(Refusal::new(error_type));
        send(to_json(&lines), request(), response).await;
        let line = lines.only();
        assert_eq!((&line["error.type"], &line["flags"]), (&error_type.into(), &flags));
    }
}

#[tokio::test]
async fn only_a_404_without_a_route_that_was_looked_for_has_no_route() {
    for (code, route, flags) in [(404, None, "NR"), (404, Some("/orders/{id}"), ""), (200, None, "")] {
        let lines = Lines::default();
        send(to_json(&lines).route_by(move |_| route.map(Cow::Borrowed)), request(), status(code)).await;
        assert_eq!(lines.only()["flags"].as_str().unwrap_or_default(), flags, "{code} {route:?}");
    }
    let lines = Lines::default();
    send(to_json(&lines), request(), status(404)).await;
    assert_eq!(lines.only().get("flags"), None);
}

#[tokio::test]
async fn the_level_follows_the_class_of_the_status() {
    let set = |layer: AccessLogLayer| layer.level(Class::ClientError, Level::Info).level(Class::Success, Level::Debug);
    for (code, by_default, as_set) in [
        (200, "INFO", "DEBUG"),
        (304, "INFO", "DEBUG"),
        (404, "WARN", "INFO"),
        (499, "WARN", "INFO"),
        (500, "ERROR", "ERROR"),
        (599, "ERROR", "ERROR"),
    ] {
        let (first, second) = (Lines::default(), Lines::default());
        send(to_json(&first), request(), status(code)).await;
        send(set(to_json(&second)), request(), status(code)).await;
        assert_eq!((&first.only()["level"], &second.only()["level"]), (&by_default.into(), &as_set.into()), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sample_leaves_out_what_is_ordinary_and_nothing_else() {
    let lines = Lines::default();
    let left_out = Arc::new(Mutex::new(0));
    let layer = to_json(&lines).sample(0.0).slow_after(Duration::from_millis(200)).observe({
        let left_out = Arc::clone(&left_out);
        move |event| *left_out.lock().unwrap() += i32::from(matches!(event, Event::LeftOut))
    });
    for code in [200, 204, 301, 304] {
        send(layer.clone(), request(), status(code)).await;
    }
    assert_eq!((lines.text().as_str(), *left_out.lock().unwrap()), ("", 4));
    for code in [400, 404, 429, 499, 500, 503] {
        send(layer.clone(), request(), status(code)).await;
    }
    assert_eq!(lines.json().len(), 6);
    let slow = service_fn(|_: Request<()>| async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    layer.layer(slow).oneshot(request()).await.unwrap();
    let gone = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Frames::data(&["a", "b"]))) });
    drop(layer.layer(gone).oneshot(request()).await.unwrap());
    assert_eq!(lines.json().len(), 8);
}

#[tokio::test]
async fn a_writer_that_fails_loses_the_line_and_not_the_request() {
    struct Full507;
    impl io::Write for Full507 {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("disk full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lost = Arc::new(Mutex::new(Vec::new()));
    let layer = AccessLogLayer::new().write_to(Full507, Format::Json).observe({
        let lost = Arc::clone(&lost);
        move |event| match event {
            Event::Lost(error) => lost.lock().unwrap().push(error.to_string()),
            other => panic!("{other:?}"),
        }
    });
    send(layer, request(), status(200)).await;
    assert_eq!(*lost.lock().unwrap(), ["disk full"]);
}

// ===== tracing =====

fn subscriber(lines: &Lines, level: tracing::Level) -> impl tracing::Subscriber + Send + Sync + use<> {
    let lines = lines.clone();
    tracing_subscriber::fmt().json().with_max_level(level).with_writer(move || lines.clone()).finish()
}

#[tokio::test]
async fn without_a_writer_a_line_is_one_event() {
    for (names, id, duration) in
        [(Names::Snake, "request_id", "duration_ms"), (Names::Camel, "requestId", "durationMs")]
    {
        let lines = Lines::default();
        let guard = tracing::subscriber::set_default(subscriber(&lines, tracing::Level::INFO));
        let mut request = request();
        Context::of_mut(request.extensions_mut()).id = RequestId::new(HeaderValue::from_static("id-1"));
        send(AccessLogLayer::new().service("shop").names(names), request, status(503)).await;
        drop(guard);
        let line = lines.only();
        assert_eq!((&line["target"], &line["level"]), (&"bartizan::access".into(), &"ERROR".into()));
        let fields = &line["fields"];
        assert_eq!((&fields[id], &fields["service"], &fields["status"]), (&"id-1".into(), &"shop".into(), &503.into()));
        assert_eq!(fields["query"], "expand=items&token=REDACTED");
        assert!(fields[duration].is_number(), "{line}");
        assert_eq!(fields.get("route"), None);
    }
}

#[tokio::test]
async fn an_event_below_the_subscribers_level_is_not_told() {
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(subscriber(&lines, tracing::Level::WARN));
    send(AccessLogLayer::new(), request(), status(200)).await;
    send(AccessLogLayer::new(), request(), status(404)).await;
    drop(guard);
    assert_eq!(lines.only()["level"], "WARN");
}

#[tokio::test]
async fn when_nobody_listens_nothing_is_noted() {
    let _nobody = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
    let inner = service_fn(|request: Request<()>| async move {
        assert!(Context::of(request.extensions()).is_none());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    AccessLogLayer::new().layer(inner).oneshot(request()).await.unwrap();
}

#[tokio::test]
async fn in_a_span_what_the_service_logs_carries_the_id_and_the_tenant() {
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(subscriber(&lines, tracing::Level::INFO));
    let inner = service_fn(|_: Request<()>| async {
        tokio::task::yield_now().await;
        tracing::Span::current().record("tenant_id", "acme");
        tracing::info!("from the handler");
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let mut request = request();
    Context::of_mut(request.extensions_mut()).id = RequestId::new(HeaderValue::from_static("id-1"));
    AccessLogLayer::new().write_to(io::sink(), Format::Json).in_span().layer(inner).oneshot(request).await.unwrap();
    drop(guard);
    let span = &lines.only()["span"];
    assert_eq!((&span["request_id"], &span["tenant_id"]), (&"id-1".into(), &"acme".into()));
}

// ===== nothing breaks out of its field =====

/// What strangers can choose: path, query, user agent, referer; and, if a layer is careless, tenant, user and route.
#[derive(Clone, Debug)]
struct Nasty {
    target: String,
    user_agent: Vec<u8>,
    referer: Vec<u8>,
    noted: String,
}

fn nasty() -> impl Strategy<Value = Nasty> {
    let piece = prop_oneof![
        Just("\""),
        Just("\\"),
        Just("\r\n"),
        Just("\n"),
        Just("\u{1b}[31m"),
        Just("\u{202e}"),
        Just("\u{e0041}"),
        Just("a\u{fe0f}\u{e0100}\u{34f}"),
        Just("\u{2028}"),
        Just("\u{0}"),
        Just("\u{7f}"),
        Just("\u{85}"),
        Just("\u{9b}31m"),
        Just(" "),
        Just("="),
        Just("a=1 level=ERROR"),
        Just("\",\"status\":200,\"x\":\""),
        Just("] \"GET / HTTP/1.1\" 200"),
        Just("\u{feff}"),
        Just("\u{200b}"),
        Just("é漢"),
        Just("%0a"),
        Just("${jndi:ldap://x}"),
        Just("\t"),
    ];
    let text = || prop::collection::vec(piece.clone(), 0..6).prop_map(|pieces| pieces.concat());
    let field = prop_oneof![
        prop::collection::vec(prop_oneof![Just(b'\t'), 32u8..127, 128u8..=255], 0..300),
        text().prop_map(|text| text.into_bytes().into_iter().filter(|b| *b >= 32 && *b != 127).collect()),
    ];
    ("/[!\"$-;=@-_a-z{|}~\u{80}-\u{2fff}]{0,30}(\\?[!-\"$-~\u{80}-\u{2fff}]{0,30})?", field.clone(), field, text())
        .prop_map(|(target, user_agent, referer, noted)| Nasty { target, user_agent, referer, noted })
}

fn log_nasty(nasty: &Nasty, format: Format) -> Option<(Lines, Request<()>)> {
    let request = || {
        let mut request = Request::builder().uri(nasty.target.as_bytes()).body(()).ok()?;
        request.headers_mut().insert("user-agent", HeaderValue::from_bytes(&nasty.user_agent).ok()?);
        request.headers_mut().insert("referer", HeaderValue::from_bytes(&nasty.referer).ok()?);
        Some(request)
    };
    let lines = Lines::default();
    let layer = AccessLogLayer::new().write_to(lines.clone(), format).service(nasty.noted.as_str());
    let noted = nasty.noted.clone();
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        let notes = Notes::of(request.extensions()).unwrap();
        notes.tenant(noted.as_str());
        notes.user(noted.as_str());
        notes.route(noted.as_str());
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    }));
    let mut future = task(service.call(request()?));
    assert!(future.poll_once().is_ready());
    Some((lines, request()?))
}

/// One line, of printable characters, in which nothing turns the reading direction.
fn assert_is_one_harmless_line(text: &str) {
    let line = text.strip_suffix('\n').expect("a newline at the end");
    let harmful = |c: char| {
        c.is_control() || "\u{34f}\u{61c}\u{200b}\u{fe0f}\u{e0100}\u{202e}\u{2028}\u{2066}\u{feff}\u{e0041}".contains(c)
    };
    assert!(!line.contains(harmful), "{line:?}");
}

/// The text outside of quotes, where a backslash escapes.
fn outside_of_quotes(line: &str) -> String {
    let (mut outside, mut quoted, mut chars) = (String::new(), false, line.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => drop(chars.next().expect("an escaped character")),
            '"' => {
                quoted = !quoted;
                outside.push('"');
            }
            c if !quoted => outside.push(c),
            _ => {}
        }
    }
    assert!(!quoted, "an open quote: {line:?}");
    outside
}

proptest! {
    #[test]
    fn json_reads_back_as_what_was_sent(nasty in nasty()) {
        let Some((lines, request)) = log_nasty(&nasty, Format::Json) else { return Ok(()) };
        assert_is_one_harmless_line(&lines.text());
        let line = lines.only();
        prop_assert_eq!(line["path"].as_str().unwrap(), request.uri().path());
        for name in ["service", "tenant_id", "user_id", "route"] {
            prop_assert_eq!(line[name].as_str().unwrap(), &nasty.noted);
        }
        prop_assert_eq!(line["status"].as_u64(), Some(200));
        prop_assert!(line["user_agent"].as_str().is_none_or(|agent| agent.len() <= 256));
    }

    #[test]
    fn text_has_its_pairs_and_no_others(nasty in nasty()) {
        let Some((lines, _)) = log_nasty(&nasty, Format::Text) else { return Ok(()) };
        let text = lines.text();
        assert_is_one_harmless_line(&text);
        let outside = outside_of_quotes(&text);
        let names: Vec<_> = outside.split_whitespace().map(|pair| pair.split_once('=').expect("a pair").0).collect();
        let known = ["ts", "level", "service", "tenant_id", "user_id", "method", "route", "path", "query", "protocol",
            "status", "bytes_out", "duration_ms", "ttfb_ms", "user_agent"];
        let expected: Vec<_> = known.into_iter().filter(|name| names.contains(name)).collect();
        prop_assert_eq!(&names, &expected, "{}", text);
        prop_assert!(names.len() >= 12, "{}", text);
    }

    #[test]
    fn combined_has_its_nine_parts_in_ascii(nasty in nasty()) {
        let Some((lines, _)) = log_nasty(&nasty, Format::Combined) else { return Ok(()) };
        let text = lines.text();
        assert_is_one_harmless_line(&text);
        prop_assert!(text.is_ascii());
        let outside = outside_of_quotes(&text);
        let (before, after) = outside.split_once('[').unwrap();
        let (_, after) = after.split_once(']').unwrap();
        prop_assert_eq!(before.split(' ').count(), 4, "{}", text);
        prop_assert_eq!(after, " \"\" 200 - \"\" \"\"\n");
    }
}

#[test]
fn nothing_breaks_out_of_an_event_either_whatever_prints_it() {
    let nasty = "a\"\n\u{1b}[31m\u{202e}\u{9b}\u{2028}\u{7f}";
    for is_json in [false, true] {
        let lines = Lines::default();
        let printed = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || printed.clone());
        let subscriber: tracing::Dispatch = match is_json {
            false => subscriber.finish().into(),
            true => subscriber.json().finish().into(),
        };
        tracing::dispatcher::with_default(&subscriber, || {
            let layer =
                AccessLogLayer::new().user_by(move |_| Some(nasty.into())).route_by(move |_| Some(nasty.into()));
            let mut service = layer.layer(service_fn(move |request: Request<()>| {
                Notes::of(request.extensions()).unwrap().tenant(nasty);
                std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
            }));
            let mut request = request();
            *request.uri_mut() = "/caf\u{e9}\u{202e}\u{9b}31m?q=\u{2028}".parse().expect("a URI of UTF-8");
            let agent = HeaderValue::from_bytes("\u{202e}\u{9b}31m \u{e9}".as_bytes()).expect("obs-text");
            request.headers_mut().insert("user-agent", agent);
            assert!(task(service.call(request)).poll_once().is_ready());
        });
        let text = lines.text();
        assert_is_one_harmless_line(&text);
        assert!(text.contains("caf\u{e9}") && text.contains("202e"), "{text}");
        assert!(!is_json || serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}

// ===== helpers =====

/// A future that is polled by hand.
struct Task<F>(Pin<Box<F>>);

fn task<F: Future>(future: F) -> Task<F> {
    Task(Box::pin(future))
}

impl<F: Future> Task<F> {
    fn poll_once(&mut self) -> Poll<F::Output> {
        self.0.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
