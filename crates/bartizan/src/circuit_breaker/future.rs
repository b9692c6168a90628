//! The response of a call that a breaker watches.

use super::{
    layer::Rules,
    outcome::{ClassifyError, Outcome, Told},
    permit::Permit,
};
use crate::shared::ResponseBody;
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
        /// The service is at work.
        Calling { #[pin] future: F, permit: Option<Permit>, custom: Option<Arc<Rules<C>>> },
        /// Nothing is left but to hand this over.
        Refused { response: Option<Box<Response<Bytes>>> },
    }
}

// ===== impl ResponseFuture =====

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) fn calling(future: F, permit: Option<Permit>, custom: Option<Arc<Rules<C>>>) -> Self {
        Self { state: State::Calling { future, permit, custom } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(Box::new(response)) } }
    }
}

impl<F, C, R, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response<R>, E>>,
    C: ClassifyError<E>,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R, Permit>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling { future, permit, custom } => match ready!(future.poll(cx)) {
                Ok(mut response) => {
                    let told = match custom.as_ref().and_then(|rules| rules.classify()) {
                        None => Told::by_default(&response),
                        Some(classify) => Told::by(classify, &mut response),
                    };
                    let watch = permit.take().and_then(|permit| permit.answered(told, response.headers()));
                    Poll::Ready(Ok(response.map(|body| match watch {
                        Some(permit) => ResponseBody::inner(body).watched_by(permit),
                        None => ResponseBody::inner(body),
                    })))
                }
                Err(error) => {
                    if let Some(permit) = permit.take() {
                        let outcome = custom.take().map(|rules| rules.errors().classify_error(&error));
                        permit.settle(outcome.unwrap_or(Outcome::Failure), None);
                    }
                    Poll::Ready(Err(error))
                }
            },
            StateProj::Refused { response } => {
                let response = response.take().expect("polled after it was ready");
                Poll::Ready(Ok(response.map(ResponseBody::own)))
            }
        }
    }
}

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}
