//! The answer of an upstream.

use super::{body::UpstreamBody, error::SendError, stack::Stack};
use axum::body::Body;
use http::{Request, Response};
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
        Asked { #[pin] answer: Oneshot<Stack, Request<Body>> },
        Failed { error: Option<SendError> },
    }
}

// ===== impl Answering =====

impl Answering {
    pub(super) fn asked(answer: Oneshot<Stack, Request<Body>>) -> Self {
        Self { state: State::Asked { answer } }
    }

    pub(super) fn failed(error: SendError) -> Self {
        Self { state: State::Failed { error: Some(error) } }
    }
}

impl Future for Answering {
    type Output = Result<Response<UpstreamBody>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Asked { answer } => answer.poll(cx).map_ok(|answer| answer.map(|body| UpstreamBody { body })),
            StateProj::Failed { error } => Poll::Ready(Err(error.take().expect("polled after it was ready"))),
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}
