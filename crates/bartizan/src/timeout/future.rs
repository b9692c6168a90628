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
        // `None` if the service is not, or no longer, at work.
        #[pin]
        inner: Option<F>,
        // Made when somebody has to wait. Before that, no timer wheel is touched.
        #[pin]
        sleep: Option<Sleep>,
        time: Time,
        is_grpc: bool,
        policy: Arc<Policy>,
    }
}

/// How much time there is.
#[derive(Clone, Copy)]
pub(super) enum Time {
    /// It is counted from when somebody has to wait, so that no clock is read before.
    Limit {
        limit: Duration,
        deadline: Option<Deadline>,
    },
    Until(Due),
}

// ===== impl ResponseFuture =====

impl<F> ResponseFuture<F> {
    #[inline]
    pub(super) fn called(inner: F, time: Time, is_grpc: bool, policy: Arc<Policy>) -> Self {
        Self { inner: Some(inner), sleep: None, time, is_grpc, policy }
    }

    pub(super) fn over(due: Due, is_grpc: bool, policy: Arc<Policy>) -> Self {
        Self { inner: None, sleep: None, time: Time::Until(due), is_grpc, policy }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // An answer that is there is handed over, however late it is.
        if let Some(inner) = self.as_mut().project().inner.as_pin_mut()
            && let Poll::Ready(answer) = inner.poll(cx)
        {
            return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
        }
        let refused = ready!(self.as_mut().wait(cx));
        Poll::Ready(Ok(self.policy.refuse(refused, self.is_grpc).map(ResponseBody::said)))
    }
}

impl<F> ResponseFuture<F> {
    // Kept apart, and told in little, so that an answer that is there at once does not pay for the room that a timer needs.
    #[inline(never)]
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Refused> {
        let mut this = self.project();
        let due = this.time.due();
        if this.inner.is_some() {
            ready!(poll_sleep(this.sleep.as_mut(), due.at, cx));
        }
        // What the service holds is let go before the answer is on its way.
        this.inner.set(None);
        Poll::Ready(due.refused)
    }
}

/// Whether the time is over. The service may use up all that tokio lets a task do at once, and then no poll tells: so a
/// new timer is set before it is polled, and one that has rung is seen without a poll.
fn poll_sleep(mut sleep: Pin<&mut Option<Sleep>>, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let is_new = sleep.is_none();
    if is_new {
        sleep.set(Some(sleep_until(until)));
    }
    let mut sleep = sleep.as_pin_mut().expect("it was made before, or just now");
    if is_new {
        sleep.as_mut().reset(until);
    }
    if sleep.is_elapsed() { Poll::Ready(()) } else { sleep.poll(cx) }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

// ===== impl Time =====

impl Time {
    /// When it is over. What was not counted yet is counted from now.
    #[inline(always)]
    fn due(&mut self) -> Due {
        let due = match *self {
            Self::Limit { limit, deadline } => Due::new(Instant::now(), limit, limit, deadline),
            Self::Until(due) => due,
        };
        *self = Self::Until(due);
        due
    }
}
