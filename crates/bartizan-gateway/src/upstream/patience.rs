//! The time for an attempt whose body comes at the pace of a client: from the last byte of it.

use crate::upload::Upload;
use bartizan::{Problem, Refusal, ResponseBody, timeout};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::sleep;
use tower_service::Service;

/// Gives an attempt up when its endpoint has had all of the body for so long, and has not answered. No endpoint is to
/// blame for the time that a client takes, and none that hangs shall hide behind it.
///
/// Requests that come in one piece pass: their time is the attempt's timeout.
#[derive(Clone)]
pub(super) struct Patience<S> {
    inner: S,
    limit: Duration,
    observe: Option<Arc<Observe>>,
}

pub(super) type Observe = dyn Fn(&timeout::Event) + Send + Sync;

pin_project! {
    /// Waits for the endpoint, or until it has had its time.
    pub(super) struct Waiting<F> {
        #[pin]
        state: State<F>,
        // Boxed: few requests have a body that comes in pieces.
        over: Option<BoxFuture<'static, ()>>,
        limit: Duration,
        observe: Option<Arc<Observe>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] answer: F },
        Over,
    }
}

// ===== impl Patience =====

impl<S> Patience<S> {
    pub(super) fn new(inner: S, limit: Duration, observe: Option<Arc<Observe>>) -> Self {
        Self { inner, limit, observe }
    }
}

impl<S, B, R> Service<Request<B>> for Patience<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = Waiting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limit = self.limit;
        let over = request.extensions().get::<Upload>().cloned().map(|upload| {
            let over: BoxFuture<'static, ()> = Box::pin(async move {
                upload.handed_over().await;
                sleep(limit).await;
            });
            over
        });
        let observe = over.as_ref().and(self.observe.clone());
        Waiting { state: State::Called { answer: self.inner.call(request) }, over, limit, observe }
    }
}

// ===== impl Waiting =====

impl<F, R, E> Future for Waiting<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StateProj::Called { answer } = this.state.as_mut().project()
            && let Poll::Ready(answer) = answer.poll(cx)
        {
            return Poll::Ready(answer.map(|answer| answer.map(ResponseBody::inner)));
        }
        let Some(over) = this.over else { return Poll::Pending };
        ready!(over.as_mut().poll(cx));
        // What the endpoint holds is let go before the answer is on its way.
        this.state.set(State::Over);
        if let Some(observe) = this.observe {
            observe(&timeout::Event::Refused(timeout::Refused::Timeout(*this.limit)));
        }
        Poll::Ready(Ok(too_slow().map(ResponseBody::own)))
    }
}

impl<F> fmt::Debug for Waiting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

/// In the words of the attempt's timeout.
fn too_slow() -> Response<Bytes> {
    let refusal = Refusal::new("timeout");
    let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT).detail("The service did not answer in time.");
    let mut response = problem.member("code", refusal.error_type()).to_response(&HeaderMap::new());
    response.extensions_mut().insert(refusal);
    response
}
