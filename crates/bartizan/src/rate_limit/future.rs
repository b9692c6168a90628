//! The response of a limited request.

use super::{
    body::LimitedBody,
    limiter::{Charged, Judged, Limiter, Pending},
};
use crate::shared::Said;
use bartizan_store::Throttle;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_service::Service;

pin_project! {
    /// The future of [`RateLimit`](super::RateLimit).
    pub struct ResponseFuture<S, T, B>
    where
        S: Service<Request<B>>,
        T: Throttle,
    {
        #[pin]
        state: State<S, T, B, S::Future>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, T, B, F>
    where
        T: Throttle,
    {
        /// The inner service is at work, and nothing is left to do afterwards.
        Calling { #[pin] future: F },
        /// Nothing is left but to hand this over. Not boxed: most futures are as large, and a refusal should cost little.
        Refused { response: Option<Response<Said>> },
        /// Something else has to be done, before or afterwards. Boxed, so that most carry no room for it.
        Other { other: Pin<Box<Other<S, T, B, F>>> },
    }
}

pin_project! {
    #[project = OtherProj]
    enum Other<S, T, B, F>
    where
        T: Throttle,
    {
        /// The inner service is at work, and something is left to do when its response comes.
        Charging { #[pin] future: F, charged: Option<Charged<T>> },
        /// The store has not answered yet, a plan is being looked up, or it is not this request's turn. Boxed once more, as a
        /// request is larger than what is left to do.
        Undecided { held: Option<Box<Held<S, T, B>>> },
    }
}

/// What waits for a decision, and holds nothing of the service meanwhile that others could use.
struct Held<S, T: Throttle, B> {
    pending: Pending<T>,
    /// What has come of it.
    judged: Option<Judged<T>>,
    service: S,
    /// It was when the request came. Who waits lets go of that one, and asks a clone of it once the request may pass.
    is_ready: bool,
    request: Request<B>,
    limiter: Arc<Limiter<T>>,
}

// ===== impl ResponseFuture =====

impl<S, T, B> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
    T: Throttle,
{
    #[inline]
    pub(super) fn calling(future: S::Future) -> Self {
        Self { state: State::Calling { future } }
    }

    #[inline]
    pub(super) fn charging(future: S::Future, charged: Charged<T>) -> Self {
        Self { state: State::charging(future, charged) }
    }

    #[inline]
    pub(super) fn refused(response: Response<Said>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }

    pub(super) fn undecided(pending: Pending<T>, service: S, request: Request<B>, limiter: Arc<Limiter<T>>) -> Self {
        let held = Box::new(Held { pending, judged: None, service, is_ready: true, request, limiter });
        Self { state: State::other(Other::Undecided { held: Some(held) }) }
    }
}

impl<S, T, B, R> Future for ResponseFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    T: Throttle + Clone,
    R: Body,
{
    type Output = Result<Response<LimitedBody<R, T>>, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            StateProj::Calling { future } => future.poll(cx).map_ok(|response| response.map(LimitedBody::inner)),
            StateProj::Refused { response } => poll_refused(response),
            StateProj::Other { .. } => self.poll_other(cx),
        }
    }
}

impl<S, T, B, R> ResponseFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    T: Throttle + Clone,
    R: Body,
{
    /// What few requests come to, apart from what most do, which so is short enough to be inlined.
    #[inline(never)]
    fn poll_other(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut state = self.as_mut().project().state;
        if let StateProj::Other { other } = state.as_mut().project() {
            let next = match other.as_mut().project() {
                OtherProj::Charging { future, charged } => return poll_charging(future, charged, cx),
                OtherProj::Undecided { held } => {
                    let judged = ready!(held.as_mut().expect("a decision is made once").poll_judged(cx));
                    let held = held.take().expect("it was there just now");
                    match judged {
                        Ok(judged) => held.proceed(judged),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
            };
            state.set(next);
        }
        self.poll(cx)
    }
}

impl<S, T, B, F> State<S, T, B, F>
where
    T: Throttle,
{
    fn charging(future: F, charged: Charged<T>) -> Self {
        Self::other(Other::Charging { future, charged: Some(charged) })
    }

    fn other(other: Other<S, T, B, F>) -> Self {
        Self::Other { other: Box::pin(other) }
    }
}

impl<S, T, B> Held<S, T, B>
where
    S: Service<Request<B>> + Clone,
    T: Throttle + Clone,
{
    /// What becomes of the request; if it may pass, when the service is ready for it.
    fn poll_judged(&mut self, cx: &mut Context<'_>) -> Poll<Result<Judged<T>, S::Error>> {
        let judged = match self.judged.take() {
            Some(judged) => judged,
            None => match self.pending.as_mut().poll(cx) {
                Poll::Ready(judged) => judged,
                Poll::Pending => {
                    self.let_go();
                    return Poll::Pending;
                }
            },
        };
        if self.is_ready || !matches!(judged, Judged::Pass | Judged::Charge(_)) {
            return Poll::Ready(Ok(judged));
        }
        match (self.service.poll_ready(cx), judged) {
            (Poll::Ready(Ok(())), judged) => Poll::Ready(Ok(judged)),
            (Poll::Ready(Err(error)), judged) => {
                if let Judged::Charge(charged) = judged {
                    charged.fail();
                }
                Poll::Ready(Err(error))
            }
            (Poll::Pending, judged) => {
                self.judged = Some(judged);
                Poll::Pending
            }
        }
    }

    /// Drops the service that is ready, and what it has reserved.
    fn let_go(&mut self) {
        if mem::take(&mut self.is_ready) {
            self.service = self.service.clone();
        }
    }

    fn proceed(self, judged: Judged<T>) -> State<S, T, B, S::Future> {
        let Self { mut service, mut request, limiter, .. } = self;
        match judged {
            Judged::Pass => State::Calling { future: service.call(request) },
            Judged::Charge(mut charged) => {
                charged.request(&request);
                State::charging(service.call(request), charged)
            }
            Judged::Limit(standing) => State::Refused { response: Some(limiter.limit(&standing, &mut request)) },
            Judged::Refuse(refused, told) => {
                State::Refused { response: Some(limiter.respond(&refused, told, &mut request)) }
            }
        }
    }
}

/// Apart from what most do, as [`poll_other`](ResponseFuture::poll_other) is.
#[inline(never)]
fn poll_refused<T: Throttle, R, E>(
    response: &mut Option<Response<Said>>,
) -> Poll<Result<Response<LimitedBody<R, T>>, E>> {
    let response = response.take().expect("polled after it was ready");
    Poll::Ready(Ok(response.map(LimitedBody::said)))
}

#[inline]
fn poll_charging<T, F, R, E>(
    future: Pin<&mut F>,
    charged: &mut Option<Charged<T>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<LimitedBody<R, T>>, E>>
where
    T: Throttle + Clone,
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    let answer = ready!(future.poll(cx));
    let charged = charged.take().expect("polled after it was ready");
    Poll::Ready(match answer {
        Ok(response) => Ok(charged.respond(response)),
        Err(error) => {
            charged.fail();
            Err(error)
        }
    })
}

impl<S, T, B> fmt::Debug for ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
    T: Throttle,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
