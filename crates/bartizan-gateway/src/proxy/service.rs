//! The proxy as a service.

use super::{
    fields::{Forwarding, Via, add_upgrade, has_unknown_coding, wanted_upgrade},
    front::FrontLayer,
    how::{How, pass_interim},
    instead::{failed, is_problem_of_ours, stack_says},
    target::{ProxyError, Target},
    tunnel::Switch,
    watch::UpstreamWatch,
};
use crate::{
    Attempts, Cause, HttpService, Interim,
    carry::Carry,
    problem::problem,
    upload::{Upload, stalls},
};
use axum::{BoxError, body::Body};
use bartizan::{Deadline, Flag, Notes, ResponseBody, TrustedProxies};
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Either, select},
};
use http::{Extensions, HeaderName, Request, Response, StatusCode, header, request, uri};
use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::poll_fn,
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

/// A reverse proxy: sends each request on to one service and streams the answer back.
///
/// Bodies and trailers stream both ways; nothing is held but the bytes that are on their way. The path and the query
/// stay as the client wrote them, after the path of the service's own URL; a path with `.` or `..` in it, in any of the
/// spellings that some server resolves (`%2e`, `..%2f`, `..;`, `..\`), might lead out of there and is refused with 400.
/// What is meant for one connection only is dropped (RFC 9110 §7.6.1), and with it what `Connection` names, except the
/// forwarding fields, `Via`, the trace, the request id and what is to be [kept](Self::keep). `Via` is added. The
/// `x-request-id` is that of the request's extensions, if there is one. Everything else (`Range`, `If-Match`, `Expect`,
/// `HEAD` and so on) passes as it is, in the order of its lines; only the pieces of a `Cookie` over HTTP/2 become one line
/// (RFC 9113 §8.2.3). Interim responses such as `103` pass where the request has an [`Interim`] in its extensions, as
/// [`serve()`](crate::serve()) puts there, and the service speaks HTTP/1.1: hyper tells of none in HTTP/2. An `Upgrade` is
/// not passed on unless [told](Self::upgrades), so the service answers as if it had not been asked for; `CONNECT`,
/// `OPTIONS *` and transfer codings other than `chunked` are refused with 501.
///
/// What the client claims about itself is dropped: `Forwarded`, every field that begins with `X-Forwarded-`, `X-Real-IP`,
/// `True-Client-IP`, `X-Client-IP`, `X-Cluster-Client-IP`, `X-Original-URL` and `X-Rewrite-URL`, with `_` for `-` too; and
/// which attempt it is (`X-Retry-Attempt`, `X-Envoy-Attempt-Count`, `grpc-previous-rpc-attempts`). What
/// the proxy knows itself takes its place, see [`forwarding`](Self::forwarding). A [`trusted`](Self::trusted) proxy is
/// carried on, in the family that is written: either `Forwarded` or the others, and never with a `_`.
///
/// How long the client waits is dropped as well: `x-request-timeout-ms`, unless a trusted proxy says it; and `grpc-timeout`,
/// except from a call of gRPC, where it passes as any other field. To have it checked and kept, put a
/// [`DeadlineLayer`](bartizan::deadline::DeadlineLayer) in front, which takes both; an [`Upstream`](crate::Upstream) tells
/// its endpoints what is left in any case.
///
/// In front of an [`Upstream`](crate::Upstream) the host of the service's own URL is its name, or any other: the endpoint
/// takes its place. A body that is too long to be kept streams through, and is then sent once. The time
/// for an attempt begins when all of the body has been taken, so that no endpoint is blamed for a slow client.
///
/// A service that can't be reached, or breaks off before the head of its answer, is a 502; one that is too slow a 504;
/// both as `application/problem+json`, and so is what a layer in front of it refuses. The `code` says why, and `attempts`
/// how often it was tried, if more than once. If it breaks off later, so does the answer. An upload that the client breaks off
/// is not the service's fault: it is logged as `DC`; one that is no valid body is a 400.
///
/// ```
/// use axum::{Router, routing::get_service};
/// use bartizan_gateway::{Proxy, client};
///
/// let users = Proxy::new(client(), "http://127.0.0.1:7101")?;
/// let reports = Proxy::new(client(), "http://127.0.0.1:7102/internal")?;
/// let app: Router = Router::new()
///     .route("/users/{id}", get_service(users))
///     .nest_service("/reports", reports); // without `/reports`: GET /reports/a asks for /internal/a
/// # Ok::<(), bartizan_gateway::ProxyError>(())
/// ```
#[derive(Clone)]
pub struct Proxy<C> {
    client: C,
    how: Arc<How>,
}

// ===== impl Proxy =====

impl<C: HttpService> Proxy<C> {
    /// A proxy to the service at `url`.
    ///
    /// It waits thirty seconds for the head of an answer, names the service itself in `Host`, and says `bartizan` in
    /// `Via`.
    ///
    /// # Errors
    /// If `url` is not the `http` or `https` URL of a host, with or without a path.
    pub fn new(client: C, url: &str) -> Result<Self, ProxyError> {
        let how = How {
            to: Arc::new(Target::parse(url)?),
            head_within: Duration::from_secs(30),
            keep_host: false,
            upgrades: false,
            keep: Arc::default(),
            carry: Carry::default(),
            forwarding: Forwarding::default(),
            scheme: uri::Scheme::HTTP,
            trusted: TrustedProxies::none(),
            via: Arc::new(Via::new("bartizan")),
        };
        Ok(Self { client, how: Arc::new(how) })
    }

    /// How long the service may take for the head of its answer, counted from the last byte of the request that it
    /// took. The request's [`Deadline`] counts as well. Thirty seconds, if nothing is said.
    #[must_use]
    pub fn head_within(self, limit: Duration) -> Self {
        self.with(|how| how.head_within = limit)
    }

    /// Sends the `Host` that the client sent, for a service that tells sites apart by it.
    ///
    /// For HTTP/1.1 alone: over HTTP/2 the target says the site, and it is the service's own. There `X-Forwarded-Host` or
    /// `Forwarded` tells what the client asked for.
    #[must_use]
    pub fn keep_host(self) -> Self {
        self.with(|how| how.keep_host = true)
    }

    /// Passes these fields on even if the client names them in `Connection`, or they look like claims of its own: those
    /// in which a layer further out has written who asks. Whatever stands in them passes, so that layer must have
    /// replaced, or checked, what the client sent.
    #[must_use]
    pub fn keep(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|how| how.keep = how.keep.iter().cloned().chain(names).collect())
    }

    /// Lets the layers in front of the service see this extension of a request: its `Tenant`, for instance, by which a cache
    /// keeps apart what is stored. Of a request's extensions they see no others but its [`Deadline`].
    #[must_use]
    pub fn carry<T: Clone + Send + Sync + 'static>(self) -> Self {
        self.with(|how| how.carry = mem::take(&mut how.carry).and::<T>())
    }

    /// What goes in front of layers that read fields before this proxy does, of a cache before all: the request then has
    /// nothing in it that its service will not get.
    ///
    /// What `Connection` names is dropped, and what the client claims about itself, unless it is
    /// [trusted](Self::trusted). Otherwise a client could name in `Connection` the field by which a response varies, and
    /// have the answer to its absence stored as the answer to its value; or claim a scheme that the service does not hear of.
    ///
    /// ```
    /// use bartizan::cache::{CacheLayer, CachePolicy, KeyRules, ResponseCache};
    /// use bartizan_gateway::{Proxy, client};
    /// use http::HeaderName;
    /// use tower::Layer;
    ///
    /// let users = Proxy::new(client(), "http://127.0.0.1:7101")?;
    /// let policy = CachePolicy::new().written_behind([HeaderName::from_static("x-forwarded-for")]);
    /// let cache = CacheLayer::new(ResponseCache::new(64 * 1024 * 1024)).policy(policy).keys(KeyRules::new().with_forwarding());
    /// let cached = users.front().layer(cache.layer(users.clone()));
    /// # let _ = cached;
    /// # Ok::<(), bartizan_gateway::ProxyError>(())
    /// ```
    #[must_use]
    pub fn front(&self) -> FrontLayer {
        FrontLayer::new(Arc::clone(&self.how))
    }

    /// How the service learns who the client is. By `X-Forwarded-For`, `-Proto` and `-Host`, if nothing is said.
    #[must_use]
    pub fn forwarding(self, forwarding: Forwarding) -> Self {
        self.with(|how| how.forwarding = forwarding)
    }

    /// The scheme by which clients reach this server: `https` where TLS ends. It is `http`, if neither this nor a trusted
    /// proxy says otherwise; what a client writes in its request line is not believed.
    #[must_use]
    pub fn scheme(self, scheme: uri::Scheme) -> Self {
        self.with(|how| how.scheme = scheme)
    }

    /// Whose word about the client is carried on, instead of replaced. Nobody's, if nothing is said.
    #[must_use]
    pub fn trusted(self, proxies: TrustedProxies) -> Self {
        self.with(|how| how.trusted = proxies)
    }

    /// The name under which `Via` tells of this proxy.
    #[must_use]
    pub fn via(self, pseudonym: impl Into<Arc<str>>) -> Self {
        self.with(|how| how.via = Arc::new(Via::new(&pseudonym.into())))
    }

    /// Lets a client and the service switch to another protocol, such as WebSocket (RFC 9110 §7.8): `Upgrade` is passed
    /// on, and after a `101` so are all bytes, each way until that side has ended. Without it, `Upgrade` is dropped.
    ///
    /// It is not the default because nothing that stands in front of the proxy sees what is said after the switch, and
    /// no drain waits for its end. Switches to HTTP/2 or TLS are never passed on, since requests would go past whatever
    /// looks at them here; nor is one from a request with a body. It takes a server that hands connections over, as
    /// [`serve()`](crate::serve()) and axum's do, and HTTP/1.1 on both sides.
    #[must_use]
    pub fn upgrades(self) -> Self {
        self.with(|how| how.upgrades = true)
    }

    fn with(self, change: impl FnOnce(&mut How)) -> Self {
        let mut how = Arc::unwrap_or_clone(self.how);
        change(&mut how);
        Self { client: self.client, how: Arc::new(how) }
    }

    /// Sends a request on.
    async fn forward<B>(mut self, request: Request<B>) -> Response<ResponseBody<C::Body, UpstreamWatch>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let switch = self.switch(&mut head, has_body);
        let mut outgoing = match self.how.outgoing(&mut head) {
            Ok(outgoing) => outgoing,
            Err(status) => return own(problem(status, &head).to_response(&head.headers)),
        };
        if let Some(Switch { protocols, .. }) = &switch {
            add_upgrade(outgoing.headers_mut(), protocols.clone());
        }
        if let Some(interim) = Interim::of(&head.extensions) {
            pass_interim(&mut outgoing, interim.clone(), Arc::clone(&self.how.via));
        }
        let attempts = Attempts::default();
        let deadline = Deadline::of(&head.extensions);
        let upload = has_body.then(Upload::new);
        tell_stack(outgoing.extensions_mut(), &attempts, deadline, upload.as_ref());
        self.how.carry.copy(&head.extensions, outgoing.extensions_mut());
        if let Some(upload) = &upload {
            *outgoing.body_mut() = Body::new(upload.watch(body));
        }

        let answer = pin!(async {
            poll_fn(|cx| self.client.poll_ready(cx)).await?;
            self.client.call(outgoing).await
        });
        let too_late = pin!(stalls(upload.clone(), self.how.head_within, deadline));
        let (cause, retry_after) = match select(answer, too_late).await {
            Either::Left((Ok(response), _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                match switch.and_then(|switch| switch.over(&response)) {
                    Some(protocol) => {
                        let mut response = self.how.incoming(response, &head, upload);
                        add_upgrade(response.headers_mut(), protocol);
                        return response;
                    }
                    None => (Cause::Protocol, None),
                }
            }
            Either::Left((Ok(response), _))
                if response.status().is_informational() || has_unknown_coding(response.headers()) =>
            {
                (Cause::Protocol, None)
            }
            Either::Left((Ok(response), _)) => match stack_says(&response, &attempts, deadline) {
                // Told again, so that it says what our other problems say.
                Some(cause) if is_problem_of_ours(&response) => {
                    (cause, response.headers().get(header::RETRY_AFTER).cloned())
                }
                cause => {
                    if let Some(cause) = cause {
                        cause.note(&head.extensions);
                    }
                    return self.how.incoming(response, &head, upload);
                }
            },
            Either::Left((Err(error), _)) => {
                let error: BoxError = error.into();
                let why: &(dyn Error + 'static) = error.as_ref();
                tracing::info!(error = why, "the service brought no answer");
                (Cause::of_send(why), None)
            }
            Either::Right((cause, _)) => (cause, None),
        };
        if upload.as_ref().is_some_and(Upload::failed) && cause != Cause::TooLarge {
            if let (Cause::ConnectionReset, Some(notes)) = (cause, Notes::of(&head.extensions)) {
                notes.flag(Flag::ClientGone);
            }
            let problem =
                problem(StatusCode::BAD_REQUEST, &head).detail("the body of the request is malformed or cut short");
            return own(problem.to_response(&head.headers));
        }
        cause.note(&head.extensions);
        own(failed(cause, &attempts, retry_after, &head))
    }

    /// The switch that the client asks for, if it may have it.
    fn switch(&self, head: &mut request::Parts, has_body: bool) -> Option<Switch> {
        if !self.how.upgrades || has_body || !head.headers.contains_key(header::UPGRADE) {
            return None;
        }
        let protocols = wanted_upgrade(head)?;
        Some(Switch { protocols, client: head.extensions.remove()? })
    }
}

/// What the layers in front of the service may know of the request.
fn tell_stack(extensions: &mut Extensions, attempts: &Attempts, deadline: Option<Deadline>, upload: Option<&Upload>) {
    extensions.insert(attempts.clone());
    if let Some(deadline) = deadline {
        extensions.insert(deadline);
    }
    if let Some(upload) = upload {
        extensions.insert(upload.clone());
    }
}

fn own<B>(response: Response<Bytes>) -> Response<ResponseBody<B, UpstreamWatch>> {
    response.map(ResponseBody::own)
}

impl<C, B> Service<Request<B>> for Proxy<C>
where
    C: HttpService,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody<C::Body, UpstreamWatch>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().forward(request).map(Ok))
    }
}

impl<C> fmt::Debug for Proxy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { scheme, authority, path } = &*self.how.to;
        f.debug_struct("Proxy").field("to", &format_args!("{scheme}://{authority}{path}")).finish_non_exhaustive()
    }
}
