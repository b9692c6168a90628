//! The least that a promise of ours can cost: layers by hand that keep it, and have no options, no events, and nothing to
//! say for themselves.

use super::{
    Terms, inbound_floor,
    refusing_floor::{self, Answer, OVERLOADED, refuse},
};
use crate::{
    fixture::Origin,
    run::{Pause, Post, Run},
};
use bartizan::{Deadline, retry::RetryPolicy};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    array,
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

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    match name {
        "breaker-closed" => run.run(Terms::OURS, Watched { inner: Origin, guard: Arc::new(Slices::new()) }),
        "concurrency" => run.run(Terms::OURS, Watched { inner: Origin, guard: Arc::new(Room(AtomicUsize::new(1024))) }),
        "timeout-pending" => run.run(Terms::OURS, Timed { inner: Pause(Origin), limit: Arc::new(WHILE) }),
        "timeout-ready" => run.run(Terms::OURS, Timed { inner: Origin, limit: Arc::new(WHILE) }),
        "retry-post" => run.run(Terms::OURS, Post(Passed { inner: Origin, deposits: Arc::new(Slices::new()) })),
        "breaker-open" | "limit-refused" | "refused" => refusing_floor::run(name, run),
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
    Refused(Option<Response<&'static [u8]>>),
}

/// A body that somebody waits for the end of, if it is the service's.
#[derive(Debug)]
struct WatchedBody<B, G: Guard> {
    body: Answer<B>,
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
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if !self.guard.admits() {
            return WatchedFuture::Refused(Some(refuse(&mut request, HeaderValue::from_static("1"), &OVERLOADED)));
        }
        let pass = Pass(Arc::clone(&self.guard), false);
        WatchedFuture::Called(self.inner.call(request), Some(pass))
    }
}

impl<F, G, R, E> Future for WatchedFuture<F, G>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
    G: Guard,
    R: Body,
{
    type Output = Result<Response<WatchedBody<R, G>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Called(future, pass) => {
                let answer = ready!(Pin::new(future).poll(cx));
                let mut pass = pass.take();
                if let (Ok(response), Some(held)) = (&answer, &mut pass) {
                    held.1 = !response.status().is_server_error();
                    if response.body().is_end_stream() {
                        pass = None;
                    }
                }
                Poll::Ready(answer.map(|response| response.map(|body| WatchedBody { body: Answer::Inner(body), pass })))
            }
            Self::Refused(response) => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(|text| WatchedBody { body: Answer::Own(text), pass: None })))
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
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(came) = &polled {
            match came {
                Some(Ok(_)) if !this.body.is_end_stream() => {}
                Some(Ok(_)) | None => drop(this.pass.take()),
                Some(Err(_)) => this.pass.take().into_iter().for_each(Pass::broken),
            }
        }
        polled
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
