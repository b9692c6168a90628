//! The answer of the service, or ours when it comes too late.

use super::{
    due::{Due, Refused},
    policy::Policy,
};
use crate::shared::{Deadline, ResponseBody};
use http::Response;
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    #[project = ResponseFutureProj]
    /// The future of [`Timeout`](super::Timeout).
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        is_grpc: bool,
        policy: Arc<Policy>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] inner: F, #[pin] timer: Timer },
        /// The service is not, or no longer, at work.
        Over { refused: Refused },
    }
}

pin_project! {
    /// Touches no clock and no timer wheel before somebody has to wait.
    #[project = TimerProj]
    pub(super) enum Timer {
        Idle { limit: Duration, deadline: Option<Deadline> },
        Due { due: Due },
        Ticking { #[pin] sleep: Sleep, refused: Refused },
    }
}

// ===== impl ResponseFuture =====

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn called(inner: F, timer: Timer, is_grpc: bool, policy: Arc<Policy>) -> Self {
        Self { state: State::Called { inner, timer }, is_grpc, policy }
    }

    pub(super) fn over(refused: Refused, is_grpc: bool, policy: Arc<Policy>) -> Self {
        Self { state: State::Over { refused }, is_grpc, policy }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let StateProj::Called { inner, timer } = self.as_mut().project().state.project() {
            // The timer is looked at before the service, which may use up all that tokio lets a task do at once; but an
            // answer that is there is handed over, however late it is.
            let rung = timer.poll_ticking(cx);
            if let Poll::Ready(answer) = inner.poll(cx) {
                return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
            }
            if let Some(rung) = rung {
                return rung.map(|refused| Ok(self.project().give_up(refused)));
            }
        }
        self.wait(cx)
    }
}

impl<F, R, E> ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    // Kept apart, so that an answer that is there at once does not pay for the room that a timer needs.
    #[inline(never)]
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut this = self.project();
        let refused = match this.state.as_mut().project() {
            StateProj::Called { timer, .. } => ready!(timer.poll(cx)),
            StateProj::Over { refused } => *refused,
        };
        Poll::Ready(Ok(this.give_up(refused)))
    }
}

impl<F> ResponseFutureProj<'_, F> {
    #[cold]
    fn give_up<R>(&mut self, refused: Refused) -> Response<ResponseBody<R>> {
        // What the service holds is let go before the answer is on its way.
        self.state.set(State::Over { refused });
        self.policy.refuse(refused, *self.is_grpc).map(ResponseBody::own)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// ===== impl Timer =====

impl Timer {
    /// `None` if nobody has had to wait yet.
    #[inline]
    fn poll_ticking(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<Poll<Refused>> {
        match self.project() {
            TimerProj::Ticking { sleep, refused } => Some(sleep.poll(cx).map(|()| *refused)),
            TimerProj::Idle { .. } | TimerProj::Due { .. } => None,
        }
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Refused> {
        loop {
            let due = match self.as_mut().project() {
                TimerProj::Idle { limit, deadline } => Due::new(Instant::now(), *limit, *limit, *deadline),
                TimerProj::Due { due } => *due,
                TimerProj::Ticking { sleep, refused } => return sleep.poll(cx).map(|()| *refused),
            };
            self.set(Self::Ticking { sleep: sleep_until(due.at), refused: due.refused });
        }
    }
}
