//! Endpoints that answer, and endpoints that fail in every way there is.

use super::*;
use axum::extract::Request as Incoming;
use bartizan_gateway::{SendError, Upstream, UpstreamBody};
use http::{Response, StatusCode};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tower::ServiceExt;

/// How many requests an endpoint has seen.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<AtomicUsize>);

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// An endpoint that answers its own name to everything, and counts.
pub(crate) async fn named(name: &'static str) -> (SocketAddr, Seen) {
    acting(name, async |_, _| StatusCode::OK).await
}

/// An endpoint whose answer's status is decided for each request, by its number and its head.
pub(crate) async fn acting<F, Fut>(name: &'static str, act: F) -> (SocketAddr, Seen)
where
    F: Fn(usize, Incoming) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = StatusCode> + Send,
{
    let seen = Seen::default();
    let counted = seen.clone();
    let app = Router::new().fallback(async move |request: Incoming| {
        let number = counted.add();
        (act(number, request).await, [("x-endpoint", name)], name)
    });
    (service(app).await, seen)
}

/// The upstream `orders` at these addresses.
pub(crate) fn orders(addresses: impl IntoIterator<Item = SocketAddr>) -> Upstream {
    let urls = addresses.into_iter().map(|addr| format!("http://{addr}"));
    Upstream::new("orders", urls).expect("endpoints")
}

pub(crate) fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://orders{path}")).body(Body::empty()).expect("a request")
}

pub(crate) async fn call(upstream: &Upstream, request: Request<Body>) -> Result<Response<UpstreamBody>, SendError> {
    timeout(PATIENCE, upstream.clone().oneshot(request)).await.expect("an answer in time")
}

/// Calls, and reads the answer to its end.
pub(crate) async fn ask(upstream: &Upstream, request: Request<Body>) -> Answer {
    let (head, body) = call(upstream, request).await.expect("an answer").into_parts();
    let body = timeout(PATIENCE, body.collect()).await.expect("a body in time").expect("a body").to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
}

/// Serves a router over HTTP/2, to those who begin with it.
pub(crate) async fn http2_service(app: Router) -> SocketAddr {
    raw(move |stream| {
        let app = app.clone();
        async move {
            let serving = http2::Builder::new(TokioExecutor::new());
            let _ = serving.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)).await;
        }
    })
    .await
}

/// Takes a connection of HTTP/2 and does with each of its streams what it is told.
pub(crate) async fn http2_raw<F>(act: F) -> SocketAddr
where
    F: FnMut(usize, &mut h2::server::Connection<TcpStream, Bytes>, h2::server::SendResponse<Bytes>) + Send + 'static,
{
    let act = Arc::new(Mutex::new((0, act)));
    raw(move |stream| {
        let act = Arc::clone(&act);
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, respond))) = connection.accept().await {
                let (number, act) = &mut *act.lock().expect("a test that has not failed");
                act(*number, &mut connection, respond);
                *number += 1;
            }
        }
    })
    .await
}

/// Reads a whole request, body included, and resets the connection.
pub(crate) async fn resets_after_the_body() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let counted = seen.clone();
    let addr = raw(move |mut stream| {
        let counted = counted.clone();
        async move {
            let head = head(&mut stream).await;
            counted.add();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::to_owned);
            let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length"))];
            let _ = stream.read_exact(&mut body).await;
            let _ = stream.set_zero_linger();
        }
    })
    .await;
    (addr, seen)
}

/// Closes each connection as soon as it is there.
pub(crate) async fn hangs_up() -> SocketAddr {
    raw(async |stream| {
        let _ = stream.set_zero_linger();
    })
    .await
}
