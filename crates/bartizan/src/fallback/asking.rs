//! Asking another service, no longer than until the request's deadline.

use crate::shared::{Deadline, GrpcStatus, PreparedRefusal, Problem, Refusal, ResponseBody, Said};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep_until};
use tower_service::Service;

pin_project! {
    /// The answer of the service that a fallback asks.
    pub struct Asking<F, B>
    where
        F: Service<Request<B>>,
    {
        #[pin]
        step: Step<F, B, F::Future>,
        // Until somebody has to wait.
        deadline: Option<Deadline>,
        // Boxed, as only few requests need it.
        timer: Option<Pin<Box<Sleep>>>,
        is_grpc: bool,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<F, B, Fut> {
        /// A clone is never ready: it has to be asked first.
        Readying { service: F, request: Option<Request<B>> },
        Called { #[pin] future: Fut },
    }
}

// ===== impl Asking =====

impl<F, B> Asking<F, B>
where
    F: Service<Request<B>>,
{
    pub(super) fn new(service: F, request: Request<B>, deadline: Option<Deadline>, is_grpc: bool) -> Self {
        let step = Step::Readying { service, request: Some(request) };
        Self { step, deadline, timer: None, is_grpc }
    }
}

impl<F, B, R> Future for Asking<F, B>
where
    F: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, F::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Once it ticks, the timer comes first: a service that uses up the task's budget would leave it none.
        if is_over(this.timer, cx) {
            return Poll::Ready(Ok(too_late(*this.is_grpc).map(ResponseBody::said)));
        }
        if let Poll::Ready(answer) = this.step.poll(cx) {
            return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
        }
        let Some(deadline) = this.deadline.take() else { return Poll::Pending };
        *this.timer = Some(Box::pin(sleep_until(deadline.instant())));
        if !is_over(this.timer, cx) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(too_late(*this.is_grpc).map(ResponseBody::said)))
    }
}

impl<F, B> fmt::Debug for Asking<F, B>
where
    F: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

// ===== impl Step =====

impl<F, B> Step<F, B, F::Future>
where
    F: Service<Request<B>>,
{
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Response, F::Error>> {
        loop {
            let future = match self.as_mut().project() {
                StepProj::Readying { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    service.call(request.take().expect("a service is called once"))
                }
                StepProj::Called { future } => return future.poll(cx),
            };
            self.set(Self::Called { future });
        }
    }
}

fn is_over(timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> bool {
    timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
}

/// What is answered when the deadline has passed for the fallback too.
fn too_late(is_grpc: bool) -> Response<Said> {
    let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("The time for this request is over.");
    let (status, message) = (GrpcStatus::DEADLINE_EXCEEDED, "the time for this request is over");
    PreparedRefusal::new(Refusal::new("deadline"), problem, status, message).respond_late(is_grpc)
}
