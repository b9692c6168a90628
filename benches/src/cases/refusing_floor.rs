//! The least that a refusal can cost: a layer by hand, as those of [`floor`](super::floor).

use super::{Terms, ours::SCANT, unknown};
use crate::{fixture::Origin, run::Run};
use bartizan::PeerAddr;
use bartizan_store::{Charge, Key, Memory, PolicyName, Throttle};
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

pub(super) const OVERLOADED: Words = Words {
    status: StatusCode::SERVICE_UNAVAILABLE,
    problem: br#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded"}"#,
    text: b"Service Unavailable\n",
    error_type: "overloaded",
};
const LIMITED: Words = Words {
    status: StatusCode::TOO_MANY_REQUESTS,
    problem: br#"{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"The request exceeds its quota","status":429,"violated-policies":["default"],"code":"rate_limited"}"#,
    text: b"The request exceeds its quota\n",
    error_type: "rate_limited",
};
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HOUR: u64 = 60 * 60;
const SECOND: u64 = 1_000_000_000;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    const FIELDS: &[&str] = &["content-type", "retry-after"];
    let terms = Terms::OURS.unavailable(FIELDS);
    match name {
        "breaker-open" => run.run(terms, Refusing { inner: Origin, door: Arc::new(Open::new()) }),
        "limit-refused" => {
            run.run(Terms::OURS.refused(FIELDS), Refusing { inner: Origin, door: Arc::new(Spent::new()) })
        }
        "refused" => run.run(terms, Refusing { inner: Origin, door: Arc::new(Full(HeaderValue::from_static("1"))) }),
        _ => Err(unknown(name)),
    }
}

/// Tells whom it refuses when to come back.
trait Door {
    const WORDS: Words;

    fn refuses<B>(&self, request: &Request<B>) -> Option<HeaderValue>;
}

/// What it tells them.
#[derive(Debug)]
pub(super) struct Words {
    status: StatusCode,
    problem: &'static [u8],
    text: &'static [u8],
    error_type: &'static str,
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

/// A quota by the client, kept in the memory that our limit has, which has told everybody to wait.
#[derive(Debug)]
struct Spent {
    memory: Memory,
    policy: PolicyName,
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
    const WORDS: Words = OVERLOADED;

    #[inline]
    fn refuses<B>(&self, _: &Request<B>) -> Option<HeaderValue> {
        Some(self.0.clone())
    }
}

// ===== impl Open =====

impl Open {
    fn new() -> Self {
        let until = AtomicU64::new(HOUR * SECOND);
        Self { born: Instant::now(), until, refused: AtomicU64::new(0), seconds: seconds_of_an_hour() }
    }
}

/// Ready to be sent.
fn seconds_of_an_hour() -> Box<[HeaderValue]> {
    (0..=HOUR).map(Into::into).collect()
}

impl Door for Open {
    const WORDS: Words = OVERLOADED;

    #[inline]
    fn refuses<B>(&self, _: &Request<B>) -> Option<HeaderValue> {
        let now = self.born.elapsed();
        let now = now.as_secs() * SECOND + u64::from(now.subsec_nanos());
        let after = self.until.load(Acquire).checked_sub(now)?;
        self.refused.fetch_add(1, Relaxed);
        self.seconds.get(usize::try_from(Duration::from_nanos(after).as_secs() + 1).ok()?).cloned()
    }
}

// ===== impl Spent =====

impl Spent {
    fn new() -> Self {
        Self { memory: Memory::new(), policy: PolicyName::new("default"), seconds: seconds_of_an_hour() }
    }
}

impl Door for Spent {
    const WORDS: Words = LIMITED;

    /// Up to a tenth later than need be, so that not all come back together.
    #[inline]
    fn refuses<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let PeerAddr(peer) = request.extensions().get()?;
        let charge = Charge { policy: &self.policy, key: &Key::ip(peer.ip()), quota: SCANT, cost: 1 };
        let wait = self.memory.take(&charge)?.err()?.wait();
        let nanos = wait.as_secs() * SECOND + u64::from(wait.subsec_nanos());
        let dice = u64::from(wait.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        let seconds = (nanos + nanos / 10_240 * dice).div_ceil(SECOND);
        self.seconds.get(usize::try_from(seconds).ok()?).cloned()
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
        let Some(retry_after) = self.door.refuses(&request) else {
            return RefusingFuture::Called(self.inner.call(request));
        };
        RefusingFuture::Refused(Some(refuse(&mut request, retry_after, &D::WORDS)))
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
pub(super) fn refuse<B>(request: &mut Request<B>, retry_after: HeaderValue, words: &Words) -> Response<&'static [u8]> {
    assert!(request.method() != Method::POST, "it may be gRPC, and is not sent here");
    assert!(request.extensions().get::<Told>().is_none(), "nothing is further out");
    let (content_type, text) =
        if takes_json(request.headers()) { (PROBLEM_JSON, words.problem) } else { (PLAIN_TEXT, words.text) };
    // The maps of the request, which is over, become the response's.
    let mut response = Response::new(text);
    mem::swap(response.headers_mut(), request.headers_mut());
    mem::swap(response.extensions_mut(), request.extensions_mut());
    response.headers_mut().clear();
    response.extensions_mut().clear();
    *response.status_mut() = words.status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after);
    response.extensions_mut().insert(Mark { error_type: words.error_type });
    response
}

/// As far as a client asks for it in the first place.
fn takes_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_none_or(|accept| accept.as_bytes().starts_with(b"application/json") || accept == "*/*")
}
