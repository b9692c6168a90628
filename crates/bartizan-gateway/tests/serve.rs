//! Serving over real sockets, and how it ends.

mod support;

use axum::{Extension, Router, extract::Request, routing::get as on_get};
use bartizan::PeerAddr;
use bartizan_gateway::{Drained, bind, serve};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Drained>,
    /// One message for each request to `/slow` that has begun.
    begun: mpsc::UnboundedReceiver<()>,
    /// One message lets one of them end.
    end: mpsc::UnboundedSender<()>,
}

async fn server(drain: Duration) -> Server {
    let (stop, stopped) = oneshot::channel();
    let (begin, begun) = mpsc::unbounded_channel();
    let (end, ended) = mpsc::unbounded_channel();
    let ended = std::sync::Arc::new(tokio::sync::Mutex::new(ended));
    let slow = on_get(move || async move {
        let _ = begin.send(());
        let _ = ended.lock().await.recv().await;
        "slow"
    });
    let app = Router::new()
        .route("/peer", on_get(|Extension(PeerAddr(peer)): Extension<PeerAddr>| async move { peer.ip().to_string() }))
        .route("/slow", slow);
    let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let running = tokio::spawn(serve(listener, app).until(stopped).drain(drain).run());
    Server { addr, stop, running, begun, end }
}

const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn requests_know_their_peer() {
    let server = server(PATIENCE).await;
    assert_eq!(get(server.addr, "/peer").await.body, "127.0.0.1");
}

#[tokio::test]
async fn requests_in_flight_finish_and_nobody_new_comes_in() {
    let mut server = server(PATIENCE).await;
    let mut idle = connect_and_send(server.addr, "").await;
    let mut kept = connect_and_send(server.addr, "GET /peer HTTP/1.1\r\nhost: h\r\n\r\n").await;
    head(&mut kept).await;
    let mut busy = connect_and_send(server.addr, SLOW).await;
    server.begun.recv().await.unwrap();

    server.stop.send(()).unwrap();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut kept).await, "127.0.0.1");
    assert!(tokio::net::TcpStream::connect(server.addr).await.is_err());

    server.end.send(()).unwrap();
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("slow"), "{answer}");
    let drained = timeout(PATIENCE, server.running).await.unwrap().unwrap();
    assert_eq!(drained.left, 0);
    assert!(drained.to_string().starts_with("drained"), "{drained}");
}

#[tokio::test]
async fn what_is_still_busy_at_the_limit_is_closed_and_counted() {
    let mut server = server(ms(100)).await;
    let mut first = connect_and_send(server.addr, SLOW).await;
    let mut second = connect_and_send(server.addr, SLOW).await;
    server.begun.recv().await.unwrap();
    server.begun.recv().await.unwrap();
    server.stop.send(()).unwrap();
    let drained = timeout(PATIENCE, server.running).await.unwrap().unwrap();
    assert_eq!(drained, Drained { left: 2, finished: 0 });
    assert!(drained.to_string().contains("still busy have been closed (2)"), "{drained}");
    assert_eq!(rest(&mut first).await + &rest(&mut second).await, "");
}

#[tokio::test]
async fn connections_that_end_while_it_serves_are_not_counted() {
    let server = server(PATIENCE).await;
    for _ in 0..3 {
        let mut stream =
            connect_and_send(server.addr, "GET /peer HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await;
        rest(&mut stream).await;
    }
    // One more answer means that the server has seen the others off.
    assert_eq!(get(server.addr, "/peer").await.status, StatusCode::OK);
    server.stop.send(()).unwrap();
    let drained = timeout(PATIENCE, server.running).await.unwrap().unwrap();
    assert!(drained.finished <= 1 && drained.left == 0, "{drained:?}");
}

#[tokio::test]
async fn whoever_has_connected_before_the_stop_is_answered() {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    // Nobody has accepted it yet: the kernel holds both the connection and the request.
    let mut waiting = connect_and_send(addr, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let app: Router = Router::new().route("/", on_get(|| async { "ok" }));
    let drained = serve(listener, app).until(async {}).drain(PATIENCE).run().await;
    assert_eq!(drained, Drained { left: 0, finished: 1 });
    let answer = rest(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
}

#[tokio::test]
async fn half_a_head_does_not_hold_the_drain() {
    let server = server(PATIENCE).await;
    let mut first = connect_and_send(server.addr, "GET / HTTP/1.1\r\nhos").await;
    let mut second = connect_and_send(server.addr, "GET /peer HTTP/1.1\r\nhost: h\r\n\r\n").await;
    head(&mut second).await;
    second.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    server.stop.send(()).unwrap();
    let drained = timeout(PATIENCE, server.running).await.unwrap().unwrap();
    assert_eq!(drained, Drained { left: 0, finished: 2 });
    assert_eq!(rest(&mut first).await + &rest(&mut second).await, "127.0.0.1");
}

#[tokio::test]
async fn who_stalls_in_the_head_of_a_request_is_let_go_and_who_waits_for_an_answer_is_not() {
    let mut server = server(PATIENCE).await;
    let mut stalls = connect_and_send(server.addr, "GET /peer HTTP/1.1\r\nhost: h\r\n\r\n").await;
    head(&mut stalls).await;
    let mut waits = connect_and_send(server.addr, SLOW).await;
    server.begun.recv().await.unwrap();
    // From here on time is what the timers say, and nobody sleeps for half a minute.
    tokio::time::pause();
    stalls.write_all(b"GET / HTTP/1.1\r\nhos").await.unwrap();
    let began = Instant::now();
    let _ = stalls.read_to_end(&mut Vec::new()).await;
    assert!((25..=40).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    sleep(Duration::from_secs(300)).await;
    tokio::time::resume();
    server.end.send(()).unwrap();
    assert!(head(&mut waits).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_request_names_one_host_or_is_answered_with_400() {
    let server = server(PATIENCE).await;
    let kept = "connection: close\r\n";
    for (request, status) in [
        (format!("GET /peer HTTP/1.1\r\n{kept}\r\n"), 400),
        (format!("GET /peer HTTP/1.1\r\nhost: a\r\nhost: a\r\n{kept}\r\n"), 400),
        (format!("GET /peer HTTP/1.0\r\nhost: a\r\nhost: b\r\n{kept}\r\n"), 400),
        (format!("GET /peer HTTP/1.1\r\nhost:\r\n{kept}\r\n"), 200),
        (format!("GET /peer HTTP/1.0\r\n{kept}\r\n"), 200),
        (format!("GET /peer HTTP/1.1\r\nhost: [::1]:80\r\n{kept}\r\n"), 200),
        (format!("GET /peer HTTP/1.1\r\nhost: a b\r\n{kept}\r\n"), 400),
        (format!("GET /peer HTTP/1.1\r\nhost: a/b?c\r\n{kept}\r\n"), 400),
        (format!("GET /peer HTTP/1.1\r\nhost: u@a\r\n{kept}\r\n"), 400),
        (format!("GET a:80 HTTP/1.1\r\nhost: a:80\r\n{kept}\r\n"), 400),
        // The connection ends with the first of them.
        ("GET /peer HTTP/1.1\r\n\r\nGET /peer HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(), 400),
    ] {
        let answer = rest(&mut connect_and_send(server.addr, &request).await).await;
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
        assert!(answer.contains(&format!(" {status} ")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn an_upgraded_connection_is_the_applications() {
    let echo = on_get(|mut request: Request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.expect("upgraded")));
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    });
    let addr = service(Router::new().route("/", echo)).await;
    let request = "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    let mut stream = connect_and_send(addr, request).await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "hello");
}

#[tokio::test]
async fn dropping_it_closes_everything() {
    let mut server = server(PATIENCE).await;
    let mut busy = connect_and_send(server.addr, SLOW).await;
    server.begun.recv().await.unwrap();
    server.running.abort();
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn a_taken_port_is_one_line_that_says_what_to_do() {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let error = bind(addr).await.expect_err("it is taken");
    assert!(error.is_taken());
    let port = addr.port();
    assert_eq!(
        error.to_string(),
        format!("port {port} is taken: stop the program that listens on {addr}, or choose another port")
    );
}
