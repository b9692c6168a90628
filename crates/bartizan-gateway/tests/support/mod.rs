//! Services that behave, services that do not, and a client that sends exactly what it is told.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod upstream;
pub(crate) mod wire;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use std::{
    future::{Future, pending},
    net::SocketAddr,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// Long enough that it only ever passes when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Serves a router on a free port.
pub(crate) async fn service(app: Router) -> SocketAddr {
    let listener = bartizan_gateway::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(bartizan_gateway::serve(listener, app).run());
    addr
}

/// Hands each connection on a free port to `connection`.
pub(crate) async fn raw<F, Fut>(connection: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream));
        }
    });
    addr
}

/// Reads a request's head and writes these bytes, then closes.
pub(crate) async fn answers(bytes: impl Into<Bytes>) -> SocketAddr {
    let bytes = bytes.into();
    raw(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            head(&mut stream).await;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

/// Takes connections and requests, and never answers.
pub(crate) async fn silent() -> SocketAddr {
    raw(|mut stream| async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} }).await
}

/// A port on which nobody listens, and which nobody else is given while the test runs.
pub(crate) async fn dead() -> SocketAddr {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let addr = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        pending::<()>().await;
        drop(socket);
    });
    addr
}

/// Takes a request and resets the connection.
pub(crate) async fn resets() -> SocketAddr {
    raw(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.set_zero_linger();
    })
    .await
}

/// The head of a message, with the empty line that ends it.
pub(crate) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.expect("a head in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("ASCII")
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) async fn send(request: Request<Body>) -> Answer {
    let sent = bartizan_gateway::client().request(request);
    let response = timeout(PATIENCE, sent).await.expect("an answer in time").expect("an answer");
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.expect("a body in time").expect("a body").to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    send(Request::get(format!("http://{addr}{path}")).body(Body::empty()).expect("a request")).await
}

/// Sends bytes as they are.
pub(crate) async fn connect_and_send(addr: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    stream
}

/// Everything until the other side closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}
