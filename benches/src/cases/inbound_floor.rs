//! The least that a promise of ours can cost where requests come in: a rate limit, told and not, and a tenant. Layers by
//! hand, as in [`floor`](super::floor).

use super::{
    Terms,
    ours::{AMPLE, TENANT},
    unknown,
};
use crate::{
    fixture::{Origin, tenant_names},
    run::Run,
};
use bartizan::PeerAddr;
use bartizan_store::{Charge, Key, Memory, PolicyName, Throttle};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::{
    collections::HashMap,
    fmt::Write,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tokio::time::Instant;
use tower_service::Service;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const POLICY: HeaderValue = HeaderValue::from_static("\"default\";q=1000000;w=1");
/// What one request takes, and what may be taken at once, in nanoseconds.
const INTERVAL: u64 = 1;
const BURST: u64 = 1_000_000;

pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let limited = |find| Limited { inner: Origin, limit: Arc::new(Limit::new(find)) };
    match name {
        "limit-client" => run.run(Terms::OURS, limited(Find::Client)),
        "limit-header" => run.run(Terms::OURS, limited(Find::Field)),
        "limit-client-memory" => {
            let (memory, policy) = (Memory::new(), PolicyName::new("default"));
            run.run(Terms::OURS, Remembered { inner: Origin, memory, policy: Arc::new(policy) })
        }
        "limit-fields" => {
            run.run(Terms::OURS.with(&["ratelimit", "ratelimit-policy"]), Told { limited: limited(Find::Client) })
        }
        "tenant" => run.run(Terms::OURS, Named { inner: Origin, known: Arc::new(known()) }),
        _ => Err(unknown(name)),
    }
}

/// Paces clients, or tenants.
#[derive(Clone, Debug)]
struct Limited<S> {
    inner: S,
    limit: Arc<Limit>,
}

/// The same, and tells them how they stand.
#[derive(Clone, Debug)]
struct Told<S> {
    limited: Limited<S>,
}

#[derive(Debug)]
enum LimitedFuture<F> {
    Called(F),
    Refused(StatusCode),
}

#[derive(Debug)]
enum Telling<F> {
    Called(F, Standing),
    Refused(StatusCode),
}

/// Paces clients in the memory that our limit has.
#[derive(Clone, Debug)]
struct Remembered<S> {
    inner: S,
    memory: Memory,
    policy: Arc<PolicyName>,
}

/// Lets in whom it knows, and says who it is.
#[derive(Clone, Debug)]
struct Named<S> {
    inner: S,
    known: Arc<HashMap<Box<[u8]>, Name, BuildHasherDefault<Words>>>,
}

/// The body of the service; of a refusal there is none.
#[derive(Debug)]
struct Passed<B>(Option<B>);

/// Buckets by a hash that nobody foresees; whoever has the same shares one. Each is the time at which it is full again.
#[derive(Debug)]
struct Limit {
    find: Find,
    born: Instant,
    secret: [u128; 9],
    full_at: Box<[AtomicU64]>,
}

#[derive(Clone, Copy, Debug)]
enum Find {
    Client,
    Field,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    left: u64,
    seconds: u64,
}

/// Who it is, as an extension of the request.
#[derive(Clone, Debug)]
struct Name(#[allow(dead_code, reason = "for whoever comes after")] Arc<str>);

/// Eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
struct Words(u64);

fn known() -> HashMap<Box<[u8]>, Name, BuildHasherDefault<Words>> {
    tenant_names().map(|name| (name.as_bytes().into(), Name(name.into()))).collect()
}

// ===== impl Limited =====

impl<S, B, R> Service<Request<B>> for Limited<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
{
    type Response = Response<Passed<R>>;
    type Error = S::Error;
    type Future = LimitedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.limit.find(&request).and_then(|hash| self.limit.take(hash)) {
            None => LimitedFuture::Refused(StatusCode::TOO_MANY_REQUESTS),
            Some(_) => LimitedFuture::Called(self.inner.call(request)),
        }
    }
}

// ===== impl Told =====

impl<S, B, R> Service<Request<B>> for Told<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
{
    type Response = Response<Passed<R>>;
    type Error = S::Error;
    type Future = Telling<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.limited.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Limited { inner, limit } = &mut self.limited;
        match limit.find(&request).and_then(|hash| limit.take(hash)) {
            None => Telling::Refused(StatusCode::TOO_MANY_REQUESTS),
            Some(standing) => Telling::Called(inner.call(request), standing),
        }
    }
}

impl<F, R, E> Future for Telling<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = Result<Response<Passed<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Called(future, standing) => {
                let mut response = ready!(Pin::new(future).poll(cx))?;
                standing.tell(&mut response);
                Poll::Ready(Ok(response.map(|body| Passed(Some(body)))))
            }
            Self::Refused(status) => Poll::Ready(Ok(refused(*status))),
        }
    }
}

// ===== impl LimitedFuture =====

impl<F, R, E> Future for LimitedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>> + Unpin,
{
    type Output = Result<Response<Passed<R>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Called(future) => {
                Pin::new(future).poll(cx).map_ok(|response| response.map(|body| Passed(Some(body))))
            }
            Self::Refused(status) => Poll::Ready(Ok(refused(*status))),
        }
    }
}

/// Apart, so that the way of most is short enough to be inlined.
#[inline(never)]
fn refused<R>(status: StatusCode) -> Response<Passed<R>> {
    let mut response = Response::new(Passed(None));
    *response.status_mut() = status;
    response
}

impl<B: Body<Data = Bytes> + Unpin> Body for Passed<B> {
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), B::size_hint)
    }
}

// ===== impl Limit =====

impl Limit {
    fn new(find: Find) -> Self {
        let (random, mut drawn) = (RandomState::new(), 0_u64);
        let mut draw = || {
            drawn += 1;
            u128::from(random.hash_one(drawn)) << 64 | u128::from(random.hash_one(!drawn))
        };
        Self {
            find,
            born: Instant::now(),
            secret: std::array::from_fn(|_| draw()),
            full_at: (0..1 << 18).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    #[inline]
    fn find<B>(&self, request: &Request<B>) -> Option<u64> {
        match self.find {
            Find::Client => {
                let PeerAddr(peer) = request.extensions().get()?;
                Some(match peer.ip().to_canonical() {
                    IpAddr::V4(address) => self.hash(&[4, address.to_bits().into()]),
                    IpAddr::V6(address) => self.hash(&[6, (address.to_bits() >> 64) as u64]),
                })
            }
            Find::Field => {
                let name = request.headers().get(TENANT)?.as_bytes();
                let mut words = [0; 8];
                for (word, bytes) in words[1..].iter_mut().zip(name.chunks(8)) {
                    *word = word_of(bytes);
                }
                words[0] = name.len() as u64;
                (name.len() <= 56).then(|| self.hash(&words[..=name.len().div_ceil(8)]))
            }
        }
    }

    /// The upper half of a linear function of these words.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half of 128 bits")]
    fn hash(&self, words: &[u64]) -> u64 {
        let products = words.iter().zip(&self.secret).map(|(word, factor)| factor.wrapping_mul((*word).into()));
        (products.fold(self.secret[8], u128::wrapping_add) >> 64) as u64
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
    fn take(&self, hash: u64) -> Option<Standing> {
        let now = u64::try_from(self.born.elapsed().as_nanos()).ok()?;
        let full_at = &self.full_at[hash as usize % self.full_at.len()];
        let then = full_at.try_update(Relaxed, Relaxed, |then| {
            let next = then.max(now) + INTERVAL;
            (next - now <= BURST).then_some(next)
        });
        let owed = then.ok()?.saturating_sub(now) + INTERVAL;
        Some(Standing { left: BURST - owed, seconds: owed.div_ceil(1_000_000_000) })
    }
}

impl Standing {
    #[inline]
    fn tell<R>(self, response: &mut Response<R>) {
        let mut told = String::with_capacity(40);
        let _ = write!(told, "\"default\";r={};t={}", self.left, self.seconds);
        if let Ok(told) = HeaderValue::try_from(told) {
            response.headers_mut().append(LIMIT, told);
            response.headers_mut().append(LIMIT_POLICY, POLICY);
        }
    }
}

// ===== impl Remembered =====

impl<S, B, R> Service<Request<B>> for Remembered<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
{
    type Response = Response<Passed<R>>;
    type Error = S::Error;
    type Future = LimitedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Some(PeerAddr(peer)) = request.extensions().get() else {
            return LimitedFuture::Refused(StatusCode::BAD_REQUEST);
        };
        let charge = Charge { policy: &self.policy, key: &Key::ip(peer.ip()), quota: AMPLE, cost: 1 };
        match self.memory.take(&charge) {
            Some(Ok(())) => LimitedFuture::Called(self.inner.call(request)),
            Some(Err(_)) | None => LimitedFuture::Refused(StatusCode::TOO_MANY_REQUESTS),
        }
    }
}

// ===== impl Named =====

impl<S, B, R> Service<Request<B>> for Named<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Unpin>,
{
    type Response = Response<Passed<R>>;
    type Error = S::Error;
    type Future = LimitedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(name) = alone(request.headers(), &TENANT) else {
            return LimitedFuture::Refused(StatusCode::BAD_REQUEST);
        };
        let Some(name) = self.known.get(name.as_bytes()) else {
            return LimitedFuture::Refused(StatusCode::FORBIDDEN);
        };
        let name = name.clone();
        request.extensions_mut().insert(name);
        LimitedFuture::Called(self.inner.call(request))
    }
}

/// The only value of a field. A map with as many values as names has each field once.
#[inline]
fn alone<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if fields.len() == fields.keys_len() {
        return fields.get(name);
    }
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

impl Hasher for Words {
    /// The last word overlaps the one before, if there is one.
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let Some(&last) = bytes.last_chunk() else { return self.write_u64(word_of(bytes)) };
        bytes.as_chunks().0.iter().for_each(|word| self.write_u64(u64::from_ne_bytes(*word)));
        self.write_u64(u64::from_ne_bytes(last));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}
