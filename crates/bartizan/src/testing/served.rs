//! A served axum router, and a client for it: what happens to a layer outside of a test's hands.

use axum::{Router, body::Body as AxumBody, response::IntoResponse, routing::Route};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, future::Future, net::SocketAddr};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tower_layer::Layer;
use tower_service::Service;

/// What `axum::Router::layer` asks of a layer.
pub trait ForAxum:
    Layer<
        Route,
        Service: Service<
            Request<AxumBody>,
            Response: IntoResponse + 'static,
            Error: Into<Infallible> + 'static,
            Future: Send + 'static,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

/// A router that listens on a loopback port.
pub(super) struct Served {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// One connection to it.
pub(super) struct Connection(SendRequest<Empty<Bytes>>);

/// Puts into each request what stands in the head of this one.
#[derive(Clone)]
pub(super) struct Bring<S> {
    inner: S,
    head: Request<()>,
}

/// Runs a law on a runtime with sockets, where time runs as it does.
pub(super) fn on_sockets<T>(law: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(law)
}

// ===== impl Served =====

impl Served {
    /// Serves `app`; each request brings along what stands in `head`.
    pub(super) async fn new(app: Router, head: Request<()>) -> Self {
        let app = app.layer(tower_layer::layer_fn(move |inner| Bring { inner, head: head.clone() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let until = async move {
            let _ = stopped.await;
        };
        let server = axum::serve(listener, app).with_graceful_shutdown(until);
        let server = tokio::spawn(std::future::IntoFuture::into_future(server));
        Self { addr, stop, server }
    }

    pub(super) async fn connect(&self) -> Connection {
        let socket = TcpStream::connect(self.addr).await.expect("the server listens");
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.expect("a socket takes HTTP/1.1");
        tokio::spawn(connection.with_upgrades());
        Connection(sender)
    }

    /// Stops listening, and returns when the server has let go of its last connection.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.expect("the server does not panic").expect("the server does not fail");
    }
}

// ===== impl Connection =====

impl Connection {
    /// Sends a request and reads the whole answer.
    pub(super) async fn answer(&mut self, request: Request<Empty<Bytes>>) -> Response<Bytes> {
        let (head, body) = self.response(request).await.into_parts();
        let body = body.collect().await.expect("the body arrives whole");
        Response::from_parts(head, body.to_bytes())
    }

    pub(super) async fn response(&mut self, mut request: Request<Empty<Bytes>>) -> Response<hyper::body::Incoming> {
        request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
        self.0.ready().await.expect("the server keeps the connection open");
        self.0.send_request(request).await.expect("the server answers")
    }
}

// ===== impl Bring =====

impl<S, B> Service<Request<B>> for Bring<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.headers_mut().extend(self.head.headers().clone());
        request.extensions_mut().extend(self.head.extensions().clone());
        self.inner.call(request)
    }
}

// ===== impl ForAxum =====

impl<L, S> ForAxum for L
where
    L: Layer<Route, Service = S> + Clone + Send + Sync + 'static,
    S: Service<
            Request<AxumBody>,
            Response: IntoResponse + 'static,
            Error: Into<Infallible> + 'static,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static,
{
}
