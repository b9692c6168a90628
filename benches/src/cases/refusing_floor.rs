//! The least that a refusal can cost: a layer by hand, as those of [`floor`](super::floor).

use super::{Terms, unknown};
use crate::{fixture::Origin, run::Run};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed},
        },
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower_service::Service;

const PROBLEM: &[u8] = br#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded"}"#;
const TEXT: &[u8] = b"Service Unavailable\n";
const HOUR: u64 = 60 * 60;
const SECOND: u64 = 1_000_000_000;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let terms = Terms::OURS.unavailable(&["content-type", "retry-after"]);
    match name {
        "breaker-open" => run.run(terms, Refusing { inner: Origin, door: Arc::new(Open::new()) }),
        "refused" => run.run(terms, Refusing { inner: Origin, door: Arc::new(Full(HeaderValue::from_static("1"))) }),
        _ => Err(unknown(name)),
    }
}

/// Tells whom it refuses when to come back.
trait Door {
    fn refuses(&self) -> Option<HeaderValue>;
}

/// Refuses with a problem in JSON, the time to come back, and a mark.
#[derive(Debug)]
struct Refusing<S, D> {
    inner: S,
    door: Arc<D>,
}

/// Not boxed: with a future that is smaller than a response this one is larger than need be.
#[derive(Debug)]
enum RefusingFuture<F> {
    Called(F),
    Refused(Option<Response<&'static [u8]>>),
}

/// The body of the service, or of a refusal.
#[derive(Debug)]
pub(super) enum Answer<B> {
    Inner(B),
    Own(&'static [u8]),
}

/// No place is left.
#[derive(Debug)]
struct Full(HeaderValue);

/// Open for an hour. It counts whom it refuses, and has the seconds of the hour ready.
#[derive(Debug)]
struct Open {
    born: Instant,
    until: AtomicU64,
    refused: AtomicU64,
    seconds: Box<[HeaderValue]>,
}

/// What layers further out leave with a request: its id, and where to note for the log why it was refused.
#[derive(Clone, Debug)]
struct Told;

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "nobody reads it here")]
struct Mark {
    error_type: &'static str,
}

// ===== impl Full =====

impl Door for Full {
    #[inline]
    fn refuses(&self) -> Option<HeaderValue> {
        Some(self.0.clone())
    }
}

// ===== impl Open =====

impl Open {
    fn new() -> Self {
        let until = AtomicU64::new(HOUR * SECOND);
        Self { born: Instant::now(), until, refused: AtomicU64::new(0), seconds: (0..=HOUR).map(Into::into).collect() }
    }
}

impl Door for Open {
    #[inline]
    fn refuses(&self) -> Option<HeaderValue> {
        let now = self.born.elapsed();
        let now = now.as_secs() * SECOND + u64::from(now.subsec_nanos());
        let after = self.until.load(Acquire).checked_sub(now)?;
        self.refused.fetch_add(1, Relaxed);
        self.seconds.get(usize::try_from(Duration::from_nanos(after).as_secs() + 1).ok()?).cloned()
    }
}

// ===== impl Refusing =====

impl<S: Clone, D> Clone for Refusing<S, D> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), door: Arc::clone(&self.door) }
    }
}

impl<S, D, B, R> Service<Request<B>> for Refusing<S, D>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
    D: Door,
{
    type Response = Response<Answer<R>>;
    type Error = S::Error;
    type Future = RefusingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(retry_after) = self.door.refuses() else { return RefusingFuture::Called(self.inner.call(request)) };
        RefusingFuture::Refused(Some(refuse(&mut request, retry_after)))
    }
}

impl<F, R, E> Future for RefusingFuture<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = Result<Response<Answer<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Called(future) => Pin::new(future).poll(cx).map_ok(|response| response.map(Answer::Inner)),
            Self::Refused(response) => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(Answer::Own)))
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut *self {
            Self::Inner(body) => Pin::new(body).poll_frame(cx),
            Self::Own([]) => Poll::Ready(None),
            Self::Own(text) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(mem::take(text)))))),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Inner(body) => body.is_end_stream(),
            Self::Own(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Inner(body) => body.size_hint(),
            Self::Own(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}

/// What somebody is answered who is not let in.
#[inline]
pub(super) fn refuse<B>(request: &mut Request<B>, retry_after: HeaderValue) -> Response<&'static [u8]> {
    assert!(request.method() != Method::POST, "it may be gRPC, and is not sent here");
    assert!(request.extensions().get::<Told>().is_none(), "nothing is further out");
    let (content_type, text) =
        if takes_json(request.headers()) { ("application/problem+json", PROBLEM) } else { ("text/plain", TEXT) };
    // The maps of the request, which is over, become the response's.
    let mut response = Response::new(text);
    mem::swap(response.headers_mut(), request.headers_mut());
    mem::swap(response.extensions_mut(), request.extensions_mut());
    response.headers_mut().clear();
    response.extensions_mut().clear();
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    response.extensions_mut().insert(Mark { error_type: "overloaded" });
    response
}

/// As far as a client asks for it in the first place.
fn takes_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_none_or(|accept| accept.as_bytes().starts_with(b"application/json") || accept == "*/*")
}
