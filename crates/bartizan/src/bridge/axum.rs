//! For axum: the peer's address, and extractors for what the layers found out.

use crate::{Deadline, PeerAddr, RequestId};
use axum::{
    Extension,
    extract::{FromRequestParts, OptionalFromRequestParts},
    serve::IncomingStream,
};
use http::{StatusCode, request::Parts};
use std::{
    borrow::Cow,
    convert::Infallible,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Serves `app` with the address of each connection's peer in its requests, as [`PeerAddr`].
///
/// It takes the place of `app.into_make_service_with_connect_info::<SocketAddr>()`:
///
/// ```no_run
/// use axum::Router;
/// use bartizan::bridge::axum::with_peer_addr;
///
/// # async fn serve(app: Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, with_peer_addr(app)).await
/// # }
/// ```
pub fn with_peer_addr<S>(app: S) -> WithPeerAddr<S> {
    WithPeerAddr { app }
}

/// Made by [`with_peer_addr`].
#[derive(Clone, Debug)]
pub struct WithPeerAddr<S> {
    app: S,
}

/// The peer's address as axum's own `ConnectInfo` has it, for `TrustedProxies::none().peer_by(connect_info)`.
#[must_use]
pub fn connect_info(head: &Parts) -> Option<SocketAddr> {
    head.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// The template of the route that axum has matched, such as `/users/{id}`, for `AccessLogLayer::route_by`.
///
/// It is known inside of the router: to layers that `Router::layer` or `Router::route_layer` adds.
#[must_use]
pub fn matched_path(head: &Parts) -> Option<Cow<'_, str>> {
    head.extensions.get::<axum::extract::MatchedPath>().map(|path| path.as_str().into())
}

impl<S, L> Service<IncomingStream<'_, L>> for WithPeerAddr<S>
where
    S: Clone,
    L: axum::serve::Listener<Addr = SocketAddr>,
{
    type Response = <Extension<PeerAddr> as Layer<S>>::Service;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, L>) -> Self::Future {
        ready(Ok(Extension(PeerAddr(*stream.remote_addr())).layer(self.app.clone())))
    }
}

/// The id of the request. Without a request id layer further out, the request is answered with 500.
impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let missing = (StatusCode::INTERNAL_SERVER_ERROR, "no request id: add RequestIdLayer outside this route");
        Self::of(&parts.extensions).cloned().ok_or(missing)
    }
}

/// The deadline of the request, if it has one.
impl<S: Sync> OptionalFromRequestParts<S> for Deadline {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
