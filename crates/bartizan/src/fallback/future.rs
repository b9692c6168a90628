//! The answer of the service, or of its fallback.

use super::{
    answer::Answer,
    layer::{Event, Policy},
    reason::{Fallback, Reason},
};
use crate::shared::{NoAnswer, Refusal, ResponseBody};
use http::{HeaderValue, Response, header};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

pin_project! {
    /// The future of [`WithFallback`](super::WithFallback).
    pub struct ResponseFuture<F, A, B, R, E>
    where
        A: Answer<B, R, E>,
    {
        #[pin]
        state: State<F, A::Kept, A::Future>,
        policy: Arc<Policy<A>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, K, G> {
        /// The service is at work. Where nothing was kept, nobody stands in for it.
        Called { #[pin] future: F, kept: Option<K> },
        /// Its answer is gone; the fallback makes another.
        FallenBack { #[pin] future: G, reason: Reason },
    }
}

// ===== impl ResponseFuture =====

impl<F, A, B, R, E> ResponseFuture<F, A, B, R, E>
where
    A: Answer<B, R, E>,
{
    pub(super) fn new(future: F, kept: Option<A::Kept>, policy: Arc<Policy<A>>) -> Self {
        Self { state: State::Called { future, kept }, policy }
    }
}

impl<F, A, B, R, E> Future for ResponseFuture<F, A, B, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
    A: Answer<B, R, E>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Called { future, kept } => {
                    let answer = ready!(future.poll(cx));
                    let reason = match &answer {
                        Ok(response) => this.policy.triggers.judge(response),
                        Err(_) => this.policy.triggers.errors.then_some(Reason::Error),
                    };
                    let Some((reason, kept)) = reason.and_then(|reason| Some((reason, kept.take()?))) else {
                        return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
                    };
                    if !A::has_time(&kept) {
                        this.policy.tell(Event::NoTime(reason));
                        return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
                    }
                    // Whatever the failed answer holds, a connection or a permit, is let go before anybody else is asked.
                    drop(answer);
                    State::FallenBack { future: this.policy.answer.answer(kept, reason), reason }
                }
                StateProj::FallenBack { future, reason } => {
                    let answer = ready!(future.poll(cx));
                    let can_stand = answer.as_ref().is_ok_and(A::can_stand);
                    return Poll::Ready(this.policy.hand_over(answer, can_stand, *reason).map_err(Into::into));
                }
            };
            this.state.set(next);
        }
    }
}

impl<F, A, B, R, E> fmt::Debug for ResponseFuture<F, A, B, R, E>
where
    A: Answer<B, R, E>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// ===== impl Policy =====

impl<A> Policy<A> {
    /// Says of an answer that a fallback gave it. A refusal is none.
    fn hand_over<R, E>(
        &self,
        answer: Result<Response<R>, E>,
        can_stand: bool,
        reason: Reason,
    ) -> Result<Response<R>, E> {
        match answer {
            Ok(response) if can_stand && response.extensions().get::<Refusal>().is_none() => {
                self.tell(Event::Answered(reason));
                Ok(self.mark(response, reason))
            }
            failed => {
                self.tell(Event::Failed(reason));
                failed
            }
        }
    }

    fn mark<R>(&self, mut response: Response<R>, reason: Reason) -> Response<R> {
        let extensions = response.extensions_mut();
        extensions.insert(Fallback::new(reason));
        // A cache further out may have what the service itself said, some time ago.
        extensions.insert(NoAnswer);
        let headers = response.headers_mut();
        if let Some(field) = &self.field {
            headers.insert(field, reason.value());
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}
