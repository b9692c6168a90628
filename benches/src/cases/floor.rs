//! The least that a promise of ours can cost: layers by hand that keep it, and have no options, no events, and nothing to
//! say for themselves.

use super::{Terms, inbound_floor};
use crate::{
    fixture::Origin,
    run::{Pause, Post, Run},
};
use bartizan::{Deadline, retry::RetryPolicy};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    array,
    convert::Infallible,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const WHILE: Duration = Duration::from_secs(10);
const PROBLEM: &[u8] = br#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded"}"#;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    match name {
        "breaker-closed" => run.run(Terms::OURS, Watched { inner: Origin, guard: Arc::new(Slices::new()) }),
        "concurrency" => run.run(Terms::OURS, Watched { inner: Origin, guard: Arc::new(Room(AtomicUsize::new(1024))) }),
        "refused" => run.run(Terms::OURS.unavailable(&["content-type", "retry-after"]), Refusing { inner: Origin }),
        "timeout-pending" => run.run(Terms::OURS, Timed { inner: Pause(Origin), limit: Arc::new(WHILE) }),
        "timeout-ready" => run.run(Terms::OURS, Timed { inner: Origin, limit: Arc::new(WHILE) }),
        "retry-post" => run.run(Terms::OURS, Post(Passed { inner: Origin, deposits: Arc::new(Slices::new()) })),
        _ => inbound_floor::run(name, run),
    }
}

/// Who lets requests in, and is told at the end of the response's body how they went.
trait Guard {
    fn admits(&self) -> bool;

    fn over(&self, well: bool);
}

/// Refuses whom its guard does not admit.
#[derive(Debug)]
struct Watched<S, G> {
    inner: S,
    guard: Arc<G>,
}

#[derive(Debug)]
enum WatchedFuture<F, G: Guard> {
    Called(F, Option<Pass<G>>),
    Refused,
}

/// The body of the service; of a refusal there is none.
#[derive(Debug)]
struct WatchedBody<B, G: Guard> {
    body: Option<B>,
    pass: Option<Pass<G>>,
}

/// Somebody who was admitted, until it is dropped.
#[derive(Debug)]
struct Pass<G: Guard>(Arc<G>, bool);

/// A number of places.
#[derive(Debug)]
struct Room(AtomicUsize);

/// Calls and failures of ten seconds each: the number of the slice above the count. Open while most of them fail.
#[derive(Debug)]
struct Slices {
    born: Instant,
    open_until: AtomicU64,
    calls: [AtomicU64; 10],
    failed: [AtomicU64; 10],
}

/// Gives up after a time, or at the request's deadline if that is earlier.
#[derive(Clone, Debug)]
struct Timed<S> {
    inner: S,
    limit: Arc<Duration>,
}

pin_project! {
    struct TimedFuture<F> {
        #[pin]
        inner: F,
        limit: Arc<Duration>,
        deadline: Option<Deadline>,
        // Made when somebody has to wait.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// Refuses everybody: with a problem in JSON, the time to come back, and a mark.
#[derive(Clone, Debug)]
struct Refusing<S> {
    inner: S,
}

#[derive(Debug)]
struct RefusingFuture<E> {
    response: Option<Box<Response<()>>>,
    error: PhantomData<fn() -> E>,
}

#[derive(Debug)]
struct OwnBody(Option<Bytes>);

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "nobody reads it here")]
struct Mark {
    error_type: &'static str,
}

/// Deposits in a budget for what is not sent again, unless the request says something else.
#[derive(Clone, Debug)]
struct Passed<S> {
    inner: S,
    deposits: Arc<Slices>,
}

#[derive(Debug)]
struct PassedFuture<F> {
    inner: F,
    deposits: Arc<Slices>,
}

// ===== impl Watched =====

impl<S: Clone, G> Clone for Watched<S, G> {
    #[inline]
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: Arc::clone(&self.guard) }
    }
}

impl<S, G, B, R> Service<Request<B>> for Watched<S, G>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
    G: Guard,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<WatchedBody<R, G>>;
    type Error = S::Error;
    type Future = WatchedFuture<S::Future, G>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.guard.admits() {
            return WatchedFuture::Refused;
        }
        let pass = Pass(Arc::clone(&self.guard), false);
        WatchedFuture::Called(self.inner.call(request), Some(pass))
    }
}

impl<F, G, R, E> Future for WatchedFuture<F, G>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
    G: Guard,
{
    type Output = Result<Response<WatchedBody<R, G>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Called(future, pass) => {
                let answer = ready!(Pin::new(future).poll(cx));
                let mut pass = pass.take();
                if let (Ok(response), Some(pass)) = (&answer, &mut pass) {
                    pass.1 = !response.status().is_server_error();
                }
                Poll::Ready(answer.map(|response| response.map(|body| WatchedBody { body: Some(body), pass })))
            }
            Self::Refused => {
                let mut response = Response::new(WatchedBody { body: None, pass: None });
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                Poll::Ready(Ok(response))
            }
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin, G: Guard> Body for WatchedBody<B, G> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let Poll::Ready(came) = &polled {
            match came {
                Some(Ok(_)) if !body.is_end_stream() => {}
                Some(Ok(_)) | None => drop(this.pass.take()),
                Some(Err(_)) => this.pass.take().into_iter().for_each(Pass::broken),
            }
        }
        polled
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), B::size_hint)
    }
}

impl<G: Guard> Pass<G> {
    fn broken(mut self) {
        self.1 = false;
    }
}

impl<G: Guard> Drop for Pass<G> {
    #[inline]
    fn drop(&mut self) {
        self.0.over(self.1);
    }
}

// ===== impl Room =====

impl Guard for Room {
    #[inline]
    fn admits(&self) -> bool {
        self.0.fetch_update(AcqRel, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    #[inline]
    fn over(&self, _: bool) {
        self.0.fetch_add(1, Release);
    }
}

// ===== impl Slices =====

impl Slices {
    fn new() -> Self {
        let none = || array::from_fn(|_| AtomicU64::new(0));
        Self { born: Instant::now(), open_until: AtomicU64::new(0), calls: none(), failed: none() }
    }

    #[inline]
    fn count(counts: &[AtomicU64; 10], second: u64) -> u64 {
        let place = &counts[usize::try_from(second % 10).unwrap_or_default()];
        let mut seen = place.load(Relaxed);
        loop {
            let next = if seen >> 32 == second { seen + 1 } else { second << 32 | 1 };
            match place.compare_exchange_weak(seen, next, AcqRel, Relaxed) {
                Ok(_) => return next & u64::from(u32::MAX),
                Err(other) => seen = other,
            }
        }
    }

    #[cold]
    fn fail(&self, second: u64) {
        Self::count(&self.failed, second);
        let sum = |counts: &[AtomicU64; 10]| -> u64 {
            let of = |word: u64| if (word >> 32) + 10 > second { word & u64::from(u32::MAX) } else { 0 };
            counts.iter().map(|count| of(count.load(Acquire))).sum()
        };
        let (calls, failed) = (sum(&self.calls), sum(&self.failed));
        if calls >= 20 && failed * 2 >= calls {
            self.open_until.store(second + 5, Release);
        }
    }
}

impl Guard for Slices {
    #[inline]
    fn admits(&self) -> bool {
        let until = self.open_until.load(Acquire);
        until == 0 || until <= self.born.elapsed().as_secs()
    }

    #[inline]
    fn over(&self, well: bool) {
        let second = self.born.elapsed().as_secs();
        Self::count(&self.calls, second);
        if !well {
            self.fail(second);
        }
    }
}

// ===== impl Timed =====

impl<S, B, R> Service<Request<B>> for Timed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = TimedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let deadline = Deadline::of(request.extensions());
        TimedFuture { inner: self.inner.call(request), limit: Arc::clone(&self.limit), deadline, sleep: None }
    }
}

impl<F, R, E> Future for TimedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Default,
{
    type Output = Result<Response<R>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        if this.sleep.is_none() {
            let own = Instant::now() + **this.limit;
            this.sleep.set(Some(sleep_until(this.deadline.map_or(own, |deadline| deadline.instant().min(own)))));
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        let mut response = Response::new(R::default());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        Poll::Ready(Ok(response))
    }
}

// ===== impl Passed =====

impl<S, B> Service<Request<B>> for Passed<S>
where
    S: Service<Request<B>, Future: Unpin>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PassedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let may_repeat = request.method() != Method::POST || request.headers().contains_key(IDEMPOTENCY_KEY);
        assert!(!may_repeat && request.extensions().get::<RetryPolicy>().is_none(), "nothing else is sent here");
        PassedFuture { inner: self.inner.call(request), deposits: Arc::clone(&self.deposits) }
    }
}

impl<F: Future + Unpin> Future for PassedFuture<F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let answer = ready!(Pin::new(&mut self.inner).poll(cx));
        self.deposits.over(true);
        Poll::Ready(answer)
    }
}

// ===== impl Refusing =====

impl<S, B, R> Service<Request<B>> for Refusing<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<OwnBody>;
    type Error = S::Error;
    type Future = RefusingFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let content_type = if takes_json(request.headers()) { "application/problem+json" } else { "text/plain" };
        // The maps of the request, which is over, become the response's.
        request.headers_mut().clear();
        request.extensions_mut().clear();
        let mut response = Box::new(Response::new(()));
        mem::swap(response.headers_mut(), request.headers_mut());
        mem::swap(response.extensions_mut(), request.extensions_mut());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response.extensions_mut().insert(Mark { error_type: "overloaded" });
        RefusingFuture { response: Some(response), error: PhantomData }
    }
}

impl<E> Future for RefusingFuture<E> {
    type Output = Result<Response<OwnBody>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let response = self.response.take().expect("polled after it was ready");
        Poll::Ready(Ok(response.map(|()| OwnBody(Some(Bytes::from_static(PROBLEM))))))
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = Infallible;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// As far as a client asks for it in the first place.
fn takes_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .is_none_or(|accept| accept.as_bytes().starts_with(b"application/json") || accept == "*/*")
}
