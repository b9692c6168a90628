//! How the deadline of a request that goes out plugs in.

use super::{
    event::Event,
    future::ResponseFuture,
    layer::{MILLIS, Observer},
    refusal::Refuse,
    time_left::going_out,
    wire,
};
use crate::shared::{Deadline, ResponseBody};
use bytes::Bytes;
use http::{HeaderName, Request, Response, request::Parts};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Tells the receiver of each request that goes out how long it has. See the [module](super).
#[derive(Clone, Debug)]
pub struct PropagateDeadlineLayer {
    notice: Arc<Notice>,
}

/// How receivers are told what is left.
#[derive(Clone)]
struct Notice {
    margin: Duration,
    millis: HeaderName,
    refuse: Refuse,
    observer: Option<Observer>,
}

/// The service of [`PropagateDeadlineLayer`].
#[derive(Clone, Debug)]
pub struct PropagateDeadline<S> {
    inner: S,
    notice: Arc<Notice>,
}

// ===== impl PropagateDeadlineLayer =====

impl PropagateDeadlineLayer {
    /// Tells what is left but for 5 ms, which we allow for the way there and back within a region; no standard has a number.
    ///
    /// A request of gRPC tells it in `grpc-timeout`, any other in `x-request-timeout-ms`. What stood in either is replaced:
    /// only the request's [`Deadline`] counts. A request without one goes out as it is.
    #[must_use]
    pub fn new() -> Self {
        let (margin, refuse) = (Duration::from_millis(5), Refuse::new());
        Self { notice: Arc::new(Notice { margin, millis: MILLIS, refuse, observer: None }) }
    }

    /// What is kept back for the way there and back, so that the answer is here before the deadline.
    #[must_use]
    pub fn margin(self, margin: Duration) -> Self {
        self.with(|notice| notice.margin = margin)
    }

    /// Names the field that tells the time in milliseconds, for requests other than gRPC's.
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.with(|notice| notice.millis = name)
    }

    /// Answers with this function when nothing is left. The mark is added to whatever it makes.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|notice| notice.refuse.by(answer))
    }

    /// Tells this function what each receiver was told.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|notice| notice.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Notice)) -> Self {
        change(Arc::make_mut(&mut self.notice));
        self
    }
}

impl Default for PropagateDeadlineLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PropagateDeadlineLayer {
    type Service = PropagateDeadline<S>;

    fn layer(&self, inner: S) -> PropagateDeadline<S> {
        PropagateDeadline { inner, notice: Arc::clone(&self.notice) }
    }
}

// ===== impl PropagateDeadline =====

impl<S, B, R> Service<Request<B>> for PropagateDeadline<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(deadline) = Deadline::of(request.extensions()) {
            match going_out(Instant::now(), deadline, self.notice.margin) {
                Ok(left) => {
                    wire::write(request.headers_mut(), &self.notice.millis, left);
                    self.notice.tell(Event::Told(left));
                }
                Err(_) => {
                    self.notice.tell(Event::Refused);
                    return ResponseFuture::refused(self.notice.refuse.answer(request));
                }
            }
        }
        ResponseFuture::called(self.inner.call(request))
    }
}

// ===== impl Notice =====

impl Notice {
    fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { margin, millis, .. } = self;
        f.debug_struct("Notice").field("margin", margin).field("header", millis).finish_non_exhaustive()
    }
}
