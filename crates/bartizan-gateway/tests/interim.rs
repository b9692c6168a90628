//! Interim responses on the wire: what passes, to whom, and that nothing of hyper's is ever cut in two.

mod support;

use axum::{Router, body::Body, extract::Request, routing::get as on_get};
use bartizan_gateway::{Interim, Proxy, Upstream, client};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::net::SocketAddr;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

async fn through(addr: SocketAddr) -> SocketAddr {
    let proxy = Proxy::new(client(), &format!("http://{addr}")).expect("a URL");
    service(Router::new().fallback_service(proxy)).await
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>; rel=preload\r\n\
                     connection: x-hop\r\nx-hop: 1\r\n\r\n";
const PASSED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>; rel=preload\r\n\
                      via: 1.1 bartizan\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn ask(more: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: h\r\n{more}\r\n")
}

#[tokio::test]
async fn an_interim_response_arrives_before_the_answer_is_there() {
    let (answer, wait) = mpsc::channel::<()>(1);
    let wait = std::sync::Arc::new(tokio::sync::Mutex::new(wait));
    let behind = raw(move |mut stream| {
        let wait = std::sync::Arc::clone(&wait);
        async move {
            head(&mut stream).await;
            // In pieces, as a network may hand it over.
            for piece in [&HINTS[..20], &HINTS[20..]] {
                stream.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
            let _ = wait.lock().await.recv().await;
            let _ = stream.write_all(OK.as_bytes()).await;
        }
    })
    .await;
    let mut stream = connect_and_send(through(behind).await, &ask("connection: close\r\n")).await;
    assert_eq!(head(&mut stream).await, PASSED);
    answer.send(()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(!answer.contains("link:"), "{answer}");
}

#[tokio::test]
async fn several_in_one_piece_with_the_answer_come_before_it_in_order() {
    let behind = answers(format!("HTTP/1.1 102 Processing\r\n\r\n{HINTS}{OK}")).await;
    let mut stream = connect_and_send(through(behind).await, &ask("connection: close\r\n")).await;
    assert_eq!(head(&mut stream).await, "HTTP/1.1 102 Processing\r\nvia: 1.1 bartizan\r\n\r\n");
    assert_eq!(head(&mut stream).await, PASSED);
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn they_pass_through_an_upstream_too() {
    let behind = answers(format!("{HINTS}{OK}")).await;
    let upstream = Upstream::new("orders", [format!("http://{behind}")]).unwrap();
    let proxy = Proxy::new(upstream, "http://orders").unwrap();
    let app = service(Router::new().fallback_service(proxy)).await;
    let mut stream = connect_and_send(app, &ask("connection: close\r\n")).await;
    assert_eq!(head(&mut stream).await, PASSED);
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn who_serves_in_another_way_hears_them_by_a_function_of_his_own() {
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let interim = Interim::new(move |status, fields| {
        let _ = heard.send((status, fields.get_all("link").iter().count(), fields.contains_key("x-hop")));
    });
    let addr = answers(format!("{HINTS}{OK}")).await;
    let proxy = Proxy::new(client(), &format!("http://{addr}")).unwrap();
    let app = Router::new().fallback_service(proxy).layer(axum::Extension(interim));
    let response = tower::ServiceExt::oneshot(app, Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(hearing.recv().await.unwrap(), (StatusCode::EARLY_HINTS, 2, false));
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_none() {
    let behind = answers(format!("{HINTS}{OK}")).await;
    let mut stream = connect_and_send(through(behind).await, "GET / HTTP/1.0\r\nhost: h\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && !answer.contains("103"), "{answer}");
}

/// Says hints before each answer, and answers as many requests as come.
async fn hinting() -> SocketAddr {
    raw(|mut stream| async move {
        loop {
            let asked = head(&mut stream).await;
            if asked.is_empty() {
                return;
            }
            let path = asked.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = format!("{HINTS}HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

/// Takes a stream of answers apart, and says of each its status and body.
fn parse(mut bytes: &str) -> Vec<(u16, &str)> {
    let mut answers = Vec::new();
    while let Some((head, after)) = bytes.split_once("\r\n\r\n") {
        let status =
            head.strip_prefix("HTTP/1.1 ").expect("the beginning of a message")[..3].parse().expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        answers.push((status, &after[..length]));
        bytes = &after[length..];
    }
    assert_eq!(bytes, "");
    answers
}

#[tokio::test]
async fn pipelined_requests_have_theirs_before_their_own_answers() {
    let request = |n: usize, more: &str| format!("GET /{n} HTTP/1.1\r\nhost: h\r\n{more}\r\n");
    let all: String = (0..20).map(|n| request(n, if n == 19 { "connection: close\r\n" } else { "" })).collect();
    let mut stream = connect_and_send(through(hinting().await).await, &all).await;
    let answers = rest(&mut stream).await;
    let expected: Vec<_> = (0..20).flat_map(|n| [(103, String::new()), (200, format!("/{n}"))]).collect();
    let answers: Vec<_> = parse(&answers).into_iter().map(|(status, body)| (status, body.to_owned())).collect();
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn the_connection_is_kept_afterwards() {
    let proxy = through(hinting().await).await;
    let mut stream = connect_and_send(proxy, "").await;
    for _ in 0..3 {
        stream.write_all(ask("").as_bytes()).await.unwrap();
        assert_eq!(head(&mut stream).await, PASSED);
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(stream.read_u8().await.unwrap(), b'/');
    }
}

#[tokio::test]
async fn a_long_answer_that_nobody_reads_yet_is_not_cut_by_the_hints_of_the_next() {
    const LONG: usize = 8 * 1024 * 1024;
    let app = Router::new().route("/long", on_get(|| async { Body::from(vec![b'x'; LONG]) })).fallback(
        |request: Request| async move {
            let hints = HeaderMap::from_iter([(http::header::LINK, HeaderValue::from_static("</a>"))]);
            Interim::of(request.extensions()).expect("HTTP/1.1").send(StatusCode::EARLY_HINTS, &hints);
            "short"
        },
    );
    let long = "GET /long HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut stream = connect_and_send(service(app).await, &format!("{long}{}", ask("connection: close\r\n"))).await;
    // Real time: what is waited for is that the kernel's buffers are full.
    tokio::time::sleep(ms(200)).await;
    let answers = rest(&mut stream).await;
    let answers: Vec<_> = parse(&answers).into_iter().map(|(status, body)| (status, body.len())).collect();
    assert_eq!(answers, [(200, LONG), (103, 0), (200, 5)]);
}

#[tokio::test]
async fn who_expects_100_is_told_once_and_hints_come_all_the_same() {
    let echo = Router::new().fallback(|request: Request| async move {
        let interim = Interim::of(request.extensions()).cloned().expect("HTTP/1.1");
        interim.send(StatusCode::CONTINUE, &HeaderMap::new());
        let mut body = request.into_body().into_data_stream();
        let mut all = Vec::new();
        while let Some(Ok(bytes)) = body.next().await {
            all.extend_from_slice(&bytes);
            interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        }
        Bytes::from(all)
    });
    for proxied in [false, true] {
        let addr = service(echo.clone()).await;
        let addr = if proxied { through(addr).await } else { addr };
        let sent =
            "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n";
        let mut stream = connect_and_send(addr, sent).await;
        assert_eq!(head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        let answers = rest(&mut stream).await;
        let answers = parse(&answers);
        assert_eq!(answers.first(), Some(&(102, "")));
        assert_eq!(answers.last(), Some(&(200, "hello")));
    }
}

#[tokio::test]
async fn what_a_service_says_too_often_is_cut_and_its_answer_is_not() {
    let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
    let mut stream =
        connect_and_send(through(answers(format!("{many}{OK}")).await).await, &ask("connection: close\r\n")).await;
    let answers = rest(&mut stream).await;
    let answers = parse(&answers);
    assert_eq!(answers.len(), 17);
    assert_eq!(answers.last(), Some(&(200, "ok")));
}
