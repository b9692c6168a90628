//! Upstreams over real sockets: where a call goes, what it meets there, and what becomes of it.

mod support;

use axum::{Router, body::Body, extract::Request as Incoming};
use bartizan::{
    bridge::hyper_util::HyperErrors,
    retry::{Classify, Failure},
};
use bartizan_gateway::{Attempts, Cause, SendError, Upstream, Upstreams};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioIo};
use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};
use support::{upstream::*, *};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Mutex,
    time::{sleep, timeout},
};
use tower::ServiceExt;

// ===== where a call goes =====

#[tokio::test]
async fn a_request_keeps_its_path_and_query_and_is_for_the_endpoint() {
    let addr = service(Router::new().fallback(async |request: Incoming| {
        let host = request.headers()["host"].to_str().unwrap_or_default().to_owned();
        format!("{} {host}", request.uri())
    }))
    .await;
    let orders = orders([addr]);
    for uri in ["http://orders/a%2Fb?q=1", "https://shop.example:81/a%2Fb?q=1", "/a%2Fb?q=1"] {
        let answer = ask(&orders, Request::get(uri).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body, format!("/a%2Fb?q=1 {addr}"), "{uri}");
    }
    let named = Request::get("/").header("host", "shop.example").version(Version::HTTP_2).body(Body::empty()).unwrap();
    assert_eq!(ask(&orders, named).await.body, "/ shop.example", "a host that the caller names stays");
}

#[tokio::test]
async fn http2_is_spoken_without_asking_when_told_to() {
    let app = Router::new().fallback(async |request: Incoming| format!("{:?} {}", request.version(), request.uri()));
    let addr = http2_service(app).await;
    let answer = call(&orders([addr]).http2(), request("/a?q")).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("HTTP/2.0 http://{addr}/a?q"));
}

#[tokio::test]
async fn a_set_sends_each_request_to_the_upstream_that_it_names() {
    let ((a, _), (b, _)) = (named("a").await, named("b").await);
    let of = |name: &str, addr| Upstream::new(name, [format!("http://{addr}")]).unwrap();
    let upstreams = Upstreams::new([of("users", a), of("orders", b)]).unwrap();
    let ask = async |url: &str| {
        let request = Request::get(url).body(Body::empty()).unwrap();
        upstreams.clone().oneshot(request).await
    };
    for (url, name) in [("http://users/x", "a"), ("http://orders/x", "b"), ("http://ORDERS:80/x", "b")] {
        assert_eq!(ask(url).await.unwrap().headers()["x-endpoint"], name);
    }
    let error = ask("http://nobody/x").await.unwrap_err();
    assert_eq!(error.to_string(), "no upstream has the name \"nobody\"");
    assert!(Upstreams::new([of("users", a), of("users", b)]).unwrap_err().to_string().contains("same name"));
}

#[test]
fn endpoints_that_cannot_be_used_are_named() {
    let error = |name: &str, endpoints: &[&str]| Upstream::new(name, endpoints).unwrap_err().to_string();
    assert_eq!(error("orders", &[]), r#"upstream "orders": it has no endpoint"#);
    assert_eq!(
        error("orders", &["http://h", "h:81"]),
        r#"upstream "orders": the endpoint "h:81" can't be used: it does not begin with http:// or https://"#
    );
    assert!(error("orders", &["http://h", "http://h/"]).contains("twice"));
    assert!(error("orders", &["http://h:80", "http://H"]).contains("twice"));
    assert!(error("Orders", &["http://h"]).contains("the name can't be used"));
    #[cfg(not(feature = "tls"))]
    assert!(error("orders", &["https://h"]).contains("feature `tls`"));
}

// ===== why there is no answer =====

/// Why there was no answer. Whether it has certainly not been processed, hyper's own error says to whoever asks.
fn said(error: &SendError) -> (Cause, bool) {
    let hypers = error.source().and_then(|source| source.downcast_ref::<legacy::Error>()).expect("hyper's");
    let unprocessed = HyperErrors::new().failure(hypers) == Failure::Unprocessed;
    assert_eq!(error.is_not_processed(), unprocessed, "{error:?}");
    (error.cause(), unprocessed)
}

#[tokio::test]
async fn what_has_certainly_not_been_processed_is_told_apart() {
    let failed = async |upstream: Upstream| call(&upstream, request("/")).await.expect_err("no answer");

    assert_eq!(said(&failed(orders([dead().await])).await), (Cause::Connect, true));
    assert_eq!(said(&failed(orders([resets().await])).await), (Cause::ConnectionReset, false));

    let (addr, seen) = resets_after_the_body().await;
    let reset = call(&orders([addr]), Request::post("/").body("x".into()).unwrap()).await.expect_err("no answer");
    assert_eq!(said(&reset), (Cause::ConnectionReset, false));
    assert_eq!(seen.count(), 1);

    assert_eq!(said(&failed(orders([answers("nonsense\r\n\r\n").await])).await), (Cause::Protocol, false));
}

#[tokio::test]
async fn a_stream_that_http2_turns_back_has_not_been_processed() {
    let failed = async |addr| call(&orders([addr]).http2(), request("/")).await.expect_err("no answer");

    let refused = http2_raw(|_, _, mut respond| respond.send_reset(h2::Reason::REFUSED_STREAM)).await;
    assert_eq!(said(&failed(refused).await), (Cause::ConnectionReset, true));

    let reset = http2_raw(|_, _, mut respond| respond.send_reset(h2::Reason::INTERNAL_ERROR)).await;
    assert_eq!(said(&failed(reset).await), (Cause::ConnectionReset, false));
}

/// Says SETTINGS, and GOAWAY as soon as something of a request is there, and closes.
async fn goes_away(last_stream: u8, reason: u8) -> SocketAddr {
    raw(move |mut stream| async move {
        let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        let mut seen = Vec::new();
        // The preface, and a frame of headers.
        while !seen[seen.len().min(24)..].windows(5).any(|frame| frame[0] == 1 && frame[2..] == [0, 0, 0]) {
            let mut some = [0; 1024];
            let Ok(n @ 1..) = stream.read(&mut some).await else { return };
            seen.extend_from_slice(&some[..n]);
        }
        let _ = stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream, 0, 0, 0, reason]).await;
        let _ = stream.shutdown().await;
        while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
    })
    .await
}

/// RFC 9113 §6.8: what comes after the last stream that the other side takes, it has not looked at, whatever its reason.
#[tokio::test]
async fn a_stream_after_the_last_one_of_a_goaway_has_not_been_processed() {
    const NO_ERROR: u8 = 0;
    const ENHANCE_YOUR_CALM: u8 = 11;
    for reason in [NO_ERROR, ENHANCE_YOUR_CALM] {
        for (last, has_not) in [(0, true), (1, false)] {
            let gone = call(&orders([goes_away(last, reason).await]).http2(), request("/")).await;
            let (_, unprocessed) = said(&gone.expect_err("no answer"));
            assert_eq!(unprocessed, has_not, "the last stream is {last}, for {reason}");
        }
    }
}

#[tokio::test]
async fn an_idle_connection_is_kept_as_long_as_told() {
    let seen = Seen::default();
    let counted = seen.clone();
    let addr = raw(move |mut stream| {
        counted.add();
        async move {
            while !head(&mut stream).await.is_empty() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    for (limit, connections) in [(ms(5_000), 1), (ms(20), 2)] {
        let orders = orders([addr]).pool_idle_timeout(limit);
        let before = seen.count();
        for _ in 0..2 {
            ask(&orders, request("/")).await;
            // For real: the pool reads the clock itself.
            sleep(ms(100)).await;
        }
        assert_eq!(seen.count() - before, connections, "{limit:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_endpoint_closes_harms_nobody() {
    // Says that the connection stays, and closes it.
    let addr = answers("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let orders = orders([addr]);
    for _ in 0..20 {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
}

// ===== balance =====

#[tokio::test]
async fn the_endpoints_share_what_comes() {
    let ((a, seen_a), (b, seen_b), (c, seen_c)) = (named("a").await, named("b").await, named("c").await);
    let orders = orders([a, b, c]);
    for _ in 0..120 {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
    for seen in [seen_a, seen_b, seen_c] {
        assert!((15..=70).contains(&seen.count()), "a third of 120, give or take: {}", seen.count());
    }
}

#[tokio::test]
async fn who_is_busy_gets_less() {
    let (slow, seen_slow) = acting("slow", async |_, _| {
        sleep(ms(200)).await;
        StatusCode::OK
    })
    .await;
    let (fast, seen_fast) = named("fast").await;
    let orders = orders([slow, fast]);
    let calls = (0..50).map(|_| {
        let orders = orders.clone();
        async move {
            for _ in 0..4 {
                ask(&orders, request("/")).await;
            }
        }
    });
    futures_util::future::join_all(calls.take(4)).await;
    assert!(seen_fast.count() > seen_slow.count(), "{} {}", seen_fast.count(), seen_slow.count());
}

#[tokio::test]
async fn attempts_are_counted_for_who_asks() {
    let (addr, _) = named("a").await;
    let attempts = Attempts::default();
    let mut request = request("/");
    request.extensions_mut().insert(attempts.clone());
    ask(&orders([addr]), request).await;
    assert_eq!(attempts.count(), 1);
}

// ===== what passes =====

#[tokio::test]
async fn an_upgrade_passes() {
    let addr = raw(async |mut stream| {
        let head = head(&mut stream).await;
        assert!(head.contains("upgrade: echo"), "{head}");
        let _ =
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let orders = orders([addr]);
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "echo");
    let answer = call(&orders, request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    timeout(PATIENCE, tokio::io::AsyncReadExt::read_exact(&mut stream, &mut echo)).await.unwrap().unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test]
async fn a_caller_who_goes_takes_the_call_with_him() {
    let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let addr = raw(move |mut stream| {
        let gone = gone.clone();
        async move {
            head(&mut stream).await;
            let _ = gone.send(());
            rest(&mut stream).await;
            let _ = gone.send(());
        }
    })
    .await;
    let orders = orders([addr]);
    let calling = tokio::spawn({
        let orders = orders.clone();
        async move { call(&orders, request("/")).await.is_ok() }
    });
    timeout(PATIENCE, seen.recv()).await.expect("a request");
    calling.abort();
    timeout(PATIENCE, seen.recv()).await.expect("the connection is closed");
    assert_eq!(orders.status()[0].in_flight, 0);
    assert_eq!(orders.status()[0].calls.ignored, 1);
}

#[tokio::test]
async fn a_call_is_under_way_until_its_last_byte() {
    let (first, seen) = tokio::sync::mpsc::channel::<Result<&str, Infallible>>(1);
    let seen = Arc::new(Mutex::new(Some(seen)));
    let addr = service(Router::new().fallback(async move || {
        let parts = seen.lock().await.take().expect("one request");
        Body::from_stream(futures_util::stream::unfold(parts, async |mut parts| Some((parts.recv().await?, parts))))
    }))
    .await;
    let orders = orders([addr]);
    let in_flight = || orders.status()[0].in_flight;
    let mut answer = call(&orders, request("/")).await.unwrap().into_body();
    assert_eq!(in_flight(), 1);
    first.send(Ok("part")).await.unwrap();
    answer.frame().await.unwrap().unwrap();
    assert_eq!(in_flight(), 1);
    drop(first);
    assert!(answer.frame().await.is_none());
    assert_eq!(in_flight(), 0);
}
