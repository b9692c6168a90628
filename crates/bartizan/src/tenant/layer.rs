//! How the tenant gets onto a request.

use super::{
    event::{Assurance, Event},
    gate::{Decision, Gate, Known, Missing},
    known::{Tenant, TenantSet},
    lookup::{CachedDirectory, Verdict},
    refused::Refused,
    source::Source,
};
use crate::shared::{ColdDrop, OnRefusal, ResponseBody, Said};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderName, Request, Response, Uri, request::Parts};
use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Lets requests in whose tenant is named, well-formed and known. See the [module](super).
///
/// By default a request without a tenant is refused, and **every well-formed name counts as known**: right behind
/// something that has checked it, wrong on the open internet. [`known`](Self::known) and
/// [`directory`](Self::directory) say who is known.
#[derive(Clone, Debug)]
pub struct TenantLayer {
    gate: Arc<Gate>,
}

/// Made by [`TenantLayer`].
#[derive(Clone, Debug)]
pub struct WithTenant<S> {
    inner: S,
    gate: Arc<Gate>,
}

// ===== impl TenantLayer =====

impl TenantLayer {
    /// Reads the tenant from `source`, refuses requests without one, and takes any well-formed name for known.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { gate: Arc::new(Gate::new(source)) }
    }

    /// Lets in those of a fixed set, in the place of what was said before about who is known.
    #[must_use]
    pub fn known(self, tenants: TenantSet) -> Self {
        self.with(|gate| gate.known = Known::Set(tenants))
    }

    /// Lets in whom a directory knows, in the place of what was said before about who is known.
    ///
    /// Who waits for its answer keeps nothing of the service from others. Let in, it waits for the service to be ready as any
    /// call does, which no time of ours ends: a timeout outside does.
    #[must_use]
    pub fn directory(self, directory: CachedDirectory) -> Self {
        self.with(|gate| gate.known = Known::Directory(directory))
    }

    /// Lets well-formed names in unverified while the directory is down, instead of refusing them with 503.
    ///
    /// That trades safety for availability: whoever can bring the directory down can then be any tenant. A request that
    /// was not heard because too many asked, or because its deadline passed, is refused all the same.
    #[must_use]
    pub fn admit_when_down(self) -> Self {
        self.with(|gate| gate.admits_when_down = true)
    }

    /// Takes a request that names no tenant for this one's. The default tenant is not looked up.
    #[must_use]
    pub fn default_tenant(self, tenant: impl Into<Tenant>) -> Self {
        self.with(|gate| gate.missing = Missing::Default(tenant.into()))
    }

    /// Lets a request that names no tenant in without one. What is keyed by tenant must then know what to do without.
    #[must_use]
    pub fn allow_anonymous(self) -> Self {
        self.with(|gate| gate.missing = Missing::Anonymous)
    }

    /// Sets this field of the request to the tenant that was let in, and takes it away where there is none.
    ///
    /// Without it the request goes on as it came. So name the field that services behind a gateway read, whenever the
    /// tenant may come from anywhere else: they should see who was checked, not what a stranger wrote.
    #[must_use]
    pub fn forward_as(self, name: HeaderName) -> Self {
        self.with(|gate| gate.forwarded_as = Some(name))
    }

    /// Answers refusals with this function instead of a problem document. The mark is added to whatever it makes, and
    /// `Retry-After` where the directory can't tell and it has none.
    #[must_use]
    pub fn on_refusal(self, answer: impl Fn(&Refused, &Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.with(|gate| gate.answers.instead = Some(OnRefusal::new(answer)))
    }

    /// Tells this function what happens, in the place of one told before.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.with(|gate| gate.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, set: impl FnOnce(&mut Gate)) -> Self {
        set(Arc::make_mut(&mut self.gate));
        self
    }
}

impl<S> Layer<S> for TenantLayer {
    type Service = WithTenant<S>;

    fn layer(&self, inner: S) -> WithTenant<S> {
        WithTenant { inner, gate: Arc::clone(&self.gate) }
    }
}

// ===== impl WithTenant =====

impl<S, B, B2> Service<Request<B>> for WithTenant<S>
where
    S: Service<Request<B>, Response = Response<B2>> + Clone,
{
    type Response = Response<ResponseBody<B2>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<S, B> {
        let Some(tenant) = self.gate.find(request.headers()) else { return self.call_other(request) };
        self.gate.enter(&mut request, tenant.clone(), Assurance::Known);
        ResponseFuture { state: State::Called { future: self.inner.call(request) } }
    }
}

impl<S> WithTenant<S> {
    /// What few requests come to, apart from what most do, which so is short enough to be inlined.
    #[inline(never)]
    fn call_other<B>(&mut self, mut request: Request<B>) -> ResponseFuture<S, B>
    where
        S: Service<Request<B>> + Clone,
    {
        match self.gate.decide_on(&mut request) {
            Decision::Admit { tenant, assurance, stripped } => {
                redirect(&mut request, stripped);
                self.gate.admit(&mut request, tenant, assurance);
            }
            Decision::Waive => self.gate.waive(&mut request),
            Decision::Refuse(refused) => {
                let refusal = self.gate.refuse(refused, request);
                return ResponseFuture { state: State::otherwise(Otherwise::Refused(refusal)) };
            }
            Decision::Ask { verdict, stripped } => {
                // The instance that is ready may hold a place that others wait for, and is given up. One that is not is made
                // ready when the answer has come.
                let inner = self.inner.clone();
                self.inner = inner.clone();
                let gate = Arc::clone(&self.gate);
                let asking = Box::new(Asking { verdict, stripped, gate, request, inner });
                return ResponseFuture { state: State::otherwise(Otherwise::Asking(asking)) };
            }
        }
        ResponseFuture { state: State::Called { future: self.inner.call(request) } }
    }
}

// ===== impl ResponseFuture =====

pin_project! {
    /// The response future of [`WithTenant`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Called { #[pin] future: S::Future },
        Otherwise { otherwise: ColdDrop<Otherwise<S, B>> },
    }
}

/// What few requests come to. Boxed, so that the others carry no room for it.
enum Otherwise<S, B> {
    Refused(Box<Response<Said>>),
    Asking(Box<Asking<S, B>>),
    Admitted(Box<Admitted<S, B>>),
}

/// A request that waits for the directory.
struct Asking<S, B> {
    verdict: BoxFuture<'static, Verdict>,
    stripped: Option<Box<Uri>>,
    gate: Arc<Gate>,
    request: Request<B>,
    inner: S,
}

/// A request that was let in, and waits for the service to be ready.
struct Admitted<S, B> {
    request: Request<B>,
    inner: S,
}

impl<S, B, B2> Future for ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<B2>>,
{
    type Output = Result<Response<ResponseBody<B2>>, S::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.as_mut().project().state.project() {
            StateProj::Called { future } => future.poll(cx).map_ok(|response| response.map(ResponseBody::inner)),
            StateProj::Otherwise { .. } => self.poll_other(cx),
        }
    }
}

impl<S, B, B2> ResponseFuture<S, B>
where
    S: Service<Request<B>, Response = Response<B2>>,
{
    /// What few requests come to, apart from what most do, which so is short enough to be inlined.
    #[inline(never)]
    fn poll_other(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        let mut state = self.as_mut().project().state;
        let StateProj::Otherwise { otherwise } = state.as_mut().project() else { return self.poll(cx) };
        let next = match otherwise.take().expect("polled after it was ready") {
            Otherwise::Refused(response) => return Poll::Ready(Ok(response.map(ResponseBody::said))),
            Otherwise::Asking(mut asking) => {
                let Poll::Ready(verdict) = asking.verdict.as_mut().poll(cx) else {
                    *otherwise = ColdDrop::new(Some(Otherwise::Asking(asking)));
                    return Poll::Pending;
                };
                asking.answered(verdict)
            }
            Otherwise::Admitted(mut admitted) => {
                let Poll::Ready(ready) = admitted.inner.poll_ready(cx) else {
                    *otherwise = ColdDrop::new(Some(Otherwise::Admitted(admitted)));
                    return Poll::Pending;
                };
                ready?;
                let Admitted { request, mut inner } = *admitted;
                State::Called { future: inner.call(request) }
            }
        };
        state.set(next);
        self.poll(cx)
    }
}

impl<S: Service<Request<B>>, B> State<S, B> {
    fn otherwise(otherwise: Otherwise<S, B>) -> Self {
        Self::Otherwise { otherwise: ColdDrop::new(Some(otherwise)) }
    }
}

impl<S: Service<Request<B>>, B> Asking<S, B> {
    fn answered(self, verdict: Verdict) -> State<S, B> {
        let Self { stripped, gate, mut request, inner, .. } = self;
        match gate.judge(verdict) {
            Ok((tenant, assurance)) => {
                redirect(&mut request, stripped);
                gate.admit(&mut request, tenant, assurance);
                State::otherwise(Otherwise::Admitted(Box::new(Admitted { request, inner })))
            }
            Err(refused) => State::otherwise(Otherwise::Refused(gate.refuse(refused, request))),
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for ResponseFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Takes the prefix that named the tenant from the path, where it is not kept.
fn redirect<B>(request: &mut Request<B>, stripped: Option<Box<Uri>>) {
    if let Some(uri) = stripped {
        *request.uri_mut() = *uri;
    }
}
