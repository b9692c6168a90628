//! The response of a call that a breaker watches.

use super::{
    body::WatchedBody,
    layer::Rules,
    outcome::{ClassifyError, Outcome, Told},
    permit::{Call, Permit},
};
use crate::shared::Said;
use http::{Response, response};
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
        /// The service is at work.
        Called {
            #[pin]
            future: F,
            call: Call,
            // `None` when we tell what an answer says.
            rules: Option<Arc<Rules<C>>>,
        },
        /// Nothing is left but to hand this over. Not boxed: most futures are as large, and a refusal should cost little.
        Refused { response: Option<Response<Said>> },
    }
}

// ===== impl ResponseFuture =====

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn called(future: F, call: Call, rules: Option<Arc<Rules<C>>>) -> Self {
        Self { state: State::Called { future, call, rules } }
    }

    #[inline]
    pub(super) fn refused(response: Response<Said>) -> Self {
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

    // A response is large. What judges it out of the usual way takes it apart, or it would have to lie in one place for
    // that, and be copied there and on from there in the usual way too.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, call, rules } => {
                let blame = call.blame();
                let polled = future.poll(cx);
                blame.over();
                Poll::Ready(match ready!(polled) {
                    Ok(response) => {
                        if rules.is_none()
                            && Told::is_well(&response)
                            && let Some(permit) = call.answered_well()
                        {
                            Ok(response.map(|body| WatchedBody::inner(body, Some(permit))))
                        } else {
                            let (head, body) = response.into_parts();
                            Ok(judge(head, body, call.over(), rules.as_deref()))
                        }
                    }
                    Err(error) => {
                        if let Some(permit) = call.over() {
                            judge_error(&error, permit, rules.as_deref());
                        }
                        Err(error)
                    }
                })
            }
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(WatchedBody::said)))
            }
        }
    }
}

/// What few answers need. Leaves the permit to the body if there is more to learn from that.
#[inline(never)]
fn judge<C, B: Body>(
    head: response::Parts,
    body: B,
    permit: Option<Permit>,
    rules: Option<&Rules<C>>,
) -> Response<WatchedBody<B>> {
    let mut response = Response::from_parts(head, body);
    let permit = permit.and_then(|permit| {
        let told = match rules.and_then(Rules::classify) {
            None => Told::by_default(&response),
            Some(classify) => Told::by(classify, &mut response),
        };
        permit.answered(told, response.headers())
    });
    match permit {
        Some(permit) if response.body().is_end_stream() => {
            permit.end();
            response.map(|body| WatchedBody::inner(body, None))
        }
        permit => response.map(|body| WatchedBody::inner(body, permit)),
    }
}

#[inline(never)]
fn judge_error<C: ClassifyError<E>, E>(error: &E, permit: Permit, rules: Option<&Rules<C>>) {
    let outcome = rules.map_or(Outcome::Failure, |rules| rules.errors().classify_error(error));
    permit.settle(outcome, None);
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
