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
        state: State<F>,
        // `None` when nobody wants to know how the call goes.
        permit: Option<Permit>,
        // `None` when we tell what an answer says.
        rules: Option<Arc<Rules<C>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        /// The service is at work.
        Called { #[pin] future: F },
        /// Nothing is left but to hand this over.
        Refused { response: Option<Box<Response<Bytes>>> },
    }
}

// ===== impl ResponseFuture =====

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn called(future: F, permit: Option<Permit>, rules: Option<Arc<Rules<C>>>) -> Self {
        Self { state: State::Called { future }, permit, rules }
    }

    pub(super) fn refused(response: Box<Response<Bytes>>) -> Self {
        Self { state: State::Refused { response: Some(response) }, permit: None, rules: None }
    }
}

impl<F, C, R, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    C: ClassifyError<E>,
    R: Body,
{
    type Output = Result<Response<WatchedBody<R>>, E>;

    // A response is large. What judges it only looks at it, so that it moves from the service to the caller and nowhere else.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state.project() {
            StateProj::Called { future } => {
                let blame = Blame::on_panic(this.permit);
                let polled = future.poll(cx);
                blame.over();
                let mut answer = ready!(polled);
                match (&mut answer, this.permit.as_mut(), this.rules) {
                    (Ok(response), Some(permit), None) if Told::is_well(response) => permit.answered_well(),
                    (answer, Some(_), rules) => judge(this.permit, answer, rules.as_deref()),
                    (_, None, _) => {}
                }
                Poll::Ready(answer.map(|response| response.map(|body| WatchedBody::inner(body, this.permit.take()))))
            }
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(WatchedBody::own)))
            }
        }
    }
}

/// What few answers need. Leaves the permit to the body if there is more to learn from that.
#[inline(never)]
fn judge<C, B, E>(permit: &mut Option<Permit>, answer: &mut Result<Response<B>, E>, rules: Option<&Rules<C>>)
where
    C: ClassifyError<E>,
    B: Body,
{
    let Some(held) = permit.take() else { return };
    match answer {
        Ok(response) => {
            let told = match rules.and_then(Rules::classify) {
                None => Told::by_default(response),
                Some(classify) => Told::by(classify, response),
            };
            *permit = held.answered(told, response.headers());
            if response.body().is_end_stream()
                && let Some(permit) = permit.take()
            {
                permit.end();
            }
        }
        Err(error) => {
            let outcome = rules.map_or(Outcome::Failure, |rules| rules.errors().classify_error(error));
            held.settle(outcome, None);
        }
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
