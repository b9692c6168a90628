//! The access log on real sockets: when does a server let a body go, and what does the log make of it.

use axum::{
    Router,
    body::Body,
    http::{Request, Response, header},
    routing::{any, get},
};
use bartizan::{
    access_log::{AccessLogLayer, Format},
    bridge::axum::{matched_path, with_peer_addr},
    request_id::RequestIdLayer,
};
use bytes::Bytes;
use http_body::Frame;
use serde_json::Value;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

/// A writer that sends each line to the test.
struct Lines(UnboundedSender<Value>);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(serde_json::from_slice(line)?).map_err(io::Error::other)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

async fn serve() -> (SocketAddr, UnboundedReceiver<Value>) {
    let (sender, lines) = unbounded_channel();
    let log = AccessLogLayer::new().route_by(matched_path).write_to(Lines(sender), Format::Json);
    let announced = |_: Request<Body>| async {
        let response = Response::builder().header(header::CONTENT_LENGTH, 4096);
        response.body(Body::new(Endless)).expect("a response")
    };
    let app = Router::new()
        .route("/orders/{id}", any(async || "an order"))
        .route("/endless", get(async || Response::new(Body::new(Endless))))
        .route("/announced", get(announced))
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/panic", get(panics))
        .layer(ServiceBuilder::new().layer(RequestIdLayer::new()).layer(log).layer(CatchPanicLayer::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, with_peer_addr(app)).await });
    (addr, lines)
}

async fn panics() {
    panic!("as this test wants it")
}

async fn connect(addr: SocketAddr, method: &str, target: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).await.expect("a connection");
    let request = format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("a listener");
    client
}

/// Sends a request, and reads all of its answer.
async fn answer(addr: SocketAddr, method: &str, target: &str) -> String {
    let mut text = String::new();
    connect(addr, method, target).await.read_to_string(&mut text).await.expect("an answer");
    text
}

#[tokio::test]
async fn a_line_has_what_the_client_has_seen() {
    let (addr, mut lines) = serve().await;
    let text = answer(addr, "GET", "/orders/42?token=secret").await;
    let line = lines.recv().await.expect("a line");
    let id = line["request_id"].as_str().expect("an id");
    assert!(text.contains(&format!("x-request-id: {id}\r\n")), "{text}");
    assert_eq!((&line["route"], &line["query"]), (&"/orders/{id}".into(), &"token=REDACTED".into()));
    assert_eq!((&line["client.address"], &line["bytes_out"]), (&"127.0.0.1".into(), &8.into()));
    assert_eq!(line.get("flags"), None);
}

#[tokio::test]
async fn a_client_that_disconnects_amid_the_body_is_gone() {
    let (addr, mut lines) = serve().await;
    let mut client = connect(addr, "GET", "/endless").await;
    client.read_exact(&mut [0; 100_000]).await.expect("the first part");
    drop(client);
    let line = lines.recv().await.expect("a line");
    assert_eq!((&line["status"], &line["flags"]), (&200.into(), &"DC".into()));
    assert!(line["bytes_out"].as_u64() >= Some(90_000), "{line}");
}

#[tokio::test]
async fn a_client_that_disconnects_before_the_head_is_gone() {
    let (addr, mut lines) = serve().await;
    drop(connect(addr, "GET", "/never").await);
    let line = lines.recv().await.expect("a line");
    assert_eq!((&line["status"], &line["flags"]), (&0.into(), &"DC".into()));
}

#[tokio::test]
async fn a_server_that_needs_no_more_of_the_body_is_not_taken_for_a_client_that_left() {
    let (addr, mut lines) = serve().await;
    for (method, target, bytes) in [("HEAD", "/orders/42", 0), ("HEAD", "/endless", 0), ("GET", "/announced", 4096)] {
        answer(addr, method, target).await;
        let line = lines.recv().await.expect("a line");
        assert_eq!((line.get("flags"), &line["bytes_out"]), (None, &bytes.into()), "{method} {target}");
    }
}

#[tokio::test]
async fn a_panic_and_an_unknown_path_have_an_id_and_a_reason() {
    let (addr, mut lines) = serve().await;
    let text = answer(addr, "GET", "/panic").await;
    let line = lines.recv().await.expect("a line");
    assert!(text.contains(line["request_id"].as_str().expect("an id")), "{text}");
    assert_eq!((&line["status"], &line["error.type"]), (&500.into(), &"500".into()));

    answer(addr, "GET", "/nowhere").await;
    let line = lines.recv().await.expect("a line");
    assert_eq!((&line["status"], &line["flags"]), (&404.into(), &"NR".into()));
}
