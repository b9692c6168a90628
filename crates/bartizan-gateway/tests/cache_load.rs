//! Two thousand clients of a proxy with a cache, in real time: what is stored goes stale, is purged, varies, and its origin
//! fails for a while. What each is answered, and how often the origin is asked.
//!
//! Each answer names its key, its version and its checksum. The origin knows of each version until when it was current, so
//! that of every answer it can be said whether its client may still have it.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use bartizan::cache::{CacheKey, CacheLayer, Purge, ResponseCache};
use bartizan_gateway::{Proxy, client};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use support::{PATIENCE, ms};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::Layer;

const CLIENTS: usize = 2_000;
/// So many have a connection of HTTP/1.1 each; the others share connections of HTTP/2.
const OVER_HTTP1: usize = 200;
const PER_CONNECTION: usize = 150;
const KEYS: usize = 50;
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];
const LASTS: Duration = Duration::from_secs(8);
/// All is quiet until then, and each key has been asked for.
const WARM: Duration = Duration::from_millis(2_000);
const FAILS: [Duration; 2] = [Duration::from_millis(3_500), Duration::from_millis(5_000)];
/// What the origin says.
const FRESH: Duration = Duration::from_secs(1);
const STALE: Duration = Duration::from_secs(2);
/// How long the origin takes, so that others come meanwhile.
const TAKES: Duration = Duration::from_millis(20);

/// What a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Never used when it is stale.
    Strict,
    /// May be used for a while when the origin fails.
    Lenient,
    /// Has several versions at once, and is strict.
    Varying,
    /// Strict, and purged now and then.
    Purged,
}

fn kind(key: usize) -> Kind {
    [Kind::Strict, Kind::Lenient, Kind::Varying, Kind::Purged][key % 4]
}

struct World {
    began: Instant,
    /// Of each key the moments at which a version ended, and the next began.
    ended: Vec<Mutex<Vec<Instant>>>,
    /// Of each key the moments at which what was stored of a version had been purged.
    purged: Vec<Mutex<Vec<Instant>>>,
    asked: Vec<AtomicUsize>,
    /// Of each key and language how many requests are with the origin, while it is well.
    at_once: Vec<[AtomicUsize; 3]>,
    most_at_once: Vec<[AtomicUsize; 3]>,
    /// Requests for what varies, at a time when nothing was known of it.
    cold: AtomicUsize,
    answered: AtomicUsize,
    hits: AtomicUsize,
    failed: AtomicUsize,
    /// How often the proxy could not reach the origin, which is never away.
    unreached: AtomicUsize,
    left: AtomicUsize,
    /// How long the slowest client waited, in milliseconds.
    slowest: AtomicUsize,
}

// ===== impl World =====

impl World {
    fn new() -> Self {
        let counters = || (0..KEYS).map(|_| <[AtomicUsize; 3]>::default()).collect();
        Self {
            began: Instant::now(),
            ended: (0..KEYS).map(|_| Mutex::default()).collect(),
            purged: (0..KEYS).map(|_| Mutex::default()).collect(),
            asked: (0..KEYS).map(|_| AtomicUsize::default()).collect(),
            at_once: counters(),
            most_at_once: counters(),
            cold: AtomicUsize::default(),
            answered: AtomicUsize::default(),
            hits: AtomicUsize::default(),
            failed: AtomicUsize::default(),
            unreached: AtomicUsize::default(),
            left: AtomicUsize::default(),
            slowest: AtomicUsize::default(),
        }
    }

    fn version(&self, key: usize) -> usize {
        self.ended[key].lock().unwrap().len()
    }

    /// The version that is current ends.
    fn change(&self, key: usize) {
        self.ended[key].lock().unwrap().push(Instant::now());
    }

    /// When a version ended. One that has not was current until now.
    fn end_of(&self, key: usize, version: usize) -> Instant {
        self.ended[key].lock().unwrap().get(version).copied().unwrap_or_else(Instant::now)
    }

    fn fails(&self) -> bool {
        (FAILS[0]..FAILS[1]).contains(&self.began.elapsed())
    }

    /// Whether something is stored of each key, and nobody waits for an answer that fails.
    fn is_well(&self) -> bool {
        (WARM..FAILS[0]).contains(&self.began.elapsed()) || self.began.elapsed() > FAILS[1] + FRESH
    }

    async fn answer(self: Arc<Self>, request: Request<axum::body::Body>) -> axum::response::Response {
        let key: usize = request.uri().path()[1..].parse().expect("a key");
        let language = request.headers()["accept-language"].to_str().expect("ASCII").to_owned();
        let validator = request.headers().get("if-none-match").map(|tag| tag.to_str().expect("ASCII").to_owned());
        self.asked[key].fetch_add(1, SeqCst);
        let is_failing = self.fails();
        let place = LANGUAGES.iter().position(|one| *one == language).expect("a language");
        let place = if kind(key) == Kind::Varying { place } else { 0 };
        let (now, _here) = Here::new(&self.at_once[key][place]);
        if kind(key) == Kind::Varying && self.began.elapsed() < WARM {
            self.cold.fetch_add(1, SeqCst);
        }
        if self.is_well() {
            self.most_at_once[key][place].fetch_max(now, SeqCst);
        }
        sleep(TAKES).await;
        let response = http::Response::builder();
        if is_failing {
            return response.status(503).body(axum::body::Body::from("the origin fails")).unwrap();
        }
        // What is said now is what was true now.
        let version = self.version(key);
        let varies = kind(key) == Kind::Varying;
        let etag = if varies { format!("\"{key}-{version}-{language}\"") } else { format!("\"{key}-{version}\"") };
        let rules = match kind(key) {
            Kind::Lenient => format!("max-age={}, stale-if-error={}", FRESH.as_secs(), STALE.as_secs()),
            Kind::Strict | Kind::Varying | Kind::Purged => format!("max-age={}, must-revalidate", FRESH.as_secs()),
        };
        let response = response.header("etag", &etag).header("cache-control", rules);
        let response = if varies { response.header("vary", "accept-language") } else { response };
        if validator.is_some_and(|tags| tags.split(", ").any(|tag| tag == etag)) {
            return response.status(304).body(axum::body::Body::empty()).unwrap();
        }
        let language = if varies { &*language } else { "any" };
        response.body(axum::body::Body::from(page(key, version, language))).unwrap()
    }

    /// Whether a client that asked at `sent` may have this.
    fn check(&self, key: usize, language: &str, sent: Instant, status: StatusCode, how: &str, body: &[u8]) {
        if status != StatusCode::OK {
            match status.as_u16() {
                503 => assert!(sent < self.began + FAILS[1], "{key}: a 503, and the origin was well by then: {how}"),
                // It took a second to connect, or more: on a machine that has no time for this.
                502 | 504 => _ = self.unreached.fetch_add(1, SeqCst),
                _ => panic!("{key}: {status}: {how}"),
            }
            self.failed.fetch_add(1, SeqCst);
            return;
        }
        let text = std::str::from_utf8(body).expect("UTF-8");
        let mut words = text.split(' ');
        let mut word = || words.next().expect("a word");
        let (said_key, version, said_language): (usize, usize, &str) =
            (word().parse().unwrap(), word().parse().unwrap(), word());
        let said_language = if kind(key) == Kind::Varying { said_language } else { language };
        assert_eq!((said_key, said_language), (key, language), "what is another's: {how}");
        let whole = page(key, version, if kind(key) == Kind::Varying { language } else { "any" });
        assert!(text == whole, "{key}: a torn body of {} bytes, and {} were sent: {how}", text.len(), whole.len());
        let slack = if kind(key) == Kind::Lenient { FRESH + STALE } else { FRESH };
        // It was asked of the origin before it ended, and is fresh for so long from then on.
        let late = sent.saturating_duration_since(self.end_of(key, version));
        assert!(
            late < slack,
            "{key} {:?}: version {version} had ended {late:?} before it was asked for: {how}",
            kind(key)
        );
        let purged = self.purged[key].lock().unwrap().get(version).copied();
        assert!(purged.is_none_or(|purged| sent <= purged), "{key}: version {version} was purged before: {how}");
        let waited = usize::try_from(sent.elapsed().as_millis()).expect("not that long");
        self.slowest.fetch_max(waited, SeqCst);
        self.answered.fetch_add(1, SeqCst);
        if how.starts_with("bartizan; hit") {
            self.hits.fetch_add(1, SeqCst);
        }
    }
}

/// A request that is with the origin, until it is answered or its client has gone.
struct Here<'a>(&'a AtomicUsize);

impl<'a> Here<'a> {
    fn new(count: &'a AtomicUsize) -> (usize, Self) {
        (count.fetch_add(1, SeqCst) + 1, Self(count))
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Several kilobytes, of another length for each, whose every line depends on all that it is about.
fn page(key: usize, version: usize, language: &str) -> String {
    let mut page = format!("{key} {version} {language} ");
    let mut sum = (key as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ version as u64;
    for byte in language.bytes() {
        sum = sum.wrapping_mul(31).wrapping_add(byte.into());
    }
    for _ in 0..(64 + (key * 37 + version * 11) % 256) {
        sum = sum.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        page.push_str(&format!("{sum:016x}"));
    }
    page
}

/// A client's way to the proxy.
enum Way {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Way {
    async fn http1(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    async fn http2(addr: SocketAddr) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    async fn ask(&mut self, request: Request<Empty<Bytes>>) -> (StatusCode, String, Bytes) {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("a connection that is kept");
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.expect("a connection that is kept");
                sender.send_request(request).await
            }
        };
        let (head, body) = response.expect("an answer").into_parts();
        let how = head.headers["cache-status"].to_str().expect("ASCII").to_owned();
        (head.status, how, body.collect().await.expect("a whole body").to_bytes())
    }
}

async fn live(world: Arc<World>, proxy: SocketAddr, mut way: Way, mut chance: StdRng) {
    // They do not come all in the same moment.
    sleep(ms(chance.random_range(0..1_500))).await;
    while world.began.elapsed() < LASTS {
        let key = chance.random_range(0..KEYS);
        let language = LANGUAGES[chance.random_range(0..LANGUAGES.len())];
        let (uri, host) = match way {
            Way::Http1(_) => (format!("/{key}"), Some("shop.example")),
            Way::Http2(_) => (format!("http://shop.example/{key}"), None),
        };
        let mut request = Request::get(uri).header("accept-language", language);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let sent = Instant::now();
        if chance.random_bool(0.02) {
            // It does not wait for the answer, and comes again.
            let ask = way.ask(request.body(Empty::new()).unwrap());
            let _ = timeout(ms(chance.random_range(0..30)), ask).await;
            world.left.fetch_add(1, SeqCst);
            if let Way::Http1(_) = way {
                way = Way::http1(proxy).await;
            }
            continue;
        }
        let asked = timeout(PATIENCE, way.ask(request.body(Empty::new()).unwrap())).await;
        let (status, how, body) = asked.unwrap_or_else(|_| panic!("{key}: nobody was answered for {PATIENCE:?}"));
        world.check(key, language, sent, status, &how, &body);
        sleep(ms(chance.random_range(1_000..3_500))).await;
    }
}

/// Versions end, and what is stored of some is purged then.
async fn change(world: Arc<World>, cache: ResponseCache) {
    let mut chance = StdRng::seed_from_u64(7);
    while world.began.elapsed() < LASTS {
        sleep(ms(10)).await;
        let key = chance.random_range(0..KEYS);
        world.change(key);
        if kind(key) == Kind::Purged {
            cache.purge(&Purge::url(CacheKey::url(&format!("http://shop.example/{key}")).expect("a URL")));
            world.purged[key].lock().unwrap().push(Instant::now());
        }
    }
}

// Real time: what is measured is what sockets and threads make of it. It is bounded by what each client does, not by how
// fast they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_get_what_is_theirs_and_is_not_too_old_while_the_origin_is_spared() {
    let world = Arc::new(World::new());
    let behind = Arc::clone(&world);
    let app = axum::Router::new().fallback(move |request| Arc::clone(&behind).answer(request));
    let origin = support::service(app).await;
    let cache = ResponseCache::new(64 << 20);
    let proxy = Proxy::new(client(), &format!("http://{origin}")).unwrap().keep_host();
    let listener = bartizan_gateway::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(bartizan_gateway::serve(listener, CacheLayer::new(cache.clone()).layer(proxy)).run());

    let mut clients = JoinSet::new();
    let mut shared = None;
    for number in 0..CLIENTS {
        let way = if number < OVER_HTTP1 {
            Way::http1(addr).await
        } else {
            if number % PER_CONNECTION == 0 || shared.is_none() {
                shared = Some(Way::http2(addr).await);
            }
            Way::Http2(shared.clone().expect("it is there"))
        };
        clients.spawn(live(Arc::clone(&world), addr, way, StdRng::seed_from_u64(number as u64)));
    }
    let changing = tokio::spawn(change(Arc::clone(&world), cache.clone()));
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client that was content");
    }
    changing.await.unwrap();

    println!("{world}\n{:?}", cache.statistics());
    // An answer that takes as long as it is fresh is stale when it comes, and nobody else's: on a machine as slow as that
    // each asks for himself, and numbers say nothing.
    if world.slowest.load(SeqCst) as u128 > FRESH.as_millis() * 3 / 4 {
        return println!("too slow to count anything");
    }
    assert_eq!(world.unreached.load(SeqCst), 0);
    let (answered, hits) = (world.answered.load(SeqCst), world.hits.load(SeqCst));
    assert!(hits > answered / 2, "{hits} hits of {answered}");
    the_origin_was_asked_no_more_often_than_follows_from_what_it_said(&world, &cache);
    the_origin_was_asked_for_each_key_once_at_a_time(&world);
}

/// Who asks the origin is one of these: the first for what is not fresh any more, which for each version happens once in
/// its lifetime; the first after a purge; whoever comes, while the origin fails, and then is either told so or given what
/// is stale; whoever leaves, as that may be any of them; and for what varies whoever comes before anything is known of it.
fn the_origin_was_asked_no_more_often_than_follows_from_what_it_said(world: &World, cache: &ResponseCache) {
    let asked: usize = world.asked.iter().map(|asked| asked.load(SeqCst)).sum();
    let stored = (0..KEYS).map(|key| if kind(key) == Kind::Varying { LANGUAGES.len() } else { 1 }).sum::<usize>();
    let lifetimes = usize::try_from((world.began.elapsed().as_millis() / FRESH.as_millis()) + 2).expect("a few");
    let purges: usize = world.purged.iter().map(|purged| purged.lock().unwrap().len()).sum();
    let stale = usize::try_from(cache.statistics().stale).expect("a few");
    let most = stored * lifetimes
        + purges
        + world.failed.load(SeqCst)
        + stale
        + world.left.load(SeqCst)
        + world.cold.load(SeqCst);
    assert!(asked <= most, "the origin was asked {asked} times, and {most} would have been enough");
}

fn the_origin_was_asked_for_each_key_once_at_a_time(world: &World) {
    for (key, most) in world.most_at_once.iter().enumerate() {
        for most in most {
            let most = most.load(SeqCst);
            // Those from before a purge may still be on their way, and two or three purges may follow each other closely.
            let bound = if kind(key) == Kind::Purged { 4 } else { 1 };
            assert!(most <= bound, "{key} {:?}: {most} at once", kind(key));
        }
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicUsize| count.load(SeqCst);
        let asked: usize = self.asked.iter().map(of).sum();
        let (answered, hits, failed, left) = (of(&self.answered), of(&self.hits), of(&self.failed), of(&self.left));
        write!(f, "{answered} answered, {hits} of them hits; {failed} failed, {left} left; the slowest took ")?;
        write!(f, "{} ms; {asked} at the origin, {} of them cold; at once", of(&self.slowest), of(&self.cold))?;
        for (key, most) in self.most_at_once.iter().enumerate().filter(|(_, most)| most.iter().any(|one| of(one) > 1)) {
            write!(f, " {key} {:?} {:?}", kind(key), most.each_ref().map(of))?;
        }
        Ok(())
    }
}
