//! Whose time it is while the body of a request is on its way, and what the endpoint is told of it.

mod support;

use axum::{Router, body::Body, extract::Request as Incoming};
use bartizan::{Deadline, circuit_breaker::BreakerPolicy, retry::RetryPolicy};
use bartizan_gateway::{Proxy, Upstream, client};
use futures_util::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use support::{upstream::*, *};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

async fn proxied(upstream: Upstream) -> SocketAddr {
    let proxy = Proxy::new(upstream, "http://orders/").expect("a URL");
    service(Router::new().fallback_service(proxy)).await
}

fn put(addr: SocketAddr, body: impl Into<Body>) -> Request<Body> {
    Request::put(format!("http://{addr}/")).body(body.into()).expect("a request")
}

#[tokio::test]
async fn a_body_of_five_bytes_has_no_longer_than_none() {
    let upstream = orders([silent().await, silent().await, silent().await]).total_timeout(ms(500));
    let proxy = proxied(upstream).await;
    for body in ["", "order"] {
        let start = Instant::now();
        let answer = send(put(proxy, body)).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &"timeout".into()), "{body}");
        assert!((ms(450)..ms(1000)).contains(&start.elapsed()), "{body}: {:?}", start.elapsed());
    }
}

/// It answers what it was told, and the first time that it is asked that it can't.
async fn telling() -> SocketAddr {
    let seen = Seen::default();
    let app = Router::new().fallback(async move |request: Incoming| {
        let told =
            request.headers().get("x-request-timeout-ms").map_or("nothing", |told| told.to_str().expect("ASCII"));
        let told = told.to_owned();
        let _ = axum::body::to_bytes(request.into_body(), 1024).await;
        (if seen.add() == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, told)
    });
    service(app).await
}

#[tokio::test]
async fn an_endpoint_is_never_told_more_than_it_has() {
    let upstream = orders([telling().await]).total_timeout(ms(2000)).attempt_timeout(ms(500));
    // At first nobody knows how long the body will take; the second time it is there.
    let once = proxied(upstream.clone().retry(RetryPolicy::never())).await;
    let answer = send(put(once, "order")).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::SERVICE_UNAVAILABLE, "nothing"));

    let upstream = orders([telling().await]).total_timeout(ms(2000)).attempt_timeout(ms(500));
    let answer = send(put(proxied(upstream).await, "order")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!((1..=500).contains(&answer.body.parse().expect("a time")), "{}", answer.body);
}

#[tokio::test]
async fn of_an_upload_the_endpoint_is_told_how_long_the_client_waits() {
    let upstream = orders([telling().await]).retry(RetryPolicy::never());
    let proxy = Proxy::new(upstream, "http://orders/").expect("a URL");
    let app =
        Router::new().fallback_service(tower::ServiceBuilder::new().map_request(with_three_seconds).service(proxy));
    let answer = send(put(service(app).await, "order")).await;
    assert!((1..3000).contains(&answer.body.parse().expect("a time")), "{}", answer.body);
}

fn with_three_seconds(mut request: Incoming) -> Incoming {
    request.extensions_mut().insert(Deadline::after(Duration::from_secs(3)));
    request
}

#[tokio::test]
async fn a_longer_pause_than_there_is_time_for_is_told_at_once() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 10\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let proxy = proxied(orders([answers(busy).await]).total_timeout(ms(2000))).await;
    for body in ["", "order"] {
        let start = Instant::now();
        let answer = send(put(proxy, body)).await;
        assert_eq!(
            (answer.status, &answer.headers["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"10".parse().unwrap())
        );
        assert!(start.elapsed() < ms(1000), "{body}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_endpoint_that_reads_nothing_of_an_upload_is_to_blame() {
    let addr = raw(async |mut stream| {
        let _ = head(&mut stream).await;
        sleep(PATIENCE).await; // real time: for as long as the test takes it holds the connection
    })
    .await;
    let upstream = orders([addr]).attempt_timeout(ms(100)).breaker(BreakerPolicy::consecutive_failures(1));
    let start = Instant::now();
    let answer = send(put(proxied(upstream.clone()).await, vec![7_u8; 64 << 20])).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &"timeout".into()));
    assert!(start.elapsed() < ms(2000), "{:?}", start.elapsed());
    assert_eq!(upstream.status()[0].calls.failed, 1);
}

/// Between two reads it rests for less than an attempt has, and in all for longer. What the system holds for it is a few
/// megabytes, and counts as read.
#[tokio::test]
async fn an_endpoint_that_reads_slowly_is_not_to_blame() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const LENGTH: usize = 64 << 20;
    let addr = raw(async |mut stream| {
        let _ = head(&mut stream).await;
        let mut left = LENGTH;
        let mut piece = vec![0; LENGTH / 64];
        while left > 0 {
            let read = stream.read_exact(&mut piece[..left.min(LENGTH / 64)]).await.expect("more of it");
            left -= read;
            sleep(ms(20)).await; // real time: it is a slow endpoint
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await;
    })
    .await;
    let upstream = orders([addr]).attempt_timeout(ms(800));
    let start = Instant::now();
    let answer = send(put(proxied(upstream.clone()).await, vec![7_u8; LENGTH])).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "done"));
    assert!(start.elapsed() > ms(1200), "{:?}", start.elapsed());
    assert_eq!(upstream.status()[0].calls.failed, 0);
}

/// Answers at once, and with what it gets; the last piece after a rest.
async fn echo(rest: Duration) -> SocketAddr {
    let app = Router::new().fallback(async move |request: Incoming| {
        let echoed = request.into_body().into_data_stream().then(move |piece| async move {
            let is_last = piece.as_ref().is_ok_and(|piece| *piece == "c");
            sleep(if is_last { rest } else { ms(0) }).await; // real time: it is an endpoint on a socket
            piece
        });
        Body::from_stream(echoed)
    });
    service(app).await
}

/// Three pieces, with a rest before each.
fn in_pieces(rest: Duration) -> Body {
    Body::from_stream(stream::iter(["a", "b", "c"]).then(move |piece| async move {
        sleep(rest).await; // real time: it is a slow client
        Ok::<_, Infallible>(piece)
    }))
}

#[tokio::test]
async fn an_endpoint_that_waits_for_a_slow_client_in_the_middle_of_its_answer_is_not_to_blame() {
    let upstream = orders([echo(ms(0)).await]).body_idle_timeout(ms(200));
    let start = Instant::now();
    let answer = send(put(proxied(upstream.clone()).await, in_pieces(ms(500)))).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "abc"));
    assert!(start.elapsed() > ms(1400), "{:?}", start.elapsed());
    assert_eq!(upstream.status()[0].calls.failed, 0);
}

#[tokio::test]
async fn an_endpoint_that_rests_in_its_answer_when_it_is_its_turn_is_to_blame() {
    let upstream = orders([echo(PATIENCE).await])
        .body_idle_timeout(ms(200))
        .breaker(BreakerPolicy::consecutive_failures(1).open_for(PATIENCE, PATIENCE));
    let proxy = proxied(upstream.clone()).await;
    let start = Instant::now();
    let (head, body) = client().oneshot(put(proxy, in_pieces(ms(500)))).await.expect("an answer").into_parts();
    assert_eq!(head.status, StatusCode::OK);
    assert!(body.collect().await.is_err(), "it breaks off");
    assert!((ms(1600)..ms(4000)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(upstream.status()[0].calls.failed, 1);
}
