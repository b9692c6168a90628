//! The answer of an upstream.

use super::{body::UpstreamBody, call::Attempts, error::SendError, stack::Stack};
use axum::body::Body;
use bartizan::fallback::{Fallback, Reason};
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use tower::util::Oneshot;

pin_project! {
    /// The future of [`Upstream`](crate::Upstream) and of [`Upstreams`](crate::Upstreams).
    pub struct Answering {
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        // What is known of the attempts, if there is a fallback that may answer instead.
        Asked { #[pin] answer: Oneshot<Stack, Request<Body>>, attempts: Option<Attempts> },
        Failed { error: Option<SendError> },
    }
}

// ===== impl Answering =====

impl Answering {
    pub(super) fn asked(answer: Oneshot<Stack, Request<Body>>, attempts: Option<Attempts>) -> Self {
        Self { state: State::Asked { answer, attempts } }
    }

    pub(super) fn failed(error: SendError) -> Self {
        Self { state: State::Failed { error: Some(error) } }
    }
}

impl Future for Answering {
    type Output = Result<Response<UpstreamBody>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Asked { answer, attempts } => answer.poll(cx).map_ok(|mut answer| {
                if let Some(attempts) = attempts {
                    say_cause(&mut answer, attempts);
                }
                answer.map(|body| UpstreamBody { body })
            }),
            StateProj::Failed { error } => Poll::Ready(Err(error.take().expect("polled after it was ready"))),
        }
    }
}

/// A fallback knows no more of an error than that it was one.
fn say_cause<B>(answer: &mut Response<B>, attempts: &Attempts) {
    if Fallback::of(answer.extensions()).is_some_and(|fallback| fallback.reason() == Reason::Error)
        && let Some(cause) = attempts.last_error()
    {
        answer.headers_mut().insert("x-fallback", HeaderValue::from_static(cause.as_str()));
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}
