//! How the cache plugs in.

use super::{
    answer::{Told, answer, hit, note_stale},
    ask::Ask,
    body::CacheBody,
    event::{Event, Outcome},
    fetch::{Visit, behind},
    fill::{Abandoned, Spawn, on_current_runtime},
    future::ResponseFuture,
    key::CacheKey,
    key_rules::KeyRules,
    memory::ResponseCache,
    policy::CachePolicy,
    rules::{Found, Rules},
};
use crate::shared::Notes;
use bartizan_store::Key;
use http::{Request, Response, request};
use http_body::Body;
use std::{
    error::Error,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// Answers from a [`ResponseCache`], and stores there what may be stored. See the [module](super).
#[derive(Clone)]
pub struct CacheLayer {
    pub(super) rules: Arc<Rules>,
}

/// The service of [`CacheLayer`].
pub struct Cache<S> {
    inner: S,
    rules: Arc<Rules>,
}

// ===== impl CacheLayer =====

impl CacheLayer {
    /// Stores responses in `cache`, by the rules of [`CachePolicy::new`].
    ///
    /// It is called `bartizan` in `Cache-Status`. A request waits up to five seconds for the answer to another that asks
    /// for the same. What a client has begun to fetch is fetched to its end when the client leaves.
    #[must_use]
    pub fn new(cache: ResponseCache) -> Self {
        Self {
            rules: Arc::new(Rules {
                cache,
                policy: CachePolicy::new(),
                keys: KeyRules::new(),
                partition: None,
                name: Some(Arc::from("bartizan")),
                tells_key: false,
                patience: Duration::from_secs(5),
                abandoned: Abandoned::Finish,
                spawn: on_current_runtime(),
                observer: None,
                is_behind: false,
            }),
        }
    }

    /// The rules, where RFC 9111 leaves a choice.
    #[must_use]
    pub fn policy(self, policy: CachePolicy) -> Self {
        self.with(|rules| rules.policy = policy)
    }

    /// What a response is stored under, besides scheme, host, path and query as they came.
    #[must_use]
    pub fn keys(self, keys: KeyRules) -> Self {
        self.with(|rules| rules.keys = keys)
    }

    /// Keeps what is stored for one apart from what is stored for another: `.partition_by(Tenant::key)`. A request of
    /// which the function makes nothing passes by the cache.
    #[must_use]
    pub fn partition_by(self, partition: impl Fn(&request::Parts) -> Option<Key> + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.partition = Some(Arc::new(partition)))
    }

    /// What this cache calls itself in `Cache-Status` (RFC 9211); `bartizan` if nothing is said.
    ///
    /// # Panics
    /// If it is not a token of at most 40 bytes that begins with a letter.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        let mut bytes = name.bytes();
        let is_token = bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
        assert!(
            is_token && name.len() <= 40,
            "the name of a cache is a token of at most 40 bytes, and begins with a letter"
        );
        self.with(|rules| rules.name = Some(name.into()))
    }

    /// Says in `Cache-Status`, too, what a response is stored under (its `key`, RFC 9211 §2.7): the URL as this cache sees
    /// it, behind whose it is, and before what else [counts](KeyRules). A key of more than 1024 characters is not said.
    ///
    /// For whoever looks for a mistake. Off if nothing is said, since it reveals to every client what the key is made of,
    /// what the [partition](Self::partition_by) is called and the fields that are in the key among that.
    #[must_use]
    pub fn cache_status_with_key(self) -> Self {
        self.with(|rules| rules.tells_key = true)
    }

    /// Says nothing in `Cache-Status`.
    #[must_use]
    pub fn no_cache_status(self) -> Self {
        self.with(|rules| rules.name = None)
    }

    /// How long a request waits for the answer to another that asks for the same, before it asks the origin itself. Five
    /// seconds, if nothing is said; its deadline counts as well. With zero each asks for itself.
    #[must_use]
    pub fn wait_at_most(self, patience: Duration) -> Self {
        self.with(|rules| rules.patience = patience)
    }

    /// What becomes of a response that is being stored when all who read it have left.
    #[must_use]
    pub fn abandoned(self, abandoned: Abandoned) -> Self {
        self.with(|rules| rules.abandoned = abandoned)
    }

    /// Who does the work that no client waits for. It is tokio's runtime that the cache is called in, if nothing is said.
    #[must_use]
    pub fn spawn_on(self, spawn: Spawn) -> Self {
        self.with(|rules| rules.spawn = spawn)
    }

    /// Tells this function what happens.
    #[must_use]
    pub fn observe(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.observer = Some(Arc::new(observer)))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache { inner, rules: Arc::clone(&self.rules) }
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("cache", &self.rules.cache).finish_non_exhaustive()
    }
}

// ===== impl Cache =====

impl<S, B, R> Service<Request<B>> for Cache<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send, Error: Send> + Clone + Send + 'static,
    B: Body + Send + 'static,
    R: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response<CacheBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<R, S::Error>;

    /// Always ready: a stored response needs no service, and who does makes one ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ask = Ask::read(&request);
        let key = if ask.wants_key() { self.rules.key_of(&mut request, ask) } else { None };
        let now = Instant::now();
        let found = match &key {
            Some(key) if ask.may_be_answered() => Some(self.rules.find(key, ask, request.headers(), now)),
            _ => None,
        };
        if let (Some(Found::Usable(entry, outcome)), Some(key)) = (&found, &key)
            && let Some(mut response) = match outcome {
                Outcome::Hit => hit(&self.rules, entry, ask, request.headers(), now),
                _ => answer(&self.rules, entry, ask, request.headers(), now, *outcome, Told::default()),
            }
        {
            if outcome.is_stale() {
                note_stale(Notes::of(request.extensions()));
            }
            if *outcome == Outcome::StaleWhileRevalidate {
                behind(self.visit(request, ask, None), Box::new(key.clone()), entry);
            }
            self.rules.tell_key(&mut response, key);
            return ResponseFuture::here(response);
        }
        match key.as_ref().filter(|_| self.rules.tells_key && ask.may_be_answered()).cloned() {
            None => ResponseFuture::away(Box::pin(self.visit(request, ask, key).run(found, now))),
            Some(told) => {
                let (rules, visit) = (Arc::clone(&self.rules), self.visit(request, ask, key));
                ResponseFuture::away(Box::pin(async move {
                    let mut response = visit.run(found, now).await?;
                    rules.tell_key(&mut response, &told);
                    Ok(response)
                }))
            }
        }
    }
}

impl<S: Clone> Cache<S> {
    fn visit<B>(&self, request: Request<B>, ask: Ask, key: Option<CacheKey>) -> Box<Visit<S, B>> {
        let key = key.map(Box::new);
        Box::new(Visit { rules: Arc::clone(&self.rules), inner: self.inner.clone(), request, ask, key })
    }
}

impl<S: Clone> Clone for Cache<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), rules: Arc::clone(&self.rules) }
    }
}

impl<S: fmt::Debug> fmt::Debug for Cache<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("inner", &self.inner).field("cache", &self.rules.cache).finish_non_exhaustive()
    }
}
