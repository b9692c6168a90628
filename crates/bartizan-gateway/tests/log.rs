//! What the access log learns of the services behind.

mod support;

use axum::{
    Router,
    routing::{get, get_service},
};
use bartizan::{
    access_log::{AccessLogLayer, Format},
    cache::{CacheLayer, KeyRules, ResponseCache},
};
use bartizan_gateway::{Aggregate, Proxy, Source, client};
use bytes::Bytes;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use support::{upstream::*, *};
use tokio::{io::AsyncWriteExt, time::sleep};
use tower::Layer;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The line of one request, once its last byte has left.
    async fn one(&self) -> String {
        for _ in 0..500 {
            let text = String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8");
            if text.ends_with('\n') {
                return text;
            }
            sleep(ms(10)).await; // real time: the server is another task
        }
        panic!("nothing was logged");
    }
}

async fn logged(app: Router) -> String {
    let lines = Lines::default();
    let app = app.layer(AccessLogLayer::new().write_to(lines.clone(), Format::Text));
    let addr = service(app).await;
    let mut stream = connect_and_send(addr, "GET /u1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
    rest(&mut stream).await;
    lines.one().await
}

/// A short time for what is meant to be too slow.
fn limit(error_type: &str) -> Duration {
    if error_type == "timeout" { ms(200) } else { PATIENCE }
}

/// Each way to fail, and what the log says of it.
async fn failures() -> [(SocketAddr, &'static str, Option<&'static str>); 5] {
    [
        (dead().await, "connect", Some("UF")),
        (silent().await, "timeout", Some("UT")),
        (resets().await, "connection_reset", Some("UR")),
        (answers("what?\r\n\r\n").await, "protocol", Some("UR")),
        (answers("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[]").await, "body", Some("UR")),
    ]
}

fn assert_says(line: &str, error_type: &str, flag: Option<&str>) {
    assert!(line.contains(&format!("error.type={error_type}")), "{line}");
    match flag {
        Some(flag) => assert!(line.contains(&format!("flags={flag}")), "{line}"),
        None => assert!(!line.contains("flags="), "{line}"),
    }
}

#[tokio::test]
async fn a_proxy_tells_how_the_service_failed() {
    for (addr, error_type, flag) in failures().await {
        let proxy = Proxy::new(client(), &format!("http://{addr}")).unwrap().head_within(limit(error_type));
        assert_says(&logged(Router::new().fallback_service(proxy)).await, error_type, flag);
    }
}

#[tokio::test]
async fn an_upload_that_the_client_breaks_off_is_not_the_services_fault() {
    let upload = Router::new().fallback(|body: Bytes| async move { body });
    let proxy = Proxy::new(client(), &format!("http://{}", service(upload.clone()).await)).unwrap();
    let http2 = orders([http2_service(upload).await]).http2();
    let proxies = [
        Router::new().fallback_service(proxy),
        Router::new().fallback_service(Proxy::new(http2, "http://orders").unwrap()),
    ];
    let uploads = [
        ("content-length: 100\r\n\r\nhello", Some("DC")),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Some("DC")),
        ("transfer-encoding: chunked\r\n\r\nZZ\r\nboo\r\n", None),
    ];
    for (proxy, (sent, flag)) in proxies.iter().flat_map(|proxy| uploads.map(|upload| (proxy, upload))) {
        let lines = Lines::default();
        let log = AccessLogLayer::new().write_to(lines.clone(), Format::Text);
        let addr = service(proxy.clone().layer(log)).await;
        let mut stream = connect_and_send(addr, &format!("POST / HTTP/1.1\r\nhost: h\r\n{sent}")).await;
        // Half a close: what was sent arrives, and so does that no more follows.
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
        let line = lines.one().await;
        assert!(line.contains("status=400"), "{line}");
        assert!(!line.contains("UR") && !line.contains("connection_reset"), "{line}");
        match flag {
            Some(flag) => assert!(line.contains(&format!("flags={flag}")), "{line}"),
            None => assert!(!line.contains("flags="), "{line}"),
        }
    }
}

#[tokio::test]
async fn an_aggregate_tells_how_a_required_source_failed() {
    let broken = (answers("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n").await, "500", None);
    for (addr, error_type, flag) in failures().await.into_iter().chain([broken]) {
        let user = Source::get("user", format!("http://{addr}/{{user}}")).required().within(limit(error_type));
        let aggregate = Aggregate::new(client(), [user]).unwrap();
        let app = Router::new().route("/{user}", get_service(aggregate));
        assert_says(&logged(app).await, error_type, flag);
    }
}

#[tokio::test]
async fn a_partial_answer_is_logged_as_one() {
    let user = Source::get("user", format!("http://{}/{{user}}", dead().await));
    let line = logged(Router::new().route("/{user}", get_service(Aggregate::new(client(), [user]).unwrap()))).await;
    assert!(line.contains("status=200") && line.contains("flags=PA"), "{line}");
    assert!(!line.contains("error.type"), "{line}");
}

#[tokio::test]
async fn what_a_cache_in_front_of_a_service_answers_stale_is_a_flag() {
    let stale = [("cache-control", "max-age=0, stale-while-revalidate=60")];
    let behind = service(Router::new().route("/u1", get(move || async move { (stale, "{}") }))).await;
    let keys = KeyRules::new().without_forwarded_proto();
    let cached = CacheLayer::new(ResponseCache::new(1 << 20)).keys(keys).layer(client());
    let source = Source::get("user", format!("http://{behind}/{{user}}")).required();
    let aggregate = get_service(Aggregate::new(cached.clone(), [source]).expect("a source"));
    let proxy = get_service(Proxy::new(cached, &format!("http://{behind}")).expect("a URL"));
    assert!(!logged(Router::new().route("/{user}", aggregate.clone())).await.contains("SI"));
    for app in [Router::new().route("/{user}", aggregate), Router::new().route("/{user}", proxy)] {
        let line = logged(app).await;
        assert!(line.contains(" flags=SI"), "{line}");
    }
}
