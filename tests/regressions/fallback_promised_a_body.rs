//! A fallback sent the head of a request with its length and without its body, so that the service waited for bytes that
//! never came, or took the next request of the connection for them.

use bartizan::fallback::{FallbackLayer, service};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client, server};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::timeout};
use tower::{Layer, ServiceExt, service_fn};

type Body = Full<Bytes>;

/// Answers with what it got, over one connection of HTTP/1.1.
async fn other() -> client::conn::http1::SendRequest<Body> {
    let (ours, theirs) = tokio::io::duplex(65_536);
    let echo = hyper::service::service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response::new(Body::from(format!("{path} {}", body.len()))))
    });
    tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), echo));
    let (sender, connection) = client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(start_paused = true)]
async fn another_service_over_a_connection_answers_each_request() {
    let sender = Arc::new(Mutex::new(other().await));
    let other = service_fn(move |request: Request<Body>| {
        let sender = Arc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>(Response::from_parts(head, Body::from(body.collect().await?.to_bytes())))
        }
    });
    let failing = service_fn(async |_: Request<Body>| {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, hyper::Error>(response)
    });
    let stack = FallbackLayer::new(service(other)).answer_unsafe_methods().layer(failing);

    for (path, framing) in
        [("/a", ("content-length", "8")), ("/b", ("transfer-encoding", "chunked")), ("/c", ("a", "b"))]
    {
        let request =
            Request::post(path).header("host", "a").header("expect", "100-continue").header(framing.0, framing.1);
        let request = request.body(Body::from("an order")).unwrap();
        let answer = timeout(Duration::from_secs(2), stack.clone().oneshot(request)).await;
        let answer = answer.expect("somebody waits for a body").unwrap();
        assert_eq!(answer.headers()["x-fallback"], "503");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), format!("{path} 0"));
    }
}
