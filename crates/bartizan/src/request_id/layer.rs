//! How the request id plugs in.

use super::uuid_v7::uuid_v7;
use crate::shared::{Context, RequestId, Single, TrustedProxies, single, with_head};
use http::{HeaderName, HeaderValue, Request, Response, request};
use pin_project_lite::pin_project;
use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};
use tower_layer::Layer;
use tower_service::Service;

/// Gives each request an id. See the [module](super).
#[derive(Clone)]
pub struct RequestIdLayer {
    policy: Arc<Policy>,
}

#[derive(Clone)]
struct Policy {
    header: HeaderName,
    trust: Trust,
    generate_by: Option<Generate>,
    observer: Option<Observer>,
}

#[derive(Clone, Debug)]
enum Trust {
    Never,
    From(TrustedProxies),
    Always,
}

type Generate = Arc<dyn Fn(&request::Parts) -> Option<RequestId> + Send + Sync>;
type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// Where the id of a request came from. The id itself is not told: a rejected one may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// No id came, or its sender is not trusted: a new one was made.
    Generated,
    /// The id of a trusted sender was kept.
    Accepted,
    /// A trusted sender sent what is not an id: a new one was made.
    Rejected(Why),
}

/// Why an id that came with a request was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is empty, longer than 128 bytes, or has a byte that no id has.
    Malformed,
    /// The field came on several lines.
    Several,
}

/// The service that [`RequestIdLayer`] makes.
#[derive(Clone)]
pub struct RequestIds<S> {
    inner: S,
    policy: Arc<Policy>,
}

pin_project! {
    /// The future of [`RequestIds`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // What the response is told: taken when it comes.
        field: Option<(HeaderName, HeaderValue)>,
    }
}

// ===== impl RequestIdLayer =====

impl RequestIdLayer {
    /// A UUID of version 7 for each request, in `x-request-id`; no id that comes with a request is believed.
    #[must_use]
    pub fn new() -> Self {
        let header = HeaderName::from_static("x-request-id");
        Self { policy: Arc::new(Policy { header, trust: Trust::Never, generate_by: None, observer: None }) }
    }

    /// Names the field of the request and of the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.policy_mut().header = name;
        self
    }

    /// Keeps the id of a request whose peer is one of these proxies.
    #[must_use]
    pub fn trust(mut self, proxies: TrustedProxies) -> Self {
        self.policy_mut().trust = Trust::From(proxies);
        self
    }

    /// Keeps the id of every request: for a service that only other services of yours can reach.
    #[must_use]
    pub fn trust_everybody(mut self) -> Self {
        self.policy_mut().trust = Trust::Always;
        self
    }

    /// Makes new ids with this function. Where it gives none, the id is a UUID of version 7.
    ///
    /// ```
    /// use bartizan::{RequestId, request_id::RequestIdLayer};
    ///
    /// let from_the_load_balancer = RequestIdLayer::new()
    ///     .generate_by(|head| RequestId::new(head.headers.get("x-amzn-trace-id")?.clone()));
    /// ```
    #[must_use]
    pub fn generate_by(
        mut self,
        generate: impl Fn(&request::Parts) -> Option<RequestId> + Send + Sync + 'static,
    ) -> Self {
        self.policy_mut().generate_by = Some(Arc::new(generate));
        self
    }

    /// Tells this function where each id came from.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.policy_mut().observer = Some(Arc::new(observer));
        self
    }

    fn policy_mut(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }
}

impl Default for RequestIdLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RequestIdLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Policy { header, trust, .. } = &*self.policy;
        f.debug_struct("RequestIdLayer").field("header", header).field("trust", trust).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RequestIdLayer {
    type Service = RequestIds<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestIds { inner, policy: Arc::clone(&self.policy) }
    }
}

// ===== impl Policy =====

impl Policy {
    fn trusts_sender_of(&self, head: &request::Parts) -> bool {
        match &self.trust {
            Trust::Never => false,
            Trust::From(proxies) => proxies.trusts_peer_of(head),
            Trust::Always => true,
        }
    }

    /// Whether the head of the request has a say. By default it has none.
    fn reads_heads(&self) -> bool {
        !matches!(self.trust, Trust::Never) || self.generate_by.is_some()
    }

    /// The id that the request has from a layer further out, or the one that it gets here.
    fn id_of(&self, head: &mut request::Parts) -> RequestId {
        if let Some(id) = RequestId::of(&head.extensions) {
            return id.clone();
        }
        let id = self.decide(head);
        Context::of_mut(&mut head.extensions).id = Some(id.clone());
        id
    }

    fn decide(&self, head: &request::Parts) -> RequestId {
        let (event, id) = match self.incoming(head) {
            Ok(Some(id)) => (Event::Accepted, Some(id)),
            Ok(None) => (Event::Generated, None),
            Err(why) => (Event::Rejected(why), None),
        };
        self.tell(event);
        id.or_else(|| self.generate_by.as_ref()?(head)).unwrap_or_else(uuid_v7)
    }

    fn generate(&self) -> RequestId {
        self.tell(Event::Generated);
        uuid_v7()
    }

    fn incoming(&self, head: &request::Parts) -> Result<Option<RequestId>, Why> {
        if !self.trusts_sender_of(head) {
            return Ok(None);
        }
        match single(&head.headers, &self.header) {
            Single::Absent => Ok(None),
            Single::One(value) => RequestId::new(value.clone()).map(Some).ok_or(Why::Malformed),
            Single::Several => Err(Why::Several),
        }
    }

    fn tell(&self, event: Event) {
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        if let Event::Rejected(why) = event {
            tracing::debug!(request_id.rejected = true, ?why, "a request id from a trusted sender was replaced");
        }
    }
}

// ===== impl RequestIds =====

impl<S, B, R> Service<Request<B>> for RequestIds<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = if self.policy.reads_heads() {
            with_head(&mut request, |head| self.policy.id_of(head))
        } else {
            Context::of_mut(request.extensions_mut()).id.get_or_insert_with(|| self.policy.generate()).clone()
        };
        let id = id.into_header_value();
        request.headers_mut().insert(&self.policy.header, id.clone());
        let field = Some((self.policy.header.clone(), id));
        ResponseFuture { inner: self.inner.call(request), field }
    }
}

impl<S: fmt::Debug> fmt::Debug for RequestIds<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIds").field("inner", &self.inner).finish_non_exhaustive()
    }
}

// ===== impl ResponseFuture =====

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The response is told its id where it lies: it is large, and each move would copy it.
        let mut polled = this.inner.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut polled
            && let Some((header, id)) = this.field.take()
        {
            // Whatever the service has put there, one id is told, and it is the one that we log.
            response.headers_mut().insert(header, id);
        }
        polled
    }
}
