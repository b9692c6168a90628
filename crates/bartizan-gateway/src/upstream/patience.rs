//! The time for a request whose body comes at the pace of a client: that in which it is for the service to go on.

use crate::upload::{Allowance, Upload};
use bartizan::{
    Deadline, Refusal, ResponseBody, speaks_grpc,
    timeout::{Refused, TimeoutLayer},
};
use futures_util::future::BoxFuture;
use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::Instant;
use tower_service::Service;

/// Gives up when it has been for the service to go on for so long: to take more of the body, or to answer when it has
/// all of it. No endpoint is to blame for the time that a client takes, and none that hangs shall hide behind it.
///
/// Requests that come in one piece pass, and so does another attempt when all of the body is here: their time is the
/// timeout that stands beside this.
#[derive(Clone)]
pub(super) struct Patience<S> {
    inner: S,
    of: Of,
    limit: Duration,
    timeout: TimeoutLayer,
}

/// Of what it is the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    All,
    Attempt,
}

pin_project! {
    /// Waits for the service, or until it has had its time.
    pub(super) struct Waiting<F> {
        #[pin]
        state: State<F>,
        ours: Option<Ours>,
    }
}

/// An answer of ours, where there may be one.
struct Ours {
    timeout: TimeoutLayer,
    limit: Duration,
    is_grpc: bool,
    is_limit_first: bool,
    /// Boxed: few requests have a body that comes in pieces.
    over: Option<BoxFuture<'static, ()>>,
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
    /// Refuses as `timeout` does, which stands beside it.
    pub(super) fn new(inner: S, of: Of, limit: Duration, timeout: TimeoutLayer) -> Self {
        Self { inner, of, limit, timeout }
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let limit = self.limit;
        let extensions = request.extensions_mut();
        let mut upload = Upload::under_way(extensions).cloned();
        let is_limit_first = self.of == Of::All && is_first(limit, extensions, upload.is_some());
        let allowance = upload.as_ref().map(|_| Allowance::of(limit));
        if let Some(upload) = &mut upload {
            match self.of {
                Of::All => {
                    (upload.deadline, upload.allowance) = (Deadline::of(extensions), allowance);
                    extensions.insert(upload.clone());
                }
                Of::Attempt => {
                    upload.ask();
                    // What stands there now is what a client may take, which nobody shall think that he has to work in.
                    match upload.deadline {
                        Some(deadline) => _ = extensions.insert(deadline),
                        None => _ = extensions.remove::<Deadline>(),
                    }
                }
            }
        }
        let over = upload.zip(allowance);
        let over = over.map(|(upload, time)| -> BoxFuture<'static, ()> { Box::pin(upload.waits_for_service(time)) });
        let ours = (is_limit_first || over.is_some()).then(|| {
            let (timeout, is_grpc) = (self.timeout.clone(), speaks_grpc(&request));
            Ours { timeout, limit, is_grpc, is_limit_first, over }
        });
        Waiting { state: State::Called { answer: self.inner.call(request) }, ours }
    }
}

/// Whether the limit passes before the deadline that the request came with, if it has one.
fn is_first(limit: Duration, extensions: &Extensions, is_upload: bool) -> bool {
    let Some(deadline) = Deadline::of(extensions) else { return true };
    !is_upload && Instant::now().checked_add(limit).is_some_and(|over| over < deadline.instant())
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
            return Poll::Ready(answer.map(|answer| match this.ours {
                // Further in our limit is the deadline, and an attempt for which it leaves nothing calls it so.
                Some(ours) if ours.is_limit_first && is_refused_by_deadline(&answer) => ours.refuse(),
                _ => answer.map(ResponseBody::inner),
            }));
        }
        let Some(ours) = this.ours else { return Poll::Pending };
        let Some(over) = &mut ours.over else { return Poll::Pending };
        ready!(over.as_mut().poll(cx));
        // What the endpoint holds is let go before the answer is on its way.
        this.state.set(State::Over);
        Poll::Ready(Ok(ours.refuse()))
    }
}

impl<F> fmt::Debug for Waiting<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

// ===== impl Ours =====

impl Ours {
    fn refuse<R>(&self) -> Response<ResponseBody<R>> {
        self.timeout.refuse(Refused::Timeout(self.limit), self.is_grpc)
    }
}

/// Whether a layer further in has refused because the deadline was over.
fn is_refused_by_deadline<R>(answer: &Response<R>) -> bool {
    answer.extensions().get::<Refusal>().is_some_and(|refusal| refusal.error_type() == "deadline")
}
