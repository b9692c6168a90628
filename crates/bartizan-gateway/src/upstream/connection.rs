//! The end of the stack: a pool of connections to one endpoint.

use super::{
    address::Address,
    call::Attempts,
    connector::{Connector, Trust, connector},
    error::SendError,
    idle::IdleBody,
};
use crate::upload::Upload;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

/// An idle connection is kept this long: less than servers commonly keep theirs.
pub(crate) const IDLE: Duration = Duration::from_secs(4);
/// How long a connection may take to be made.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);
/// HTTP/2: with requests under way, how often the other side is asked whether it is there, and how long it may think.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Which HTTP is spoken with endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1; with TLS, HTTP/2 where the endpoint offers it.
    #[default]
    Negotiated,
    /// HTTP/2, without asking.
    Http2,
}

/// Sends requests to one endpoint, whatever host they name.
pub(super) struct Connection<B> {
    pool: Arc<Pool<B>>,
    /// How long the body of an answer may rest.
    body_idle: Option<Duration>,
}

struct Pool<B> {
    client: Client<Connector, B>,
    to: Address,
    protocol: Protocol,
    /// What HTTP/1.1 writes into `Host`. HTTP/2 says it in the target.
    host: Option<HeaderValue>,
}

pin_project! {
    /// Waits for the head of an answer.
    pub(super) struct Sent {
        #[pin]
        sent: legacy::ResponseFuture,
        attempts: Option<Attempts>,
        body_idle: Option<Duration>,
        upload: Option<Box<Upload>>,
    }
}

// ===== impl Connection =====

impl<B> Connection<B>
where
    B: Body<Data: Send, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    /// Connections that are kept for `idle` after their last answer.
    pub(super) fn new(to: Address, protocol: Protocol, trust: &Trust, idle: Duration) -> Self {
        let mut client = Client::builder(TokioExecutor::new());
        client
            .pool_idle_timeout(idle)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(protocol == Protocol::Http2)
            .http2_keep_alive_interval(PING.0)
            .http2_keep_alive_timeout(PING.1);
        let client = client.build(connector(trust, protocol));
        let host = (protocol == Protocol::Negotiated && !to.is_secure()).then(|| to.host());
        Self { pool: Arc::new(Pool { client, to, protocol, host }), body_idle: None }
    }

    /// The same connections, over which the bodies of answers may rest for so long.
    pub(super) fn body_idle(self, limit: Option<Duration>) -> Self {
        Self { body_idle: limit, ..self }
    }
}

impl<B> Service<Request<B>> for Connection<B>
where
    B: Body<Data: Send, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<IdleBody<Incoming>>;
    type Error = SendError;
    type Future = Sent;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Sent {
        let Pool { client, to, protocol, host } = &*self.pool;
        let attempts = Attempts::of(request.extensions()).cloned();
        if let Some(attempts) = &attempts {
            attempts.send();
        }
        let upload = Upload::under_way(request.extensions()).cloned().map(Box::new);
        // What was received over HTTP/2 may well go on over HTTP/1.1. This is for the connection to say.
        *request.version_mut() = Version::HTTP_11;
        let uri = std::mem::take(request.uri_mut());
        *request.uri_mut() = to.rewrite(uri);
        let headers = request.headers_mut();
        match host {
            Some(host) => _ = headers.entry(header::HOST).or_insert_with(|| host.clone()),
            // RFC 9113 §8.2.2: HTTP/2 has no `Connection`, and takes trailers from whoever says so in `TE` alone. hyper
            // would drop both.
            None if headers.get(header::CONNECTION).is_some_and(|named| named == "te") => {
                headers.remove(header::CONNECTION);
            }
            None => {}
        }
        if *protocol == Protocol::Http2 {
            // §8.3.1: it is what the target says, or the message is malformed.
            headers.remove(header::HOST);
        }
        Sent { sent: client.request(request), attempts, body_idle: self.body_idle, upload }
    }
}

impl<B> Clone for Connection<B> {
    fn clone(&self) -> Self {
        Self { pool: Arc::clone(&self.pool), body_idle: self.body_idle }
    }
}

impl<B> fmt::Debug for Connection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.pool.to)
    }
}

// ===== impl Sent =====

impl Future for Sent {
    type Output = Result<Response<IdleBody<Incoming>>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = this
            .sent
            .poll(cx)
            .map_ok(|response| response.map(|body| IdleBody::new(body, *this.body_idle, this.upload.take())));
        polled.map_err(|error| {
            let error = SendError::from(error);
            if let Some(attempts) = this.attempts {
                attempts.failed(error.cause());
            }
            error
        })
    }
}
