//! The response of a limited request.

use super::{
    limiter::{Charged, Judged, Limiter, Pending},
    settle::Settlement,
};
use crate::shared::ResponseBody;
use bartizan_store::Throttle;
use bytes::Bytes;
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
        /// The inner service is at work.
        Calling { #[pin] future: F, charged: Charged<T> },
        /// Nothing is left but to hand this over.
        Refused { response: Option<Box<Response<Bytes>>> },
        /// The store has not answered yet, a plan is being looked up, or it is not this request's turn.
        Undecided { held: Option<Box<Held<S, T, B>>> },
    }
}

/// What waits for a decision: the service that was ready, and its request.
struct Held<S, T: Throttle, B> {
    pending: Pending<T>,
    service: S,
    request: Request<B>,
    limiter: Arc<Limiter<T>>,
}

// ===== impl ResponseFuture =====

impl<S, T, B> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
    T: Throttle,
{
    pub(super) fn calling(future: S::Future, charged: Charged<T>) -> Self {
        Self { state: State::Calling { future, charged } }
    }

    pub(super) fn refused(response: Response<Bytes>) -> Self {
        Self { state: State::Refused { response: Some(Box::new(response)) } }
    }

    pub(super) fn undecided(pending: Pending<T>, service: S, request: Request<B>, limiter: Arc<Limiter<T>>) -> Self {
        Self { state: State::Undecided { held: Some(Box::new(Held { pending, service, request, limiter })) } }
    }
}

impl<S, T, B, R> Future for ResponseFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    T: Throttle + Clone,
    R: Body,
{
    type Output = Result<Response<ResponseBody<R, Settlement<T>>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Calling { future, charged } => {
                    let answer = ready!(future.poll(cx));
                    let charged = mem::take(charged);
                    return Poll::Ready(match answer {
                        Ok(response) => Ok(charged.respond(response)),
                        Err(error) => {
                            charged.fail();
                            Err(error)
                        }
                    });
                }
                StateProj::Refused { response } => {
                    let response = response.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(response.map(ResponseBody::own)));
                }
                StateProj::Undecided { held } => {
                    let pending = &mut held.as_mut().expect("a decision is made once").pending;
                    let judged = ready!(pending.as_mut().poll(cx));
                    let Held { mut service, request, limiter, .. } = *held.take().expect("it was there just now");
                    match judged {
                        Judged::Pass(charged) => State::Calling { future: service.call(request), charged },
                        Judged::Refuse(refused, told) => {
                            let (mut head, _) = request.into_parts();
                            State::Refused { response: Some(Box::new(limiter.respond(&refused, told, &mut head))) }
                        }
                    }
                }
            };
            state.set(next);
        }
    }
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
