//! The plain client.

use super::{body::ClientBody, connection::Unanswered, error::ClientError, pool::Pool};
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body as _;
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};
use tower_service::Service;

/// The plain client: HTTP/1.1 without TLS, over a pool of connections that its clones share.
#[derive(Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

/// A plain client, with its own pool; its clones share the pool.
///
/// It gives up connecting after one second. An idle connection is kept for less than four seconds, less than servers
/// commonly keep theirs, so that a request seldom meets a connection that the other side has just closed. If it does, it
/// goes over a new one, once, if nothing of it has been written yet, or if nothing was heard of an answer and it may be
/// sent again: its method is idempotent, and it has no body. If it can't be sent again, the error is that of the first
/// time, after which it may have been done. At most 256 connections wait idle for each of at most 64 hosts.
#[must_use]
pub fn client() -> Client {
    Client { pool: Arc::default() }
}

// ===== impl Client =====

impl Client {
    /// Sends a request to the host that its URI names.
    ///
    /// What HTTP/1.1 writes into `Host` is that host, unless the request has the field.
    ///
    /// # Errors
    /// If the URI is not an `http` URL, if no connection can be made, or if it breaks before the head of an answer.
    pub fn request(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<ClientBody>, ClientError>> {
        Box::pin(send(Arc::clone(&self.pool), request))
    }
}

async fn send(pool: Arc<Pool>, mut request: Request<Body>) -> Result<Response<ClientBody>, ClientError> {
    let to = address(&mut request)?;
    let mut idle = pool.take(&to);
    // Why the request is sent again although somebody may have done what it asks for.
    let mut doubt = None;
    loop {
        let is_new = idle.is_none();
        let mut connection = match idle.take() {
            Some(connection) => connection,
            // In a box of its own, so that a request that needs none takes less room.
            None => Box::pin(pool.connect(&to)).await.map_err(|error| doubt.take().unwrap_or(error))?,
        };
        let again = if is_new { None } else { again(&request) };
        match connection.send(request).await {
            Ok(response) => {
                let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let lent = (!is_switch).then_some((pool, to, connection));
                return Ok(response.map(|body| ClientBody::new(body, lent)));
            }
            // RFC 9110 §9.2.2: what nobody has received may be sent again, whatever its method.
            Err(Unanswered { error, unsent, heard }) => {
                let error = ClientError::sending(error);
                let may_be_done = !error.is_not_processed();
                let Some(again) = unsent.filter(|_| !is_new).or(again.filter(|_| !heard)) else {
                    return Err(doubt.filter(|_| !may_be_done).unwrap_or(error));
                };
                doubt = may_be_done.then_some(error);
                request = again;
            }
        }
    }
}

/// A request to send in the place of this one, should a connection that was kept close before a byte of an answer.
///
/// RFC 9110 §9.2.2, RFC 9112 §9.3.1: what is idempotent may be sent again, and not a third time. There is no body in
/// it, since what has been sent of one is gone.
fn again(request: &Request<Body>) -> Option<Request<Body>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut again = Request::new(Body::empty());
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}

/// Where a request goes, which from then on stands in its header (RFC 9112 §3.2.1) and no longer in its target.
fn address(request: &mut Request<Body>) -> Result<Authority, ClientError> {
    if request.method() == Method::CONNECT {
        return Err(ClientError::target("CONNECT is not sent"));
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if parts.scheme.is_none_or(|scheme| scheme != Scheme::HTTP) {
        return Err(ClientError::target("the URI does not begin with http://"));
    }
    let to = parts.authority.take().ok_or_else(|| ClientError::target("the URI names no host"))?;
    let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(header::HOST) {
        let host = if to.port_u16() == Some(80) { to.host() } else { to.as_str() };
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(|_| ClientError::target("the host can't be named"))?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(to)
}

impl Service<Request<Body>> for Client {
    type Response = Response<ClientBody>;
    type Error = ClientError;
    type Future = BoxFuture<'static, Result<Response<ClientBody>, ClientError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.request(request)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}
