//! The aggregate as a service.

use super::{
    answer::{self, Asked},
    fetch::{Outcome, fetch},
    source::Source,
    template::{Template, Unfilled},
};
use crate::{
    HttpService,
    carry::Carry,
    problem::problem,
    request_id::{X_REQUEST_ID, send_request_id},
};
use axum::{
    RequestExt,
    body::Body,
    extract::{RawPathParams, rejection::RawPathParamsRejection},
};
use bartizan::{Deadline, TrustedProxies, retry::Attempt};
use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};
use http_body_util::Full;
use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

/// Several services behind one answer.
///
/// All sources are called at once, each with its own time limit and none past the request's [`Deadline`]. What they
/// answer is shaped, and merged in the order in which they were declared:
///
/// ```json
/// { "user": {"id": "u1", "name": "Ada"}, "orders": [],
///   "_meta": { "complete": false, "sources": {
///     "user":            {"status": "ok", "http": 200, "attempts": 1, "breaker": "closed", "ms": 3},
///     "orders":          {"status": "ok", "http": 200, "attempts": 2, "breaker": "closed", "ms": 11},
///     "recommendations": {"status": "error", "cause": "timeout", "attempts": 1, "breaker": "open", "ms": 150} } } }
/// ```
///
/// If an optional source fails, its part is missing, `complete` is `false`, and the answer, still a 200, says
/// `Cache-Control: no-store`. As soon as a [`required`](Source::required) one fails, the others are given up and the
/// answer is a problem (RFC 9457) with the same `sources`: 504 if it was too slow, 503 with `Retry-After` if a layer in
/// front of it refused the call, its own status if that is a 4xx (but for 405, 407, 408, 421 and 426, which are
/// meant for us), otherwise 502. If the client goes away, all calls end with it.
///
/// If a [fallback](crate::Upstream::fallback) has answered for a source, that says `"status": "fallback"` with the cause of
/// it, and the whole is not complete. If there is a cache in front of a source, that says how it came by the answer, as
/// `"cache"`: `hit`, `stale`, `revalidated`, `collapsed`, `miss` or `bypass`, by the `Cache-Status` (RFC 9211) of the cache
/// nearest to here. `attempts` is how often an [`Upstream`](crate::Upstream) sent it, and `breaker` what the breaker of its
/// endpoint does by now: `closed`, `open` or `half_open`. Any other client has no breaker and one attempt; none, if a layer
/// in front of it has refused the call, or a cache has answered it (`hit`, `collapsed`). Whether it was sent for a `stale`
/// answer is not known here: that says one.
///
/// Of the request's header only the id and the trace (`x-request-id`, `traceparent`, `tracestate`) go to the sources;
/// [`forward`](Self::forward) names others. The id is that of the request's extensions, if there is one.
///
/// An aggregate is a service for an axum route; its parameters fill the places in the sources' URLs:
///
/// ```
/// use axum::{Router, routing::get_service};
/// use bartizan_gateway::{Aggregate, Source, client};
///
/// let web = Aggregate::new(client(), [
///     Source::get("user", "http://127.0.0.1:7101/users/{user}").required(),
///     Source::get("orders", "http://127.0.0.1:7102/orders?user={user}").collection(),
/// ])?;
/// let app: Router = Router::new().route("/dashboard/web/{user}", get_service(web));
/// # Ok::<(), bartizan_gateway::AggregateError>(())
/// ```
#[derive(Clone)]
pub struct Aggregate<C> {
    client: C,
    sources: Arc<[(Source, Template)]>,
    meta: Meta,
    within: Option<Duration>,
    /// Beside [`ALWAYS_FORWARDED`].
    forward: Vec<HeaderName>,
    trusted: TrustedProxies,
    carry: Carry,
    cache_control: Option<HeaderValue>,
}

/// What follows a request everywhere, and changes no answer.
const ALWAYS_FORWARDED: [HeaderName; 3] =
    [X_REQUEST_ID, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// Where an aggregate says how its sources went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meta {
    /// In this member of the answer, and in the field `x-bartizan-complete`. By default the member is `_meta`.
    Member(String),
    /// Only whether all of them answered, in the field `x-bartizan-complete: ?1` or `?0`.
    Header,
    /// Nowhere, except in a problem.
    Off,
}

/// What is wrong with an aggregate, or one of its sources.
#[derive(Debug)]
pub struct AggregateError {
    what: String,
}

// ===== impl Aggregate =====

impl<C: HttpService> Aggregate<C> {
    /// An aggregate of these sources, which are called through `client`.
    ///
    /// # Errors
    /// If a URL is malformed, the rules of a source contradict each other, two sources have the same name, or two
    /// would write the same member of the answer.
    pub fn new(client: C, sources: impl IntoIterator<Item = Source>) -> Result<Self, AggregateError> {
        let sources = sources
            .into_iter()
            .map(|source| {
                let template = Template::parse(&source.url).map_err(|error| AggregateError::of(&source, &error))?;
                source.check().map_err(|why| AggregateError::of(&source, &why))?;
                Ok((source, template))
            })
            .collect::<Result<Arc<[_]>, _>>()?;
        let aggregate = Self {
            client,
            sources,
            meta: Meta::Off,
            within: None,
            forward: Vec::new(),
            trusted: TrustedProxies::none(),
            carry: Carry::default(),
            cache_control: None,
        };
        aggregate.meta(Meta::Member("_meta".to_owned()))
    }

    /// Where the answer says how the sources went.
    ///
    /// # Errors
    /// If a source writes the member.
    pub fn meta(mut self, meta: Meta) -> Result<Self, AggregateError> {
        self.meta = meta;
        self.check()?;
        Ok(self)
    }

    /// The time that all of it may take; it shortens the request's [`Deadline`].
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// Passes these fields of the request on to the sources as well. The answer names them in `Vary`, so that no cache
    /// gives one client what was made for another.
    #[must_use]
    pub fn forward(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        for name in names {
            if !ALWAYS_FORWARDED.contains(&name) && !self.forward.contains(&name) {
                self.forward.push(name);
            }
        }
        self
    }

    /// Whose word counts that a request is sent again. Nobody's, if nothing is said.
    ///
    /// What such a peer sends again, and says so, an [`Upstream`](crate::Upstream) sends less often than it would, so that
    /// attempts do not multiply: see [`Attempt`].
    #[must_use]
    pub fn trusted(mut self, proxies: TrustedProxies) -> Self {
        self.trusted = proxies;
        self
    }

    /// Lets the layers in front of the sources see this extension of the request: its `Tenant`, for instance, by which a
    /// cache keeps apart what is stored. Of the request's extensions they see no others but the [`Deadline`].
    #[must_use]
    pub fn carry<T: Clone + Send + Sync + 'static>(mut self) -> Self {
        self.carry = self.carry.and::<T>();
        self
    }

    /// The `Cache-Control` of a complete answer. None, if nothing is said; a partial one always says `no-store`.
    ///
    /// A cache outside sees what the client sent, and `Vary` tells it of that alone: where a layer of yours writes a field
    /// that is [forwarded](Self::forward), from a cookie for instance, only `private` or `no-store` is safe.
    #[must_use]
    pub fn cache_control(mut self, value: HeaderValue) -> Self {
        self.cache_control = Some(value);
        self
    }

    /// Calls the sources and answers. This is what the service does, for a handler of your own.
    pub async fn answer(&self, parameters: &[(&str, &str)], head: &request::Parts) -> Response<Bytes> {
        let parameter = |name: &str| parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let urls = self.sources.iter().map(|(_, template)| template.fill(parameter)).collect::<Result<Vec<_>, _>>();
        let urls = match urls {
            Ok(urls) => urls,
            Err(Unfilled::Unfit) => return answer::unfit(head),
            Err(Unfilled::Missing(name)) => {
                tracing::error!(parameter = name, "a source's URL has a place for a parameter that the route lacks");
                return problem(StatusCode::INTERNAL_SERVER_ERROR, head).to_response(&head.headers);
            }
        };
        let headers = self.forwarded(head);
        let mut extensions = Extensions::new();
        self.carry.copy(&head.extensions, &mut extensions);
        if let Some(attempt) = self.attempt(head) {
            extensions.insert(attempt);
        }
        if let Some(deadline) = Deadline::of(&head.extensions) {
            deadline.tighten(&mut extensions);
        }
        if let Some(limit) = self.within {
            Deadline::after(limit).limit(&mut extensions);
        }
        let deadline = Deadline::of(&extensions);

        let mut calls: FuturesUnordered<_> = self
            .sources
            .iter()
            .zip(urls)
            .enumerate()
            .map(|(index, ((source, _), url))| {
                let call = fetch(self.client.clone(), source, url, headers.clone(), extensions.clone(), deadline);
                async move { (index, call.await) }
            })
            .collect();
        let mut asked: Vec<Asked<'_>> = self.sources.iter().map(|(source, _)| (source, None)).collect();
        let mut decided_by = None;
        while let Some((index, outcome)) = calls.next().await {
            let decides = asked[index].0.required && outcome.result.is_err();
            asked[index].1 = Some(outcome);
            if decides {
                decided_by = Some(index);
                break;
            }
        }
        drop(calls);

        match decided_by.map(|index| &asked[index]) {
            Some((source, Some(Outcome { result: Err(failure), .. }))) => answer::failed(&asked, source, failure, head),
            _ => answer::merged(&asked, &self.meta, self.cache_control.as_ref(), &self.forward, head),
        }
    }

    /// Which attempt the request is, if it is not the first.
    fn attempt(&self, head: &request::Parts) -> Option<Attempt> {
        let told = Attempt::told_by(&head.headers).filter(|attempt| attempt.is_retry())?;
        self.trusted.trusts_peer_of(head).then_some(told)
    }

    fn forwarded(&self, head: &request::Parts) -> HeaderMap {
        let mut forwarded = HeaderMap::new();
        for name in ALWAYS_FORWARDED.iter().chain(&self.forward) {
            for value in head.headers.get_all(name) {
                forwarded.append(name, value.clone());
            }
        }
        send_request_id(&mut forwarded, &head.extensions);
        forwarded
    }

    /// Nothing may be written twice.
    fn check(&self) -> Result<(), AggregateError> {
        let mut written: Vec<(String, String)> = Vec::new();
        if let Meta::Member(name) = &self.meta {
            written.push((name.clone(), "the aggregate itself".to_owned()));
        }
        for (index, (source, _)) in self.sources.iter().enumerate() {
            if self.sources[..index].iter().any(|(earlier, _)| earlier.name == source.name) {
                return Err(AggregateError::of(source, &"another source has the same name"));
            }
            for member in source.members().map_err(|why| AggregateError::of(source, &why))? {
                if let Some((_, by)) = written.iter().find(|(name, _)| *name == member) {
                    return Err(AggregateError::of(source, &format!("it writes {member:?}, which {by} writes too")));
                }
                written.push((member, format!("the source {:?}", source.name)));
            }
        }
        Ok(())
    }
}

impl<C: HttpService, B> Service<Request<B>> for Aggregate<C>
where
    B: Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let aggregate = self.clone();
        let (head, _) = request.into_parts();
        Box::pin(async move {
            let mut request = Request::from_parts(head, Body::empty());
            let parameters = request.extract_parts::<RawPathParams>().await;
            let (head, _) = request.into_parts();
            let answer = match &parameters {
                Ok(parameters) => aggregate.answer(&parameters.iter().collect::<Vec<_>>(), &head).await,
                Err(RawPathParamsRejection::InvalidUtf8InPathParam(_)) => answer::unfit(&head),
                Err(_) => aggregate.answer(&[], &head).await,
            };
            Ok(answer.map(Full::new))
        })
    }
}

impl<C> fmt::Debug for Aggregate<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate").field("sources", &self.sources).field("meta", &self.meta).finish_non_exhaustive()
    }
}

// ===== impl AggregateError =====

impl AggregateError {
    fn of(source: &Source, why: &impl fmt::Display) -> Self {
        Self { what: format!("source {:?}: {why}", source.name) }
    }
}

impl fmt::Display for AggregateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for AggregateError {}
