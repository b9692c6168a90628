//! An origin that answers by script, and a client that reads all that it is told.

use crate::cache::{Cache, CacheBody, CacheLayer, CachePolicy, ResponseCache};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, request, response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use sfv::{BareItem, ListEntry, Parser};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};
use tower_layer::Layer;
use tower_service::Service;

pub(super) type Ask = Request<Full<Bytes>>;

/// A service that answers as it was told, and remembers what it was asked.
#[derive(Clone)]
pub(super) struct Origin {
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<dyn Fn(&request::Parts, usize) -> Reply + Send + Sync>,
    seen: Mutex<Vec<request::Parts>>,
    let_go: Mutex<usize>,
}

/// What the origin answers, and when.
#[derive(Debug)]
pub(super) struct Reply {
    head: Result<response::Parts, Broken>,
    steps: VecDeque<Step>,
    after: Duration,
    /// Whether the body knows how long it is.
    is_sized: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Data(Bytes),
    Wait(Duration),
    Trailers(HeaderMap),
    Break,
}

/// The error of the origin, and of its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// The body of a reply.
pub(super) struct Steps {
    steps: VecDeque<Step>,
    is_sized: bool,
    waits: Option<Pin<Box<Sleep>>>,
    /// Counts those that are dropped before their end.
    origin: Option<Arc<Shared>>,
}

pub(super) type Caching = Cache<Origin>;

/// What a client got, read to the end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` if it broke off.
    pub(super) body: Option<Bytes>,
    pub(super) so_far: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// Fields, in one line each.
pub(super) trait With: Sized {
    fn fields(&mut self) -> &mut HeaderMap;

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.fields().append(HeaderName::from_static(name), value.parse().unwrap());
        self
    }
}

// ===== impl Origin =====

impl Origin {
    /// Answers each request with what the function makes of it, and of how many came before.
    pub(super) fn new(script: impl Fn(&request::Parts, usize) -> Reply + Send + Sync + 'static) -> Self {
        let (seen, let_go) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { script: Box::new(script), seen, let_go }) }
    }

    /// One reply after the other; what comes then is told `418`.
    pub(super) fn says(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = Mutex::new(replies.into_iter().collect::<VecDeque<_>>());
        Self::new(move |_, _| replies.lock().unwrap().pop_front().unwrap_or_else(|| status(418)))
    }

    /// How many requests came.
    pub(super) fn asked(&self) -> usize {
        self.seen().len()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Vec<request::Parts>> {
        self.shared.seen.lock().unwrap()
    }

    /// A field of the last request that came, all its lines.
    pub(super) fn was_told(&self, name: &str) -> Vec<String> {
        let seen = self.seen();
        lines(&seen.last().unwrap().headers, name)
    }

    /// How many bodies were dropped before their end.
    pub(super) fn let_go(&self) -> usize {
        *self.shared.let_go.lock().unwrap()
    }
}

impl Service<Ask> for Origin {
    type Response = Response<Steps>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Steps>, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Ask) -> Self::Future {
        let (head, _) = request.into_parts();
        let before = self.asked();
        self.seen().push(head.clone());
        let reply = (self.shared.script)(&head, before);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if !reply.after.is_zero() {
                sleep(reply.after).await;
            }
            let Reply { head, steps, is_sized, .. } = reply;
            Ok(Response::from_parts(head?, Steps { steps, is_sized, waits: None, origin: Some(shared) }))
        })
    }
}

// ===== impl Reply =====

pub(super) fn status(code: u16) -> Reply {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = StatusCode::from_u16(code).unwrap();
    Reply { head: Ok(head), steps: VecDeque::new(), after: Duration::ZERO, is_sized: true }
}

pub(super) fn ok() -> Reply {
    status(200)
}

/// 200, fresh for so many seconds.
pub(super) fn fresh(seconds: u32) -> Reply {
    ok().with("cache-control", &format!("max-age={seconds}"))
}

pub(super) fn fails() -> Reply {
    Reply { head: Err(Broken), ..ok() }
}

impl With for Reply {
    fn fields(&mut self) -> &mut HeaderMap {
        &mut self.head.as_mut().unwrap().headers
    }
}

impl Reply {
    pub(super) fn body(mut self, body: &str) -> Self {
        self.steps.push_back(Step::Data(Bytes::copy_from_slice(body.as_bytes())));
        self
    }

    /// Says how long it is in its head, too.
    pub(super) fn sized(self, body: &str) -> Self {
        self.with("content-length", &body.len().to_string()).body(body)
    }

    /// Of a length that is not known.
    pub(super) fn unsized_body(mut self, body: &str) -> Self {
        self.is_sized = false;
        self.body(body)
    }

    /// What comes after this comes so much later.
    pub(super) fn pause(mut self, seconds: u64) -> Self {
        self.is_sized = false;
        self.steps.push_back(Step::Wait(Duration::from_secs(seconds)));
        self
    }

    pub(super) fn breaks(mut self) -> Self {
        self.is_sized = false;
        self.steps.push_back(Step::Break);
        self
    }

    pub(super) fn trailers(mut self, trailers: &[(&'static str, &str)]) -> Self {
        let trailers = trailers.iter().fold(HeaderMap::new(), |all, (name, value)| all.with(name, value));
        self.steps.push_back(Step::Trailers(trailers));
        self
    }

    pub(super) fn status_mut(&mut self) -> &mut StatusCode {
        &mut self.head.as_mut().unwrap().status
    }

    /// Its head, unless it fails.
    pub(super) fn told(&self) -> Option<(u16, HeaderMap)> {
        self.head.as_ref().ok().map(|head| (head.status.as_u16(), head.headers.clone()))
    }

    /// The head comes so much later.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.after = Duration::from_secs(seconds);
        self
    }

    pub(super) fn mark<T: Clone + Send + Sync + 'static>(mut self, mark: T) -> Self {
        self.head.as_mut().unwrap().extensions.insert(mark);
        self
    }
}

impl With for HeaderMap {
    fn fields(&mut self) -> &mut HeaderMap {
        self
    }
}

impl Body for Steps {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(waits) = &mut self.waits {
                ready!(waits.as_mut().poll(cx));
                self.waits = None;
            }
            match self.steps.pop_front() {
                Some(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Some(Step::Break) => return Poll::Ready(Some(Err(Broken))),
                Some(Step::Wait(time)) => self.waits = Some(Box::pin(sleep(time))),
                None => {
                    self.origin = None;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_sized && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |step: &Step| if let Step::Data(data) = step { data.len() as u64 } else { 0 };
        if self.is_sized { SizeHint::with_exact(self.steps.iter().map(length).sum()) } else { SizeHint::default() }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(origin) = self.origin.take().filter(|_| !self.steps.is_empty() || self.waits.is_some()) {
            *origin.let_go.lock().unwrap() += 1;
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

// ===== the client =====

pub(super) fn request(method: &str, target: &str) -> Ask {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = target.parse().unwrap();
    request.with("host", "a.example")
}

pub(super) fn get(target: &str) -> Ask {
    request("GET", target)
}

impl<B> With for Request<B> {
    fn fields(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }
}

pub(super) fn layer() -> CacheLayer {
    CacheLayer::new(ResponseCache::new(1 << 20))
}

/// A cache by the safe rules in front of an origin.
pub(super) fn cache(origin: &Origin) -> Caching {
    layer().layer(origin.clone())
}

/// A cache by all that the RFC allows.
pub(super) fn rfc(origin: &Origin) -> Caching {
    layer().policy(CachePolicy::rfc()).layer(origin.clone())
}

/// Sends a request, and reads the answer to its end.
pub(super) async fn send<S, B, R>(service: &S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = Response<R>, Error: fmt::Debug> + Clone,
    R: Body<Data = Bytes, Error: fmt::Debug>,
{
    attempt(service, request).await.unwrap()
}

pub(super) async fn attempt<S, B, R>(service: &S, request: Request<B>) -> Result<Answer, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes, Error: fmt::Debug>,
{
    Ok(read(open(service, request).await?).await)
}

/// Sends a request, and does not read the body.
pub(super) async fn open<S, B, R>(service: &S, request: Request<B>) -> Result<Response<R>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    let mut service = service.clone();
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

pub(super) async fn read<R: Body<Data = Bytes, Error: fmt::Debug>>(response: Response<R>) -> Answer {
    let (head, body) = response.into_parts();
    let mut body = Box::pin(body);
    let (mut so_far, mut trailers, mut is_whole) = (Vec::new(), None, true);
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => so_far.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().ok(),
            Err(_) => is_whole = false,
        }
    }
    let so_far = Bytes::from(so_far);
    let body = is_whole.then(|| so_far.clone());
    Answer { status: head.status, headers: head.headers, body, so_far, trailers }
}

// ===== impl Answer =====

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().expect("a whole body")).unwrap()
    }

    /// All lines of a field.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        lines(&self.headers, name)
    }

    /// The only line of a field, or nothing.
    pub(super) fn one(&self, name: &str) -> String {
        let mut lines = self.all(name);
        assert!(lines.len() < 2, "{name}: {lines:?}");
        lines.pop().unwrap_or_default()
    }

    /// What our cache says in `Cache-Status`, which is read as a list (RFC 9211 §2, RFC 9651): the last member.
    pub(super) fn said(&self) -> String {
        let lines = self.headers.get_all("cache-status").iter().filter(|line| !line.is_empty());
        let lines: Vec<_> = lines.map(http::HeaderValue::as_bytes).collect();
        let list: sfv::List = Parser::new(&lines.join(&b", "[..])).parse().expect("a list");
        let Some(ListEntry::Item(item)) = list.last() else { panic!("it says nothing: {lines:?}") };
        assert!(matches!(&item.bare_item, BareItem::Token(name) if name.as_str() == "bartizan"), "{item:?}");
        let params = item.params.iter().map(|(name, value)| match value {
            BareItem::Boolean(true) => name.as_str().to_owned(),
            BareItem::Integer(number) => format!("{name}={number}"),
            BareItem::Token(token) => format!("{name}={token}"),
            BareItem::String(text) => format!("{name}={:?}", text.as_str()),
            other => panic!("{name} is neither true, nor a number, nor text: {other:?}"),
        });
        params.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn is_hit(&self) -> bool {
        self.said().starts_with("hit")
    }
}

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|line| line.to_str().unwrap().to_owned()).collect()
}

/// Lets so many seconds pass, and whatever is due happen.
pub(super) async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
    settle().await;
}

pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// How long something takes.
pub(super) async fn timed<T>(what: impl Future<Output = T>) -> (T, u64) {
    let begun = Instant::now();
    let output = what.await;
    (output, begun.elapsed().as_secs())
}

/// Polls a future once, to set it going.
pub(super) async fn nudge<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The body of an answer that is still on its way.
pub(super) type Live = CacheBody<Steps>;

pub(super) fn cache_of(layer: &CacheLayer) -> ResponseCache {
    layer.rules.cache.clone()
}
