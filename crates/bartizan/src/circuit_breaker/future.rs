//! The response of a call that a breaker watches.

use super::{
    body::WatchedBody,
    layer::Rules,
    outcome::{ClassifyError, Outcome, Told},
    permit::{Blame, Permit},
};
use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

pin_project! {
    /// The future of [`CircuitBreaker`](super::CircuitBreaker).
    pub struct ResponseFuture<F, C> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, C> {
        /// The service is at work, and we tell what its answer says, unless nobody wants to know.
        Calling { #[pin] future: F, permit: Option<Permit> },
        /// The service is at work, and somebody else tells what its answer says.
        Custom { #[pin] future: F, permit: Option<Permit>, rules: Arc<Rules<C>> },
        /// Nothing is left but to hand this over.
        Refused { response: Option<Box<Response<Bytes>>> },
    }
}

// ===== impl ResponseFuture =====

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn calling(future: F, permit: Option<Permit>) -> Self {
        Self { state: State::Calling { future, permit } }
    }

    pub(super) fn custom(future: F, permit: Option<Permit>, rules: Arc<Rules<C>>) -> Self {
        Self { state: State::Custom { future, permit, rules } }
    }

    pub(super) fn refused(response: Box<Response<Bytes>>) -> Self {
        Self { state: State::Refused { response: Some(response) } }
    }
}

impl<F, C, R, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    C: ClassifyError<E>,
    R: Body,
{
    type Output = Result<Response<WatchedBody<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            StateProj::Calling { future, permit } => match watched(future, permit, cx) {
                Poll::Ready(Ok(response)) => {
                    match permit {
                        Some(permit) if Told::is_well(&response) => permit.answered_well(),
                        _ => judge_by_default(permit, &response),
                    }
                    Poll::Ready(Ok(response.map(|body| WatchedBody::inner(body, permit.take()))))
                }
                Poll::Ready(Err(error)) => {
                    fail(permit);
                    Poll::Ready(Err(error))
                }
                Poll::Pending => Poll::Pending,
            },
            _ => self.poll_other(cx),
        }
    }
}

impl<F, C, R, E> ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    C: ClassifyError<E>,
    R: Body,
{
    /// What few calls come to, apart from what most do, which so is short enough to be inlined.
    #[inline(never)]
    fn poll_other(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        match self.as_mut().project().state.project() {
            StateProj::Calling { .. } => self.poll(cx),
            StateProj::Custom { future, permit, rules } => match ready!(watched(future, permit, cx)) {
                Ok(mut response) => {
                    if permit.is_some() {
                        let told = match rules.classify() {
                            None => Told::by_default(&response),
                            Some(classify) => Told::by(classify, &mut response),
                        };
                        judge(permit, &response, told);
                    }
                    Poll::Ready(Ok(response.map(|body| WatchedBody::inner(body, permit.take()))))
                }
                Err(error) => {
                    if let Some(permit) = permit.take() {
                        permit.settle(rules.errors().classify_error(&error), None);
                    }
                    Poll::Ready(Err(error))
                }
            },
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(WatchedBody::own)))
            }
        }
    }
}

#[inline]
fn watched<F: Future>(future: Pin<&mut F>, permit: &mut Option<Permit>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let blame = Blame::on_panic(permit);
    let polled = future.poll(cx);
    blame.over();
    polled
}

/// What few heads need.
#[inline(never)]
fn judge_by_default<B: Body>(permit: &mut Option<Permit>, response: &Response<B>) {
    judge(permit, response, Told::by_default(response));
}

/// Leaves the permit to the body if there is more to learn from that.
fn judge<B: Body>(permit: &mut Option<Permit>, response: &Response<B>, told: Told) {
    *permit = permit.take().and_then(|permit| permit.answered(told, response.headers()));
    if response.body().is_end_stream()
        && let Some(permit) = permit.take()
    {
        permit.end();
    }
}

#[inline(never)]
fn fail(permit: &mut Option<Permit>) {
    if let Some(permit) = permit.take() {
        permit.settle(Outcome::Failure, None);
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
