//! Layers that break a law each, and the same without the fault.

use super::{ProbeBody, ProbeError};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};
use tower::util::MapResponseLayer;
use tower_layer::Layer;
use tower_service::Service;

/// Numbers the responses in a header.
#[derive(Clone)]
pub(super) struct Counting {
    shared: Option<Arc<AtomicUsize>>,
    fault: bool,
}

impl Counting {
    pub(super) fn shared() -> Self {
        Self { shared: Some(Arc::default()), fault: false }
    }

    pub(super) fn per_application() -> Self {
        Self { shared: None, fault: false }
    }

    /// Takes from a 101 what it needs.
    pub(super) fn in_the_way(self) -> Self {
        Self { fault: true, ..self }
    }
}

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, count: self.shared.clone().unwrap_or_default(), fault: self.fault }
    }
}

#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    count: Arc<AtomicUsize>,
    fault: bool,
}

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<S, B, C> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<C>, Future: Send + 'static>,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Boxed<Response<C>, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let number = self.count.fetch_add(1, Relaxed);
        let future = self.inner.call(request);
        let fault = self.fault;
        Box::pin(async move {
            let mut response = future.await?;
            response.headers_mut().insert("x-number", HeaderValue::from(number));
            if fault {
                response.headers_mut().remove(http::header::UPGRADE);
            }
            Ok(response)
        })
    }
}

/// Waits for the service when it has seen the request, as one does that has answers of its own.
#[derive(Clone)]
pub(super) struct Late;

impl<S> Layer<S> for Late {
    type Service = LateService<S>;

    fn layer(&self, inner: S) -> LateService<S> {
        LateService(inner)
    }
}

#[derive(Clone)]
pub(super) struct LateService<S>(S);

impl<S, B> Service<Request<B>> for LateService<S>
where
    S: Service<Request<B>, Future: Send, Error: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Boxed<S::Response, S::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request).await
        })
    }
}

/// Calls a fresh clone, or without having asked.
#[derive(Clone)]
pub(super) struct Hasty {
    pub(super) asks: bool,
}

impl<S> Layer<S> for Hasty {
    type Service = HastyService<S>;

    fn layer(&self, inner: S) -> HastyService<S> {
        HastyService { inner, asks: self.asks }
    }
}

#[derive(Clone)]
pub(super) struct HastyService<S> {
    inner: S,
    asks: bool,
}

impl<S: Service<Request<ProbeBody>> + Clone> Service<Request<ProbeBody>> for HastyService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.asks { self.inner.poll_ready(cx) } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, request: Request<ProbeBody>) -> S::Future {
        if self.asks { self.inner.clone().call(request) } else { self.inner.call(request) }
    }
}

/// Counts the requests in flight: rightly, or with one fault.
#[derive(Clone)]
pub(super) struct InFlight {
    pub(super) count: Arc<AtomicUsize>,
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    TakesWhenReady,
    CountsDownAfterAwait,
    ReleasesAtTheHeaders,
    ReleasesOnlyAtTheEnd,
    ReleasesOnlyOnDrop,
}

#[derive(Clone)]
pub(super) struct InFlightService<S> {
    inner: S,
    layer: InFlight,
}

struct Permit {
    count: Arc<AtomicUsize>,
    leaks: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.leaks {
            self.count.fetch_sub(1, Relaxed);
        }
    }
}

impl<S> Layer<S> for InFlight {
    type Service = InFlightService<S>;

    fn layer(&self, inner: S) -> InFlightService<S> {
        InFlightService { inner, layer: self.clone() }
    }
}

impl<S, B, C> Service<Request<B>> for InFlightService<S>
where
    S: Service<Request<B>, Response = Response<C>, Future: Send + 'static>,
    C: Body,
{
    type Response = Response<HeldBody<C>>;
    type Error = S::Error;
    type Future = Boxed<Self::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let ready = self.inner.poll_ready(cx);
        if ready.is_ready() && self.layer.fault == Some(Fault::TakesWhenReady) {
            self.layer.count.fetch_add(1, Relaxed);
        }
        ready
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let InFlight { count, fault } = self.layer.clone();
        let inner = self.inner.call(request);
        if fault != Some(Fault::TakesWhenReady) {
            count.fetch_add(1, Relaxed);
        }
        let leaks = fault == Some(Fault::CountsDownAfterAwait);
        let mut permit = Permit { count, leaks };
        Box::pin(async move {
            let response = inner.await?;
            permit.leaks = fault == Some(Fault::ReleasesOnlyAtTheEnd);
            let mut permit = Some(permit);
            if fault == Some(Fault::ReleasesAtTheHeaders) || response.body().is_end_stream() {
                permit = None;
            }
            Ok(response.map(|inner| HeldBody { inner, permit, fault }))
        })
    }
}

pin_project! {
    pub(super) struct HeldBody<B> {
        #[pin]
        inner: B,
        permit: Option<Permit>,
        fault: Option<Fault>,
    }
}

impl<B: Body> Body for HeldBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = std::task::ready!(this.inner.as_mut().poll_frame(cx));
        let over = !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream();
        if over && *this.fault != Some(Fault::ReleasesOnlyOnDrop) {
            if let Some(permit) = this.permit {
                permit.leaks = false;
            }
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What somebody does to a future or a body.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Meddling {
    Spins,
    IsDeaf,
    SwallowsTrailers,
    ForgetsSizeHint,
    ForgetsIsEndStream,
}

pub(super) async fn meddled<F: Future>(future: F, how: Meddling) -> F::Output {
    let mut future = Box::pin(future);
    std::future::poll_fn(|cx| how.poll(cx, |cx| future.as_mut().poll(cx))).await
}

pub(super) fn body_meddled(
    how: Meddling,
) -> MapResponseLayer<impl Fn(Response<ProbeBody>) -> Response<MeddledBody> + Clone> {
    MapResponseLayer::new(move |response: Response<ProbeBody>| response.map(|inner| MeddledBody { inner, how }))
}

impl Meddling {
    fn poll<T>(self, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        if self == Self::IsDeaf {
            return poll(&mut Context::from_waker(Waker::noop()));
        }
        let polled = poll(cx);
        if self == Self::Spins && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

pub(super) struct MeddledBody {
    pub(super) inner: ProbeBody,
    pub(super) how: Meddling,
}

impl Body for MeddledBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        let how = self.how;
        let frame = how.poll(cx, |cx| Pin::new(&mut self.inner).poll_frame(cx));
        match frame {
            Poll::Ready(Some(Ok(frame))) if how == Meddling::SwallowsTrailers && frame.is_trailers() => {
                Poll::Ready(None)
            }
            frame => frame,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.how != Meddling::ForgetsIsEndStream && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.how == Meddling::ForgetsSizeHint { SizeHint::default() } else { self.inner.size_hint() }
    }
}
