//! Sending requests through a service, whatever its type.

use crate::{cases::Terms, fixture::Requests};
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use std::{
    fmt::Debug,
    future::poll_fn,
    hint::black_box,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use tower_service::Service;

/// A measurement: it runs once, over the service of one case, and says what it measured.
pub(crate) trait Run {
    fn run<S: Subject>(self, terms: Terms, service: S) -> Result<String, String>;
}

/// A service that can be measured.
pub(crate) trait Subject:
    Service<Request<Body>, Response = Response<Self::Body>, Error: Debug, Future: Send> + Clone + Send + Sync + 'static
{
    type Body: http_body::Body<Data = Bytes, Error: Debug> + Send;
}

impl<S, B> Subject for S
where
    S: Service<Request<Body>, Response = Response<B>, Error: Debug, Future: Send> + Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Debug> + Send,
{
    type Body = B;
}

/// Makes a POST of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<S>(pub(crate) S);

impl<S: Service<Request<Body>>> Service<Request<Body>> for Post<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        *request.method_mut() = Method::POST;
        self.0.call(request)
    }
}

/// Is pending once before it answers, as whoever waits for another is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause<S>(pub(crate) S);

/// The future of [`Pause`].
#[derive(Debug)]
pub(crate) struct PauseFuture<F> {
    answer: F,
    paused: bool,
}

impl<S: Service<Request<B>, Future: Unpin>, B> Service<Request<B>> for Pause<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = PauseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> PauseFuture<S::Future> {
        PauseFuture { answer: self.0.call(request), paused: false }
    }
}

impl<F: Future + Unpin> Future for PauseFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !mem::replace(&mut self.paused, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.answer).poll(cx)
    }
}

/// Clones the service, as a server does for a connection, and calls it.
pub(crate) async fn call<S: Subject>(service: &S, request: Request<Body>) -> Response<S::Body> {
    let mut service = service.clone();
    poll_fn(|cx| service.poll_ready(cx)).await.expect("the service is ready");
    service.call(request).await.expect("the service answers")
}

/// Reads a body as hyper does: no further than `is_end_stream`.
pub(crate) async fn read<B>(body: B, mut with: impl FnMut(&Bytes))
where
    B: http_body::Body<Data = Bytes, Error: Debug>,
{
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        if let Some(data) = frame.expect("the body does not fail").data_ref() {
            with(data);
        }
    }
}

/// Sends `n` requests, one after the other.
pub(crate) async fn send<S: Subject>(service: &S, requests: &mut Requests, n: u32) {
    for _ in 0..n {
        let response = black_box(call(service, requests.next()).await);
        read(response.into_body(), |data| {
            black_box(data);
        })
        .await;
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}
