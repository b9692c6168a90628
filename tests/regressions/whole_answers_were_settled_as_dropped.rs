//! Servers let a body go without having asked for its end: one that nobody is to get, and one of which all has come that was
//! announced. What a limit settled by how they ended took them for answers whose client had gone.

use axum::{Router, body::Body, routing::get};
use bartizan::{
    End,
    rate_limit::{Quota, RateLimitLayer},
};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::Frame;
use std::{
    convert::Infallible,
    future::IntoFuture,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Six bytes, and an end that never comes. Whether the bytes are still to come.
struct Endless(bool);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match std::mem::take(&mut self.0) {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::from("served"))))),
            false => Poll::Pending,
        }
    }
}

#[tokio::test]
async fn what_a_server_has_sent_in_full_is_settled_as_complete() {
    let (told, mut outcomes) = mpsc::unbounded_channel();
    let layer = RateLimitLayer::new(Quota::per_second(100)).settle_by(move |outcome| {
        told.send((outcome.status().map(|status| status.as_u16()), outcome.bytes(), outcome.end())).unwrap();
        1
    });
    let streamed =
        || async { Response::builder().header(header::CONTENT_LENGTH, 6).body(Body::new(Endless(true))).unwrap() };
    let unchanged =
        || async { Response::builder().status(StatusCode::NOT_MODIFIED).body(Body::from("unchanged")).unwrap() };
    let cut = || async { Body::new(Endless(true)) };
    let app = Router::new()
        .route("/", get(|| async { "served" }))
        .route("/streamed", get(streamed))
        .route("/unchanged", get(unchanged))
        .route("/cut", get(cut))
        .layer(layer);
    let addr = serve(app).await;
    for (request, expected) in [
        ("GET /", (Some(200), 6, End::Complete)),
        ("HEAD /", (Some(200), 0, End::Complete)),
        ("GET /unchanged", (Some(304), 0, End::Complete)),
        ("GET /streamed", (Some(200), 6, End::Complete)),
        ("GET /cut", (Some(200), 6, End::Dropped)),
    ] {
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket.write_all(format!("{request} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
        let _ = socket.read(&mut [0; 1024]).await.unwrap();
        if expected.2 == End::Dropped {
            drop(socket);
        }
        assert_eq!(outcomes.recv().await, Some(expected), "{request}");
    }
}

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    addr
}
