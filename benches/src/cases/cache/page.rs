//! What may be stored.

use crate::fixture::{ANSWER, Origin};
use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use std::{
    convert::Infallible,
    future::{Ready, ready},
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
