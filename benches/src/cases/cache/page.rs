//! What may be stored.

use crate::fixture::{ANSWER, Origin};
use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Response, Uri, header};
use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tower_service::Service;

/// A service that answers at once with three fields, and lets the answer be stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) body: &'static [u8],
    /// With `Vary`, in the place of `ETag`.
    varies: bool,
}

/// Asks for what is not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditional<S>(pub(super) S);

/// Asks for what is stored, and for nothing else; with one field more, by which the cache looks for it or does not.
#[derive(Clone, Debug)]
pub(super) struct OnlyIfCached<S> {
    inner: S,
    field: HeaderName,
}

/// Asks for a thousand URLs in turn, the usual one among them.
#[derive(Clone, Debug)]
pub(super) struct Many<S> {
    inner: S,
    urls: Arc<[Uri]>,
    next: Arc<AtomicUsize>,
}

const TAG: HeaderValue = HeaderValue::from_static("\"42-7\"");
static LARGE: [u8; 64 * 1024] = [b'x'; 64 * 1024];

// ===== impl Page =====

impl Page {
    pub(super) const fn small() -> Self {
        Self { body: ANSWER.as_bytes(), varies: false }
    }

    pub(super) const fn large() -> Self {
        Self { body: &LARGE, varies: false }
    }

    pub(super) const fn varying() -> Self {
        Self { varies: true, ..Self::small() }
    }
}

impl<B> Service<Request<B>> for Page {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        Origin::runs();
        let mut response = Response::new(Body::from(self.body));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
        if self.varies {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        } else {
            headers.insert(header::ETAG, TAG);
        }
        ready(Ok(response))
    }
}

// ===== impl Conditional =====

impl<S: Service<Request<B>>, B> Service<Request<B>> for Conditional<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.headers_mut().insert(header::IF_NONE_MATCH, TAG);
        self.0.call(request)
    }
}

// ===== impl OnlyIfCached =====

impl<S> OnlyIfCached<S> {
    /// The field means nothing without a range.
    pub(super) const fn looked_for(inner: S) -> Self {
        Self { inner, field: header::IF_RANGE }
    }

    /// Only the origin can answer such a condition.
    pub(super) const fn not_looked_for(inner: S) -> Self {
        Self { inner, field: header::IF_MATCH }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for OnlyIfCached<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let headers = request.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("only-if-cached"));
        headers.insert(self.field.clone(), TAG);
        self.inner.call(request)
    }
}

// ===== impl Many =====

impl<S> Many<S> {
    pub(super) fn of(inner: S) -> Self {
        let urls = (42..1066).map(|order| format!("/orders/{order}?expand=items").parse().expect("a URL"));
        Self { inner, urls: urls.collect(), next: Arc::default() }
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Many<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let nth = self.next.fetch_add(1, Relaxed) % self.urls.len();
        *request.uri_mut() = self.urls[nth].clone();
        self.inner.call(request)
    }
}
