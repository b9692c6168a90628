//! `QUERY` (RFC 10008): content that becomes part of a key.

use super::key::{self, CacheKey};
use bytes::{Buf, BufMut, Bytes};
use http::{Extensions, HeaderMap, HeaderName, Method, Request, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::sleep;
use tower_layer::Layer;
use tower_service::Service;

/// Reads what a `QUERY` asks for, so that a [`CacheLayer`](super::CacheLayer) within can answer it.
///
/// A `QUERY` is a `GET` that asks by its content (RFC 10008), and so the content is part of what its answer is stored under,
/// with all that its fields say of it: each whose name begins with `Content-`, but `Content-Length`. A cache by itself reads no
/// content: every `QUERY` passes it by, unless this layer stands right outside. Then it is cached as a `GET` is: validated,
/// selected by `Vary`, asked for once however many wait; it changes nothing and takes nothing away. Ranges of it pass by.
///
/// Content of up to so many bytes is held, in one piece, until the service has read it. Where there is more, or it breaks off,
/// or trailers follow, or it takes [longer](Self::read_within) than 30 seconds, the service gets what was read and then the
/// rest, and the cache has no part in it. Requests with other methods, or with `Expect`, are not touched.
///
/// It is a layer of its own, since who reads has to hand on another body: so the service of a cache gets the body that it
/// always got, and nobody pays for this who does not want it.
///
/// ```
/// use bartizan::cache::{CacheLayer, QueryLayer, ResponseCache};
/// use bytes::Bytes;
/// use http::{Method, Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let search = ServiceBuilder::new()
///     .layer(QueryLayer::new(16 * 1024))
///     .layer(CacheLayer::new(ResponseCache::new(64 * 1024 * 1024)))
///     .service(service_fn(async |request: Request<_>| {
///         let asked = BodyExt::collect(request.into_body()).await?.to_bytes();
///         Ok::<_, std::convert::Infallible>(Response::builder().header("cache-control", "max-age=60").body(Full::new(asked)).expect("valid"))
///     }));
///
/// for (asked, says) in [("shoes", "fwd=uri-miss"), ("hats", "fwd=uri-miss"), ("shoes", "hit")] {
///     let request = Request::builder().method(Method::QUERY).uri("http://shop.example/search");
///     let answer = search.clone().oneshot(request.body(Full::<Bytes>::from(asked))?).await?;
///     assert!(answer.headers()["cache-status"].to_str()?.contains(says));
///     assert_eq!(answer.into_body().collect().await?.to_bytes(), asked);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct QueryLayer {
    most: usize,
    within: Duration,
}

/// The service of [`QueryLayer`].
#[derive(Clone, Debug)]
pub struct Query<S> {
    inner: S,
    most: usize,
    within: Duration,
}

/// What a `QUERY` asks for, beside its URL. Only [`Query`] puts it among the extensions of a request.
#[derive(Clone)]
struct Content(Arc<([u8; 32], Vec<u8>)>);

pin_project! {
    /// The body of a request that [`Query`] may have read.
    pub struct QueryBody<B: Body> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B: Body> {
        Inner { #[pin] body: B },
        Read { read: Box<Read<B>> },
    }
}

/// What was read, in the order in which it came.
struct Read<B: Body> {
    /// In one piece, however it came: what comes is a slice of a larger buffer, which would be held with it.
    content: Bytes,
    /// What came last, and is not in there: with it the content is too long, or it is no content.
    last: Option<Result<Frame<Bytes>, B::Error>>,
    rest: Option<Pin<Box<B>>>,
}

/// So long may a client take with what it asks for, if nothing else is said.
const WITHIN: Duration = Duration::from_secs(30);

pin_project! {
    /// The future of [`Query`].
    #[must_use = "futures do nothing unless polled"]
    pub struct QueryFuture<F: Future> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F: Future> {
        Asks { #[pin] asking: F },
        Reads { reading: Pin<Box<dyn Future<Output = F::Output> + Send>> },
    }
}

/// Whether it is a `QUERY` whose content was read.
pub(super) fn is_read<B>(request: &Request<B>) -> bool {
    *request.method() == Method::QUERY && request.extensions().get::<Content>().is_some()
}

/// The key of such a request: that of its URL, and what it asks for there (RFC 10008 §2.7).
pub(super) fn extend(mut key: CacheKey, extensions: &Extensions) -> Option<CacheKey> {
    let Content(content) = extensions.get()?;
    let (digest, kind) = &**content;
    key.extend_with_content(kind, digest);
    (key.as_bytes().len() <= key::LONGEST).then_some(key)
}

// ===== impl QueryLayer =====

impl QueryLayer {
    /// Reads content of up to so many bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { most, within: WITHIN }
    }

    /// Waits for the content no longer than this; 30 seconds, if nothing is said. A client that takes longer is for the service
    /// to wait for, or not to.
    #[must_use]
    pub const fn read_within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }
}

impl<S> Layer<S> for QueryLayer {
    type Service = Query<S>;

    fn layer(&self, inner: S) -> Query<S> {
        Query { inner, most: self.most, within: self.within }
    }
}

// ===== impl Query =====

impl<S, B> Service<Request<B>> for Query<S>
where
    S: Service<Request<QueryBody<B>>, Future: Send> + Clone + Send + 'static,
    B: Body<Error: Send> + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = QueryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_long = request.body().size_hint().lower() > self.most as u64;
        // RFC 9110 §10.1.1: whether the client is to send its content is for whoever answers to say.
        let waits = request.headers().contains_key(header::EXPECT);
        if *request.method() != Method::QUERY || is_long || waits {
            let asking = self.inner.call(request.map(QueryBody::inner));
            return QueryFuture { state: State::Asks { asking } };
        }
        let clone = self.inner.clone();
        // The one that is ready.
        let mut inner = mem::replace(&mut self.inner, clone);
        let (most, within) = (self.most, self.within);
        let reading = Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let read = Read::of(body, most, within).await;
            if let Some(digest) = read.digest()
                && let Some(kind) = kind(&head.headers)
            {
                head.extensions.insert(Content(Arc::new((digest, kind))));
            }
            let body = QueryBody { kind: Kind::Read { read: Box::new(read) } };
            inner.call(Request::from_parts(head, body)).await
        });
        QueryFuture { state: State::Reads { reading } }
    }
}

/// What the content is, as its fields say (RFC 10008 §2.7): each line with its name, by name. Nothing of a line is a line end,
/// so that no two of them look alike. `None` if they contradict themselves.
fn kind(headers: &HeaderMap) -> Option<Vec<u8>> {
    if headers.get_all(header::CONTENT_TYPE).iter().nth(1).is_some() {
        return None;
    }
    let is_of_content = |name: &&HeaderName| name.as_str().starts_with("content-") && *name != header::CONTENT_LENGTH;
    let mut names: Vec<_> = headers.keys().filter(is_of_content).collect();
    names.sort_unstable_by_key(|name| name.as_str());
    let mut kind = Vec::new();
    for name in names {
        for line in headers.get_all(name) {
            if !kind.is_empty() {
                kind.push(b'\n');
            }
            kind.extend_from_slice(name.as_str().as_bytes());
            kind.push(b'=');
            kind.extend_from_slice(line.as_bytes());
        }
    }
    Some(kind)
}

// ===== impl Read =====

impl<B: Body> Read<B> {
    /// As much of a body as is at most so long and comes in so much time, or what came until it was longer.
    async fn of(body: B, most: usize, within: Duration) -> Self {
        let (mut body, mut is_over) = (Box::pin(body), pin!(sleep(within)));
        let mut content = Vec::new();
        while !body.is_end_stream() {
            let came = poll_fn(|cx| match is_over.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => body.as_mut().poll_frame(cx).map(Some),
            });
            let last = match came.await {
                None => None,
                Some(None) => break,
                Some(Some(Err(error))) => Some(Err(error)),
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.remaining() <= most - content.len() => {
                        content.put(data);
                        continue;
                    }
                    Ok(data) => Some(Ok(to_bytes(Frame::data(data)))),
                    Err(trailers) => Some(Ok(to_bytes(trailers))),
                },
            };
            return Self { content: content.into_boxed_slice().into(), last, rest: Some(body) };
        }
        Self { content: content.into_boxed_slice().into(), last: None, rest: None }
    }

    /// Of the content, if this is all of it.
    fn digest(&self) -> Option<[u8; 32]> {
        let is_whole = self.last.is_none() && self.rest.is_none();
        is_whole.then(|| Sha256::digest(&self.content).into())
    }
}

fn to_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

// ===== impl QueryBody =====

impl<B: Body> QueryBody<B> {
    fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

impl<B: Body> Body for QueryBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let came = match self.project().kind.project() {
            KindProj::Inner { body } => ready!(body.poll_frame(cx)),
            KindProj::Read { read } => {
                if !read.content.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut read.content)))));
                }
                if let Some(last) = read.last.take() {
                    return Poll::Ready(Some(last));
                }
                match &mut read.rest {
                    Some(rest) => ready!(rest.as_mut().poll_frame(cx)),
                    None => None,
                }
            }
        };
        Poll::Ready(came.map(|came| came.map(to_bytes)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Read { read } => {
                let is_over = read.rest.as_ref().is_none_or(Body::is_end_stream);
                read.content.is_empty() && read.last.is_none() && is_over
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Read { read } => {
                let last = read.last.as_ref().and_then(|last| last.as_ref().ok()?.data_ref());
                let here = (read.content.len() + last.map_or(0, Bytes::len)) as u64;
                let rest = read.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
                let mut hint = SizeHint::new();
                hint.set_lower(here.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper().and_then(|rest| rest.checked_add(here)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

impl<B: Body> fmt::Debug for QueryBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "QueryBody(inner)",
            Kind::Read { .. } => "QueryBody(read)",
        })
    }
}

// ===== impl QueryFuture =====

impl<F: Future> Future for QueryFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProj::Asks { asking } => asking.poll(cx),
            StateProj::Reads { reading } => reading.as_mut().poll(cx),
        }
    }
}

impl<F: Future> fmt::Debug for QueryFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueryFuture")
    }
}
