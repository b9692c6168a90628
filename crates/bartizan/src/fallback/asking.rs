//! Asking another service, no longer than until the request's deadline.

use crate::shared::{Deadline, GrpcStatus, PreparedRefusal, Problem, Refusal, ResponseBody, is_grpc};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
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
        // Boxed with the rest of what only few requests need.
        deadline: Option<Pin<Box<Sleep>>>,
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
    pub(super) fn new(service: F, request: Request<B>, deadline: Option<Deadline>) -> Self {
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline.instant())));
        let is_grpc = is_grpc(request.headers());
        Self { step: Step::Readying { service, request: Some(request) }, deadline, is_grpc }
    }
}

impl<F, B, R> Future for Asking<F, B>
where
    F: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<ResponseBody<R>>, F::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.step.poll(cx) {
            return Poll::Ready(answer.map(|response| response.map(ResponseBody::inner)));
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Ok(too_late(*this.is_grpc).map(ResponseBody::own)))
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

/// What is answered when the deadline has passed for the fallback too.
fn too_late(is_grpc: bool) -> Response<Bytes> {
    let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("The time for this request is over.");
    let (status, message) = (GrpcStatus::DEADLINE_EXCEEDED, "the time for this request is over");
    let (mut head, ()) = Request::new(()).into_parts();
    if is_grpc {
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    }
    PreparedRefusal::new(Refusal::new("deadline"), problem, status, message).respond(&mut head, None)
}
