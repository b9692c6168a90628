//! The proxy as a service.

use super::fields::{
    Forwarding, add_forwarded, add_via, ends_here, has_dot_segment, host, restore_request_id, strip_hop_by_hop,
    strip_request,
};
use crate::{Cause, Upstream, problem::problem};
use axum::{BoxError, body::Body};
use bartizan::{Deadline, End, Flag, Notes, ResponseBody, TrustedProxies, Watch};
use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, select};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header, request, uri};
use std::{
    convert::Infallible,
    fmt, mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;
use tower_service::Service;

/// A reverse proxy: sends each request on to one service and streams the answer back.
///
/// Bodies and trailers stream both ways; nothing is held but the bytes that are on their way. The path and the query
/// stay as the client wrote them, after the path of the service's own URL; a path with `.` or `..` in it, which might lead
/// out of there, is refused with 400. What is meant for one connection only is
/// dropped (RFC 9110 §7.6.1), `Via` is added, and what the client claims in `X-Forwarded-*` or `Forwarded` is replaced,
/// or carried on if its peer is one of the [`trusted`](Self::trusted) proxies. Everything else (`Range`, `If-Match`,
/// `Expect`, `HEAD` and so on) passes as it is. An `Upgrade` is not passed on, so the service answers as if it had not
/// been asked for; `CONNECT` is refused with 501.
///
/// A service that can't be reached, or breaks off before the head of its answer, is a 502; one that is too slow a 504;
/// both as `application/problem+json`. If it breaks off later, so does the answer.
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
    to: Arc<Target>,
    head_within: Duration,
    keep_host: bool,
    forwarding: Forwarding,
    trusted: TrustedProxies,
    via: Arc<str>,
}

struct Target {
    scheme: uri::Scheme,
    authority: uri::Authority,
    /// Without a slash at its end.
    path: String,
}

/// The URL of a service can't be used.
#[derive(Debug)]
pub struct ProxyError {
    url: String,
    why: &'static str,
}

/// Tells the access log when the service breaks off in the middle of its answer.
#[derive(Debug)]
pub struct UpstreamWatch(Option<Notes>);

// ===== impl Proxy =====

impl<C: Upstream> Proxy<C> {
    /// A proxy to the service at `url`.
    ///
    /// It waits thirty seconds for the head of an answer, names the service itself in `Host`, and says `bartizan` in
    /// `Via`.
    ///
    /// # Errors
    /// If `url` is not the `http` or `https` URL of a host, with or without a path.
    pub fn new(client: C, url: &str) -> Result<Self, ProxyError> {
        let error = |why| ProxyError { url: url.to_owned(), why };
        let parsed: Uri = url.parse().map_err(|_| error("it is not a valid URL"))?;
        if parsed.query().is_some() || url.contains('#') {
            return Err(error("it ends in a query or a fragment, where the path of the request would follow"));
        }
        let parts = parsed.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS);
        let scheme = scheme.ok_or_else(|| error("it does not begin with http:// or https://"))?;
        let authority = parts.authority.ok_or_else(|| error("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(error("it holds a user name or password"));
        }
        let path = parts.path_and_query.map_or_else(String::new, |path| path.path().trim_end_matches('/').to_owned());
        Ok(Self {
            client,
            to: Arc::new(Target { scheme, authority, path }),
            head_within: Duration::from_secs(30),
            keep_host: false,
            forwarding: Forwarding::default(),
            trusted: TrustedProxies::none(),
            via: "bartizan".into(),
        })
    }

    /// How long the service may take for the head of its answer, counted from the last byte of the request that it
    /// took. The request's [`Deadline`] counts as well. Thirty seconds, if nothing is said.
    #[must_use]
    pub fn head_within(mut self, limit: Duration) -> Self {
        self.head_within = limit;
        self
    }

    /// Sends the `Host` that the client sent, for a service that tells sites apart by it.
    #[must_use]
    pub fn keep_host(mut self) -> Self {
        self.keep_host = true;
        self
    }

    /// How the service learns who the client is. By `X-Forwarded-For`, `-Proto` and `-Host`, if nothing is said.
    #[must_use]
    pub fn forwarding(mut self, how: Forwarding) -> Self {
        self.forwarding = how;
        self
    }

    /// Whose word about the client is carried on, instead of replaced. Nobody's, if nothing is said.
    #[must_use]
    pub fn trusted(mut self, proxies: TrustedProxies) -> Self {
        self.trusted = proxies;
        self
    }

    /// The name under which `Via` tells of this proxy.
    #[must_use]
    pub fn via(mut self, pseudonym: impl Into<Arc<str>>) -> Self {
        self.via = pseudonym.into();
        self
    }

    /// Sends a request on.
    async fn forward<B>(&self, request: Request<B>) -> Response<ResponseBody<C::Body, UpstreamWatch>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        let mut outgoing = match self.outgoing(&mut head) {
            Ok(outgoing) => outgoing,
            Err(status) => return own(problem(status, &head).to_response(&head.headers)),
        };
        let progress = Progress::new();
        *outgoing.body_mut() = Body::new(ResponseBody::inner(body).watched_by(progress.clone()));

        let answer = pin!(self.client.clone().oneshot(outgoing));
        let too_late = pin!(progress.stalls(self.head_within, Deadline::of(&head.extensions)));
        let cause = match select(answer, too_late).await {
            Either::Left((Ok(response), _)) if response.status().is_informational() => Cause::Protocol,
            Either::Left((Ok(response), _)) => return self.incoming(response, &head),
            Either::Left((Err(error), _)) => Cause::of_send(&error.into()),
            Either::Right((cause, _)) => cause,
        };
        cause.note(&head.extensions);
        let (status, detail) = match cause {
            // Before the head of an answer only the request can have been too large.
            Cause::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than is accepted"),
            Cause::Timeout | Cause::Deadline => (cause.gateway_status(), "the service behind did not answer in time"),
            Cause::Connect => (cause.gateway_status(), "the service behind could not be reached"),
            _ => (cause.gateway_status(), "the service behind did not answer properly"),
        };
        own(problem(status, &head).detail(detail).member("code", cause.as_str()).to_response(&head.headers))
    }

    /// The head as the service behind gets it, without extensions. Of the header, `head` keeps what a problem asks for.
    fn outgoing(&self, head: &mut request::Parts) -> Result<Request<Body>, StatusCode> {
        if head.method == Method::CONNECT || ends_here(head) {
            return Err(StatusCode::NOT_IMPLEMENTED);
        }
        // RFC 9112 §3.2: with two hosts, nobody can tell which site is meant.
        if has_dot_segment(head.uri.path()) || head.headers.get_all(header::HOST).iter().count() > 1 {
            return Err(StatusCode::BAD_REQUEST);
        }
        let path = head.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let uri = Uri::builder()
            .scheme(self.to.scheme.clone())
            .authority(self.to.authority.clone())
            .path_and_query(format!("{}{slash}{path}", self.to.path))
            .build()
            .map_err(|_| StatusCode::BAD_REQUEST)?;

        let mut accept = HeaderMap::new();
        for value in head.headers.get_all(header::ACCEPT) {
            accept.append(header::ACCEPT, value.clone());
        }
        strip_request(&mut head.headers);
        restore_request_id(head);
        add_forwarded(head, self.forwarding, &self.trusted);
        add_via(&mut head.headers, head.version, &self.via);
        match host(head).filter(|_| self.keep_host) {
            Some(host) => _ = head.headers.insert(header::HOST, host),
            None => _ = head.headers.remove(header::HOST), // the client writes that of the URI
        }
        let mut outgoing = Request::new(Body::empty());
        *outgoing.method_mut() = head.method.clone();
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = mem::replace(&mut head.headers, accept);
        Ok(outgoing)
    }

    /// The answer as the client gets it.
    fn incoming(
        &self,
        response: Response<C::Body>,
        head: &request::Parts,
    ) -> Response<ResponseBody<C::Body, UpstreamWatch>> {
        let (mut theirs, body) = response.into_parts();
        strip_hop_by_hop(&mut theirs.headers);
        add_via(&mut theirs.headers, theirs.version, &self.via);
        theirs.version = Version::HTTP_11;
        let watch = UpstreamWatch(Notes::of(&head.extensions).cloned());
        Response::from_parts(theirs, ResponseBody::inner(body).watched_by(watch))
    }
}

fn own<B>(response: Response<Bytes>) -> Response<ResponseBody<B, UpstreamWatch>> {
    response.map(ResponseBody::own)
}

impl<C, B> Service<Request<B>> for Proxy<C>
where
    C: Upstream,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody<C::Body, UpstreamWatch>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.forward(request).await) })
    }
}

impl<C> fmt::Debug for Proxy<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { scheme, authority, path } = &*self.to;
        f.debug_struct("Proxy").field("to", &format_args!("{scheme}://{authority}{path}")).finish_non_exhaustive()
    }
}

// ===== the time that a service has =====

/// When the last byte of the request was taken.
#[derive(Clone)]
struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn set(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when there has been no progress for `limit`, or at the deadline, and says which.
    async fn stalls(&self, limit: Duration, deadline: Option<Deadline>) -> Cause {
        let deadline = deadline.map(Deadline::instant);
        loop {
            let stalled = self.get().checked_add(limit).unwrap_or_else(|| Deadline::after(limit).instant());
            sleep_until(deadline.map_or(stalled, |deadline| deadline.min(stalled))).await;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Cause::Deadline;
            }
            if self.get().checked_add(limit).is_some_and(|stalled| stalled <= Instant::now()) {
                return Cause::Timeout;
            }
        }
    }
}

impl Watch for Progress {
    fn data(&mut self, _: usize) {
        self.set();
    }

    fn end(self, _: End) {
        self.set();
    }
}

impl Watch for UpstreamWatch {
    fn end(self, end: End) {
        if let (Some(notes), End::Failed) = (self.0, end) {
            notes.flag(Flag::UpstreamReset);
            notes.error_type(Cause::Body.as_str());
        }
    }
}

// ===== impl ProxyError =====

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the URL {:?} can't be used: {}", self.url, self.why)
    }
}

impl std::error::Error for ProxyError {}
