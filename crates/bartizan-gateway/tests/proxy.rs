//! The proxy over real sockets: what passes, what is dropped, and that nothing is held.

mod support;

use axum::{Router, body::Body, extract::Request, middleware::map_request, routing::get_service};
use bartizan::{
    Deadline, TrustedProxies,
    request_id::RequestIdLayer,
    tenant::{self, TenantLayer},
};
use bartizan_gateway::{Client, Forwarding, Proxy, client};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::Limited;
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{
    wire::{Origin, Peer, Said, Then, ok},
    *,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};

fn to(addr: SocketAddr) -> Proxy<Client> {
    Proxy::new(client(), &format!("http://{addr}")).expect("a URL")
}

async fn serving(proxy: Proxy<Client>) -> SocketAddr {
    service(Router::new().fallback_service(proxy)).await
}

async fn through(addr: SocketAddr) -> SocketAddr {
    serving(to(addr)).await
}

/// A service that hands over the head of each request and answers with nothing.
async fn recorder() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (heads, seen) = mpsc::unbounded_channel();
    let addr = raw(move |mut stream| {
        let heads = heads.clone();
        async move {
            let _ = heads.send(head(&mut stream).await);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        }
    })
    .await;
    (addr, seen)
}

/// The head that arrives behind a proxy when this one is sent to it.
async fn arriving(proxy: impl FnOnce(Proxy<Client>) -> Proxy<Client>, sent: &str) -> String {
    let (addr, mut seen) = recorder().await;
    let proxy = serving(proxy(to(addr))).await;
    let sent = format!("{}connection: close\r\n\r\n", sent.replace('\n', "\r\n"));
    rest(&mut connect_and_send(proxy, &sent).await).await;
    seen.recv().await.expect("a head")
}

#[tokio::test]
async fn a_head_passes_without_what_is_meant_for_one_connection() {
    let head = arriving(
        |proxy| proxy,
        "GET /a%2Fb//c?q=1&r=%20 HTTP/1.1\nhost: shop.example\nrange: bytes=0-9\nif-none-match: \"1\"\nkeep-alive: timeout=5\n\
         connection: x-secret\nx-secret: 1\nproxy-connection: close\nte: trailers, gzip\nupgrade: websocket\n\
         x-forwarded-for: 6.6.6.6\nvia: 1.0 fred\n",
    )
    .await;
    assert!(head.starts_with("GET /a%2Fb//c?q=1&r=%20 HTTP/1.1\r\n"), "{head}");
    for there in [
        "range: bytes=0-9",
        "if-none-match: \"1\"",
        "te: trailers",
        "connection: te",
        "via: 1.0 fred",
        "via: 1.1 bartizan",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
        "host: 127.0.0.1:",
    ] {
        assert!(head.contains(there), "{there}: {head}");
    }
    for gone in ["keep-alive", "x-secret", "proxy-connection", "gzip", "upgrade", "6.6.6.6", "transfer-encoding"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
}

#[tokio::test]
async fn host_and_the_word_of_a_trusted_proxy_are_kept_when_told_to() {
    let sent = "GET / HTTP/1.1\nhost: shop.example\nforwarded: for=203.0.113.7\nx-forwarded-for: 6.6.6.6\n";
    let trusted = TrustedProxies::new(["127.0.0.0/8"]).unwrap();
    let head = arriving(|proxy| proxy.keep_host().forwarding(Forwarding::Forwarded).trusted(trusted), sent).await;
    assert!(head.contains("\r\nhost: shop.example\r\n"), "{head}");
    assert!(head.contains("forwarded: for=203.0.113.7, for=127.0.0.1;host=\"shop.example\";proto=http"), "{head}");
    assert!(!head.contains("6.6.6.6"), "{head}");
}

#[tokio::test]
async fn no_client_takes_away_what_is_said_of_it_by_naming_it_in_connection() {
    let trusted = TrustedProxies::new(["127.0.0.1"]).unwrap();
    let sent = "GET / HTTP/1.1\nhost: h\nconnection: x-tenant-id, x-forwarded-for, via, traceparent, x-mine\n\
                x-tenant-id: acme\nx-forwarded-for: 203.0.113.7\nvia: 1.1 front\ntraceparent: t\nx-mine: 1\n";
    let head = arriving(|proxy| proxy.trusted(trusted).keep([HeaderName::from_static("x-tenant-id")]), sent).await;
    for there in ["x-tenant-id: acme", "x-forwarded-for: 203.0.113.7, 127.0.0.1", "via: 1.1 front", "traceparent: t"] {
        assert!(head.contains(there), "{there}: {head}");
    }
    assert!(!head.contains("x-mine"), "{head}");
}

#[tokio::test]
async fn the_scheme_is_said_by_who_serves_and_not_by_the_request_line() {
    let sent = "GET https://shop.example/x HTTP/1.1\nhost: shop.example\n";
    let head = arriving(|proxy| proxy, sent).await;
    assert!(head.contains("x-forwarded-proto: http\r\n"), "{head}");
    let sent = "GET / HTTP/1.1\nhost: shop.example\n";
    let head = arriving(|proxy| proxy.scheme(http::uri::Scheme::HTTPS), sent).await;
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[tokio::test]
async fn the_service_behind_learns_our_request_id_and_no_strangers() {
    let (addr, mut seen) = recorder().await;
    let ids = RequestIdLayer::new().header(HeaderName::from_static("x-correlation-id"));
    let app = service(Router::new().fallback_service(to(addr)).layer(ids)).await;
    let request = "GET / HTTP/1.1\r\nhost: h\r\nx-request-id: stranger\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect_and_send(app, request).await).await;
    let id = answer.lines().find_map(|line| line.strip_prefix("x-correlation-id: ")).expect("an id");
    let head = seen.recv().await.unwrap();
    assert!(head.contains(&format!("x-request-id: {id}\r\n")) && !head.contains("stranger"), "{head}");
}

#[tokio::test]
async fn the_service_behind_learns_the_tenant_that_was_checked() {
    let tenant_id = HeaderName::from_static("x-tenant-id");
    let (addr, mut seen) = recorder().await;
    let tenants = TenantLayer::new(tenant::from_subdomain("example.com")).forward_as(tenant_id.clone());
    let app = service(Router::new().fallback_service(to(addr).keep([tenant_id])).layer(tenants)).await;
    let request = "GET / HTTP/1.1\r\nhost: acme.example.com\r\nx-tenant-id: globex\r\n\
                   connection: close, x-tenant-id\r\n\r\n";
    rest(&mut connect_and_send(app, request).await).await;
    let head = seen.recv().await.unwrap();
    assert!(head.contains("x-tenant-id: acme\r\n") && !head.contains("globex"), "{head}");
}

#[tokio::test]
async fn a_body_in_an_unknown_transfer_coding_goes_no_further() {
    let proxy = through(dead().await).await;
    let request =
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n0\r\n\r\n";
    let answer = rest(&mut connect_and_send(proxy, request).await).await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");

    let gzip = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = get(through(answers(gzip).await).await, "/").await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::BAD_GATEWAY, &serde_json::json!("protocol")));
}

#[tokio::test]
async fn a_body_that_is_malformed_is_a_400() {
    let echo = service(Router::new().fallback(|body: Bytes| async move { body })).await;
    let request =
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nZZ\r\nboo\r\n0\r\n\r\n";
    let answer = rest(&mut connect_and_send(through(echo).await, request).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_question_to_the_server_itself_is_no_path_of_the_service() {
    let request = "OPTIONS * HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect_and_send(through(dead().await).await, request).await).await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
}

#[tokio::test]
async fn the_path_goes_after_that_of_the_service() {
    let (addr, mut seen) = recorder().await;
    let proxy = Proxy::new(client(), &format!("http://{addr}/internal/")).unwrap();
    let app = service(Router::new().nest_service("/reports", proxy.clone()).fallback_service(proxy)).await;
    for (sent, arrives) in [("/reports/a?b", "/internal/a?b"), ("/x", "/internal/x"), ("/", "/internal/")] {
        get(app, sent).await;
        let head = seen.recv().await.unwrap();
        assert!(head.starts_with(&format!("GET {arrives} HTTP/1.1\r\n")), "{head}");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_that_of_the_service() {
    let proxy = Proxy::new(client(), "http://127.0.0.1:1/internal").unwrap();
    let app = service(Router::new().nest_service("/reports", proxy)).await;
    for path in [
        "/reports/../admin",
        "/reports/a/%2e%2E/%2e./admin",
        "/reports/.",
        "/reports/..%2fadmin",
        "/reports/..;/admin",
        "/reports/.%2e;x=1/admin",
        "/reports/..%5cadmin",
        "/reports/..\\admin",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = rest(&mut connect_and_send(app, &request).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_request_with_two_hosts_is_refused() {
    let proxy = serving(to(dead().await).keep_host()).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect_and_send(proxy, request).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_request_with_two_lengths_has_one_behind() {
    let (addr, mut seen) = recorder().await;
    let proxy = through(addr).await;
    let sent = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                5\r\nhello\r\n0\r\n\r\n";
    rest(&mut connect_and_send(proxy, sent).await).await;
    // Refused further out is as good.
    if let Ok(head) = seen.try_recv() {
        assert!(!head.contains("content-length") && head.contains("transfer-encoding: chunked"), "{head}");
    }
}

#[tokio::test]
async fn an_answer_passes_as_it_is() {
    let answer = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/5\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
                  connection: x-secret\r\nx-secret: 1\r\nkeep-alive: timeout=9\r\ncontent-length: 2\r\n\r\nhi";
    let answer = get(through(answers(answer).await).await, "/").await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::PARTIAL_CONTENT, "hi"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(answer.headers["content-range"], "bytes 0-1/5");
    assert_eq!(answer.headers["content-length"], "2");
    assert_eq!(answer.headers["via"], "1.1 bartizan");
    assert!(!answer.headers.contains_key("x-secret") && !answer.headers.contains_key("keep-alive"));
}

#[tokio::test]
async fn what_stands_on_several_lines_stays_so_in_order() {
    let sent = "GET / HTTP/1.1\nhost: h\naccept: a\nx-one: 1\naccept: b, c\nx-one: 2\naccept: d\n";
    let head = arriving(|proxy| proxy, sent).await;
    let lines = |name: &str| head.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>().join("|");
    assert_eq!((lines("accept: "), lines("x-one: ")), ("a|b, c|d".to_owned(), "1|2".to_owned()));

    let answer = "HTTP/1.1 200 Fine\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: old\r\nwarning: b\r\n\
                  set-cookie: b=1\r\nwarning: a\r\nset-cookie: a=2\r\ncontent-length: 0\r\n\r\n";
    let proxy = through(answers(answer).await).await;
    let request = "GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let passed = rest(&mut connect_and_send(proxy, request).await).await;
    for there in [
        "HTTP/1.1 200 Fine\r\n",
        "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "server: old\r\n",
        "set-cookie: b=1\r\nset-cookie: a=2\r\n",
        "warning: b\r\nwarning: a\r\n",
    ] {
        assert!(passed.contains(there), "{there}: {passed}");
    }
    assert_eq!(passed.matches("date: ").count(), 1, "{passed}");
}

#[tokio::test]
async fn the_host_that_is_kept_is_the_targets_before_the_fields() {
    for (sent, host) in [
        ("GET / HTTP/1.1\nhost: shop.example:81\n", "shop.example:81"),
        ("GET http://shop.example/x HTTP/1.1\nhost: other\n", "shop.example"),
    ] {
        let head = arriving(Proxy::keep_host, sent).await;
        assert_eq!(head.matches("host: ").count(), 2, "that, and x-forwarded-host: {head}");
        assert!(head.contains(&format!("\r\nhost: {host}\r\n")), "{head}");
    }
    // Who names none is given the service's own.
    let head = arriving(Proxy::keep_host, "GET / HTTP/1.0\n").await;
    assert!(head.contains("\r\nhost: 127.0.0.1:"), "{head}");
}

#[tokio::test]
async fn head_and_not_modified_have_no_body_and_keep_their_fields() {
    let proxy = through(answers("HTTP/1.1 200 OK\r\ncontent-length: 123\r\n\r\n").await).await;
    let request = http::Request::head(format!("http://{proxy}/")).body(Body::empty()).unwrap();
    let answer = send(request).await;
    assert_eq!((&answer.headers["content-length"], &*answer.body), (&HeaderValue::from_static("123"), ""));

    let proxy = through(answers("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n").await).await;
    let answer = get(proxy, "/").await;
    assert_eq!(
        (answer.status, &answer.headers["etag"]),
        (StatusCode::NOT_MODIFIED, &HeaderValue::from_static("\"1\""))
    );
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways() {
    let echo = Router::new().fallback(|request: Request| async move {
        let body = request.into_body();
        http::Response::builder().header("trailer", "x-sum").body(body).expect("a response")
    });
    let proxy = through(service(echo).await).await;
    let sent = "POST / HTTP/1.1\r\nhost: h\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\
                connection: close, te\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n";
    let answer = rest(&mut connect_and_send(proxy, sent).await).await;
    assert!(answer.contains("5\r\nhello\r\n"), "{answer}");
    assert!(answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_upload_that_waits_for_100_continue_gets_it() {
    let echo = Router::new().fallback(|body: Bytes| async move { body });
    let proxy = through(service(echo).await).await;
    let sent = "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    let mut stream = connect_and_send(proxy, sent).await;
    assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"), "{answer}");
}

/// Waits until a number does not grow any more, and says what it is.
async fn at_rest(number: &AtomicUsize) -> usize {
    let mut before = usize::MAX;
    for _ in 0..100 {
        // Real time, since what is waited for happens in the kernel's buffers.
        sleep(Duration::from_millis(200)).await;
        let now = number.load(Ordering::Relaxed);
        if now == before && now > 0 {
            return now;
        }
        before = now;
    }
    panic!("it never came to rest: {before}");
}

/// What the kernel may hold for two connections, with some to spare; an endless body would be far beyond.
const IN_BUFFERS: usize = 48 * 1024 * 1024;

fn endless(count: Arc<AtomicUsize>) -> Body {
    Body::from_stream(stream::repeat_with(move || {
        count.fetch_add(64 * 1024, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 64 * 1024]))
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_stops_the_service_behind() {
    let produced = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&produced);
    let proxy = through(service(Router::new().fallback(move || async move { endless(count) })).await).await;
    let mut stream = connect_and_send(proxy, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    let held = at_rest(&produced).await;
    assert!(held < IN_BUFFERS, "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_reading_stops_the_upload() {
    let behind = raw(|mut stream| async move {
        head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = through(behind).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let request = http::Request::post(format!("http://{proxy}/")).body(endless(Arc::clone(&sent))).unwrap();
    let upload = tokio::spawn(send(request));
    let held = at_rest(&sent).await;
    assert!(held < IN_BUFFERS, "{held}");
    upload.abort();
}

#[tokio::test]
async fn a_service_that_fails_before_its_head_is_a_502_or_504() {
    let slow = |addr| to(addr).head_within(ms(200));
    for (proxy, status, code) in [
        (to(dead().await), 502, "connect"),
        (to(resets().await), 502, "connection_reset"),
        (to(answers("").await), 502, "connection_reset"),
        (to(answers("220 smtp ready\r\n\r\n").await), 502, "protocol"),
        (slow(silent().await), 504, "timeout"),
    ] {
        let answer = get(serving(proxy).await, "/").await;
        assert_eq!(answer.status.as_u16(), status, "{code}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["code"], code);
        assert!(!answer.body.contains("127.0.0.1"), "nothing internal: {}", answer.body);
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_as_it_is_used_is_a_502_only_for_what_may_have_been_done() {
    for (method, expected) in [("GET", 200), ("POST", 502)] {
        let origin =
            Origin::new(|number, _| if number == 1 { Said::from("").then(Then::Close) } else { ok("", "ok") }).await;
        let mut client = Peer::connect(through(origin.addr).await).await;
        let empty = |method| format!("{method} / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(client.ask(&empty("GET")).await.status, 200);
        sleep(ms(5)).await; // real time: until the connection waits in the pool
        assert_eq!(client.ask(&empty(method)).await.status, expected, "{method}");
        assert_eq!(origin.count(), if expected == 200 { 3 } else { 2 }, "{method}");
    }
}

#[tokio::test]
async fn the_deadline_of_the_request_counts() {
    let app = Router::new().fallback_service(to(silent().await)).layer(map_request(|mut request: Request| async {
        Deadline::after(ms(100)).tighten(request.extensions_mut());
        request
    }));
    let answer = get(service(app).await, "/").await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &serde_json::json!("deadline")));
}

#[tokio::test]
async fn a_body_may_take_longer_than_the_head() {
    let slow_body = raw(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi").await;
        sleep(ms(1000)).await; // real time: twice the limit that must not count
        let _ = stream.write_all(b"ho").await;
    })
    .await;
    assert_eq!(get(serving(to(slow_body).head_within(ms(500))).await, "/").await.body, "hiho");
}

#[tokio::test]
async fn the_time_of_an_upload_does_not_count_as_the_services() {
    let echo = service(Router::new().fallback(|body: Bytes| async move { body })).await;
    let proxy = serving(to(echo).head_within(ms(500))).await;
    let request = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
    let mut stream = connect_and_send(proxy, request).await;
    for byte in b"hello" {
        sleep(ms(150)).await; // real time: all five together are longer than the limit
        stream.write_all(&[*byte]).await.unwrap();
    }
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client() {
    let (arrived, wait) = mpsc::channel::<()>(1);
    let wait = Arc::new(Mutex::new(wait));
    let breaking = raw(move |mut stream| {
        let wait = Arc::clone(&wait);
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
            let _ = wait.lock().await.recv().await;
        }
    })
    .await;
    let mut stream = connect_and_send(through(breaking).await, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    let mut chunk = [0; 10];
    stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"5\r\nhello\r\n");
    drop(arrived);
    let answer = rest(&mut stream).await;
    assert!(!answer.contains("0\r\n\r\n"), "the end must not look like one: {answer}");
}

#[tokio::test]
async fn when_the_client_goes_the_service_behind_learns_of_it() {
    let (events, mut seen) = mpsc::unbounded_channel();
    let behind = raw(move |mut stream| {
        let events = events.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").await;
            let _ = events.send("began");
            let _ = stream.read(&mut [0; 16]).await;
            let _ = events.send("closed");
        }
    })
    .await;
    let proxy = through(behind).await;
    let mut stream = connect_and_send(proxy, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(timeout(PATIENCE, seen.recv()).await.expect("in time"), Some("began"));
    head(&mut stream).await;
    drop(stream);
    assert_eq!(timeout(PATIENCE, seen.recv()).await.expect("in time"), Some("closed"));
}

#[tokio::test]
async fn an_upload_over_a_limit_further_out_is_a_413() {
    let echo = Router::new().fallback(|body: Bytes| async move { body });
    let http2 = upstream::orders([upstream::http2_service(echo.clone()).await]).http2();
    let proxies = [
        Router::new().fallback_service(to(service(echo).await)),
        Router::new().fallback_service(Proxy::new(http2, "http://orders").unwrap()),
    ];
    for proxy in proxies {
        let limited = map_request(|request: Request| async { request.map(|body| Body::new(Limited::new(body, 10))) });
        let app = service(proxy.layer(limited)).await;
        // In one piece, so that nothing is left unread when the server closes.
        let request = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 14\r\nconnection: close\r\n\r\n1234567890more";
        let answer = rest(&mut connect_and_send(app, request).await).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn connect_is_refused_and_a_switch_of_protocols_is_a_502() {
    let proxy = through(dead().await).await;
    let request = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect_and_send(proxy, request).await).await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");

    let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    assert_eq!(get(through(answers(switching).await).await, "/").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn every_method_passes() {
    let methods = Router::new().fallback(|request: Request| async move { request.method().to_string() });
    let proxy = through(service(methods).await).await;
    for method in [Method::DELETE, Method::PATCH, Method::PUT, Method::OPTIONS, Method::from_bytes(b"PURGE").unwrap()] {
        let request = http::Request::builder().method(&method).uri(format!("http://{proxy}/"));
        assert_eq!(send(request.body(Body::empty()).unwrap()).await.body, method.as_str());
    }
}

#[tokio::test]
async fn a_route_of_an_axum_router_may_be_a_proxy() {
    let users = Router::new().fallback(|request: Request| async move { request.uri().to_string() });
    let app = Router::new().route("/users/{id}", get_service(to(service(users).await)));
    assert_eq!(get(service(app).await, "/users/u1?x=1").await.body, "/users/u1?x=1");
}

#[test]
fn a_url_that_cannot_be_used_says_why() {
    for (url, why) in [
        ("127.0.0.1:80", "does not begin with http"),
        ("/users", "does not begin with http"),
        ("ftp://h/", "does not begin with http"),
        ("http://h/?a=b", "query"),
        ("http://me:x@h/", "user name"),
        ("http://h/ x", "not a valid URL"),
    ] {
        let error = Proxy::new(client(), url).expect_err(url).to_string();
        assert!(error.contains(why) && error.contains(url), "{error}");
    }
}
