//! How faults plug in.

use super::{
    body::FaultyBody,
    faults::Faults,
    kinds::Fault,
    strike::{Instead, Strike},
};
use crate::shared::with_head;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

/// Lets things go wrong as [`Faults`] says. See the [module](super).
#[derive(Clone)]
pub struct FaultLayer {
    faults: Faults,
    /// Boxed, as hardly anybody asks for these.
    telling: Option<Arc<Telling>>,
}

#[derive(Clone, Default)]
struct Telling {
    field: Option<HeaderName>,
    observer: Option<Observer>,
}

type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// What the layer does, for [`FaultLayer::observe`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A fault strikes a request. One that several strike is told several times.
    Struck(&'a Fault),
}

/// The service that [`FaultLayer`] makes.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    layer: FaultLayer,
}

pin_project! {
    /// The future of [`Faulty`].
    pub struct ResponseFuture<F, R, E> {
        #[pin]
        state: State<F, R, E>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, R, E> {
        /// The service is at work, as it mostly is: nothing else takes room here.
        Calling { #[pin] future: F },
        Harmed { harmed: Pin<Box<Harmed<F, R, E>>> },
    }
}

pin_project! {
    /// A request that a fault has struck: the service is at work, or there is an answer whose time has not come.
    struct Harmed<F, R, E> {
        #[pin]
        future: Option<F>,
        struck: Struck,
        #[pin]
        sleep: Option<Sleep>,
        answer: Option<Result<Response<FaultyBody<R>>, E>>,
    }
}

/// What befalls a request, and what its answer says of it.
struct Struck {
    strike: Strike,
    told: Option<(HeaderName, HeaderValue)>,
}

// ===== impl FaultLayer =====

impl FaultLayer {
    /// Does what `faults` says. Nothing tells a client that a fault was injected.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { faults, telling: None }
    }

    /// Names the faults that struck a request in this field of its response, such as `x-fault: latency, status`.
    #[must_use]
    pub fn told_in(self, field: HeaderName) -> Self {
        self.with(|telling| telling.field = Some(field))
    }

    /// Tells `observe` each fault that strikes a request. Called in the middle of the request: be quick.
    #[must_use]
    pub fn observe(self, observe: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with(|telling| telling.observer = Some(Arc::new(observe)))
    }

    fn with(mut self, change: impl FnOnce(&mut Telling)) -> Self {
        change(Arc::make_mut(self.telling.get_or_insert_default()));
        self
    }

    #[cold]
    fn strike<B>(&self, request: &mut Request<B>) -> Option<Struck> {
        let telling = self.telling.as_deref();
        let mut names = String::new();
        let strike = with_head(request, |head| {
            self.faults.strike(head, |fault| {
                if let Some(observer) = telling.and_then(|telling| telling.observer.as_ref()) {
                    observer(&Event::Struck(fault));
                }
                if !names.is_empty() {
                    names.push_str(", ");
                }
                names.push_str(fault.name());
            })
        })?;
        let field = telling.and_then(|telling| telling.field.clone());
        let told = field.and_then(|field| Some((field, HeaderValue::try_from(names).ok()?)));
        Some(Struck { strike, told })
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, layer: self.clone() }
    }
}

impl fmt::Debug for FaultLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLayer").field("faults", &self.faults).finish_non_exhaustive()
    }
}

// ===== impl Faulty =====

impl<S, B, R> Service<Request<B>> for Faulty<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<FaultyBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.layer.faults.may_be_on()
            && let Some(struck) = self.layer.strike(&mut request)
        {
            let future = struck.strike.instead.is_none().then(|| self.inner.call(request));
            return ResponseFuture { state: State::Harmed { harmed: Box::pin(struck.harm(future)) } };
        }
        ResponseFuture { state: State::Calling { future: self.inner.call(request) } }
    }
}

// ===== impl ResponseFuture =====

impl<F, R, E> Future for ResponseFuture<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<FaultyBody<R>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling { future } => match future.poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok(response.map(FaultyBody::whole))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            },
            StateProj::Harmed { harmed } => harmed.as_mut().poll(cx),
        }
    }
}

impl<F, R, E> Future for Harmed<F, R, E>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<FaultyBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            let answer = ready!(future.poll(cx));
            this.future.set(None);
            this.sleep.set(this.struck.latency());
            *this.answer = Some(answer.map(|response| this.struck.harmed(response)));
        }
        if let Some(sleep) = this.sleep.as_pin_mut() {
            ready!(sleep.poll(cx));
        }
        Poll::Ready(this.answer.take().expect("polled after it was ready"))
    }
}

impl<F, R, E> fmt::Debug for ResponseFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

// ===== impl Struck =====

impl Struck {
    /// Without the service's future there is an answer already.
    fn harm<F, R, E>(mut self, future: Option<F>) -> Harmed<F, R, E> {
        if future.is_some() {
            return Harmed { future, struck: self, sleep: None, answer: None };
        }
        let (sleep, answer) = (self.latency(), Ok(self.answer()));
        Harmed { future, struck: self, sleep, answer: Some(answer) }
    }

    fn latency(&self) -> Option<Sleep> {
        Some(self.strike.latency).filter(|latency| !latency.is_zero()).map(sleep)
    }

    /// The answer instead of the service's.
    fn answer<R>(&mut self) -> Response<FaultyBody<R>> {
        let mut response = Response::new(FaultyBody::empty());
        match self.strike.instead {
            Some(Instead::Status(status)) => *response.status_mut() = status,
            Some(Instead::Grpc(code)) => {
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            }
            Some(Instead::Reset) | None => {
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                *response.body_mut() = FaultyBody::broken();
            }
        }
        self.tell(&mut response);
        response
    }

    /// The answer of the service, harmed.
    fn harmed<R>(&mut self, response: Response<R>) -> Response<FaultyBody<R>> {
        let Strike { truncated, bandwidth, .. } = self.strike;
        let mut response = response.map(|body| FaultyBody::harmed(body, truncated, bandwidth));
        self.tell(&mut response);
        response
    }

    fn tell<R>(&mut self, response: &mut Response<R>) {
        if let Some((field, names)) = self.told.take() {
            response.headers_mut().insert(field, names);
        }
    }
}
