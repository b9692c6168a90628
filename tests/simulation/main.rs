//! A thousand clients and five services in virtual time: the services slow down, fail, hang, reset and go away, and come
//! back. What the clients see in between, and afterwards, is what the outbound stack is for.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod world;

use bartizan::{
    circuit_breaker::{Breaker, BreakerPolicy, Changes, CircuitBreakerLayer, State},
    concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer},
    retry::{self, Budget, GaveUp, ReplayMemory, RetryLayer, RetryPolicy},
    timeout::{AttemptTimeoutLayer, TimeoutLayer},
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use world::{Number, Server, Trouble};

const CLIENTS: u64 = 1_000;
const TROUBLES: [Trouble; 5] = [Trouble::Slow, Trouble::Failing, Trouble::Hanging, Trouble::Resetting, Trouble::Gone];

const TOTAL: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_OPEN: Duration = Duration::from_secs(4);
const RAMP: Duration = Duration::from_secs(10);
const AT_ONCE: u32 = 150;

/// All is well until then. From then on a part of the requests fails, with each service in its own way.
const FAULT: Duration = Duration::from_secs(20);
const PART: f64 = 0.35;
/// From then on nearly all of them.
const STORM: Duration = Duration::from_secs(35);
/// All is well again.
const HEALED: Duration = Duration::from_secs(55);
/// The last breaker has been open for its longest time, up to a fifth more, has probed, and has let in all for the ramp.
const RECOVERED: Duration = Duration::from_secs(55 + 4 + 1 + 1 + 10);
const END: Duration = Duration::from_secs(91);

type Stack = BoxCloneSyncService<Request<Full<Bytes>>, Answer, io::Error>;
type Answer = (StatusCode, Bytes);

struct Upstream {
    server: Server,
    breaker: Breaker,
    limit: ConcurrencyLimit,
    /// How many retries the budget did not grant.
    ungranted: Arc<AtomicU64>,
    stack: Stack,
}

/// What the clients have seen of each request.
#[derive(Default)]
struct Ledger {
    sent: AtomicU64,
    ends: Mutex<HashMap<u64, End>>,
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It was done, and answered so at this time.
    Good(Duration),
    /// It was not.
    Bad,
    /// The client did not wait.
    Left,
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_in_a_storm_comes_back_and_nothing_is_done_twice() {
    for seed in [1, 2, 3] {
        storm(seed).await;
    }
}

async fn storm(seed: u64) {
    let begin = Instant::now();
    let memory = ReplayMemory::new(1 << 20);
    let upstreams: Arc<[Upstream]> = (0..5).map(|index| upstream(seed * 10 + index, &memory)).collect();
    let ledger = Arc::new(Ledger::default());

    let watched: Vec<_> =
        upstreams.iter().map(|upstream| tokio::spawn(states(upstream.breaker.watch(), begin + END))).collect();
    let mut tasks = JoinSet::new();
    for (upstream, trouble) in upstreams.iter().zip(TROUBLES) {
        let server = upstream.server.clone();
        tasks.spawn(async move {
            sleep_until(begin + FAULT).await;
            server.seen().trouble = Some((trouble, PART));
            sleep_until(begin + STORM).await;
            server.seen().trouble = Some((trouble, 0.95));
            sleep_until(begin + HEALED).await;
            server.seen().trouble = None;
        });
    }
    for client in 0..CLIENTS {
        let chance = StdRng::seed_from_u64(seed * CLIENTS + client);
        tasks.spawn(live(begin, chance, Arc::clone(&upstreams), Arc::clone(&ledger)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    every_request_ended_as_it_was_answered(&ledger, &upstreams);
    for ((upstream, trouble), watched) in upstreams.iter().zip(TROUBLES).zip(watched) {
        nothing_was_done_twice_that_must_not(upstream);
        retries_were_made_and_stayed_in_budget(upstream, trouble);
        the_breaker_opened_and_closed_again(upstream, trouble, &watched.await.unwrap());
        assert_eq!(upstream.limit.in_flight(), 0, "{trouble:?}: a permit is lost");
        let seen = upstream.server.seen();
        assert_eq!(seen.at_work, 0, "{trouble:?}: a call was not let go");
        assert!(seen.most_at_work <= AT_ONCE as usize, "{trouble:?}: {} at once", seen.most_at_work);
    }
    assert_eq!(memory.used(), 0, "what was kept of bodies is let go");
    goodput_came_back(&ledger);
}

/// In the order of the book: total timeout, retry, breaker, concurrency, attempt timeout.
fn upstream(seed: u64, memory: &ReplayMemory) -> Upstream {
    let server = Server::new(seed);
    let breaker = Breaker::new(BreakerPolicy::new().open_for(Duration::from_secs(1), LONGEST_OPEN).ramp(RAMP));
    let limit = ConcurrencyLimit::new(AT_ONCE);
    let ungranted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&ungranted);
    let retry = RetryLayer::new(RetryPolicy::attempts(3)).budget(Budget::new()).memory(memory.clone());
    let retry = retry.observe(move |event| {
        if let retry::Event::GaveUp { why: GaveUp::Budget, .. } = event {
            count.fetch_add(1, Relaxed);
        }
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(TOTAL))
        .layer(retry)
        .layer(CircuitBreakerLayer::new(breaker.clone()))
        .layer(ConcurrencyLimitLayer::new(limit.clone()))
        .layer(AttemptTimeoutLayer::new(ATTEMPT))
        .service(server.clone());
    Upstream { server, breaker, limit, ungranted, stack: whole(stack) }
}

/// The stack and the reading of the answer in one.
fn whole<S, B>(stack: S) -> Stack
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = io::Error> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    BoxCloneSyncService::new(stack.and_then(read))
}

async fn read<B>(response: Response<B>) -> io::Result<Answer>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let status = response.status();
    Ok((status, response.into_body().collect().await.map_err(io::Error::other)?.to_bytes()))
}

/// What a breaker becomes, until then.
async fn states(mut changes: Changes, until: Instant) -> Vec<State> {
    let mut states = Vec::new();
    while let Ok(Some(state)) = timeout_at(until, changes.next()).await {
        states.push(state);
    }
    states
}

/// One client: a request about once a second, to any of the services; now and then it doesn't wait for the answer.
async fn live(begin: Instant, mut chance: StdRng, upstreams: Arc<[Upstream]>, ledger: Arc<Ledger>) {
    loop {
        sleep(Duration::from_millis(chance.random_range(500..1_500))).await;
        if begin.elapsed() > END {
            return;
        }
        let number = ledger.sent.fetch_add(1, Relaxed);
        let post = chance.random_bool(0.3);
        let number = if post { number | POST } else { number };
        let mut request = Request::new(Full::from(if post { "an order" } else { "" }));
        *request.method_mut() = if post { Method::POST } else { Method::GET };
        request.extensions_mut().insert(Number(number));
        let call = upstreams[chance.random_range(0..upstreams.len())].stack.clone().oneshot(request);

        let patience =
            if chance.random_bool(0.02) { Duration::from_millis(chance.random_range(1..500)) } else { TOTAL * 2 };
        let sent = Instant::now();
        let Ok(answer) = timeout(patience, call).await else {
            assert!(patience < TOTAL, "request {number} was never answered");
            ledger.ended(number, End::Left);
            continue;
        };
        assert!(sent.elapsed() <= TOTAL + Duration::from_millis(5), "an answer after {:?}", sent.elapsed());
        match answer {
            // By the number that the answer bears: that of another request would be told twice, and its own never.
            Ok((StatusCode::OK, body)) => {
                let answered = str::from_utf8(&body).unwrap().parse().unwrap();
                ledger.ended(answered, End::Good(begin.elapsed()));
            }
            _ => ledger.ended(number, End::Bad),
        }
    }
}

impl Ledger {
    fn ended(&self, number: u64, end: End) {
        let before = self.ends.lock().unwrap().insert(number, end);
        assert_eq!(before, None, "request {number} ended twice");
    }

    /// When requests were answered well.
    fn good(&self) -> Vec<Duration> {
        let at = |end: &End| if let End::Good(at) = end { Some(*at) } else { None };
        self.ends.lock().unwrap().values().filter_map(at).collect()
    }
}

/// Marks the numbers of requests that must not be sent twice.
const POST: u64 = 1 << 63;

/// No answer is lost on its way through the layers, and none is there twice: the requests that a service has done are
/// those whose clients were told so, but for clients who had gone, and none of them was done again.
fn every_request_ended_as_it_was_answered(ledger: &Ledger, upstreams: &[Upstream]) {
    let ends = ledger.ends.lock().unwrap();
    let sent = ledger.sent.load(Relaxed);
    assert_eq!(ends.len() as u64, sent, "a request has no end");
    assert!(sent > CLIENTS * 50, "only {sent} requests were sent");
    let mut done = 0;
    for upstream in upstreams {
        for (number, times) in &upstream.server.seen().answers {
            assert_eq!(*times, 1, "request {number} was done again after it had been answered");
            match ends.get(number) {
                Some(End::Good(_)) => done += 1,
                Some(End::Left) => {}
                other => panic!("request {number} was done and answered, and ended in {other:?}"),
            }
        }
    }
    let good = ends.values().filter(|end| matches!(end, End::Good(_))).count();
    assert_eq!(good, done, "a client was told that something was done which was not");
}

fn nothing_was_done_twice_that_must_not(upstream: &Upstream) {
    let seen = upstream.server.seen();
    let twice = seen.arrivals.iter().find(|(number, times)| **number & POST != 0 && **times > 1);
    assert_eq!(twice, None, "a POST without a key was sent again after it may have had its effect");
    let most = seen.arrivals.values().max();
    assert!(most.is_some_and(|most| *most <= 3), "{most:?} attempts");
}

/// In any ten seconds: a fifth of the requests, and ten a second. A request counts when it comes back, up to one
/// attempt's time after it was first seen; that and the grain of a second are allowed for.
///
/// Some were made, and more were wanted: none, or a few, stay in budget whatever it grants.
fn retries_were_made_and_stayed_in_budget(upstream: &Upstream, trouble: Trouble) {
    let seen = upstream.server.seen();
    for end in 10..=seen.seconds.len() {
        let repeats: u32 = seen.seconds[end - 10..end].iter().map(|(_, repeats)| repeats).sum();
        let firsts: u32 = seen.seconds[end.saturating_sub(13)..end].iter().map(|(firsts, _)| firsts).sum();
        assert!(repeats <= firsts / 5 + 11 * 10, "{trouble:?}: {repeats} retries of {firsts} requests by second {end}");
    }
    // Who is gone sees no repeats: what arrives there arrives for the first time.
    if trouble != Trouble::Gone {
        let repeats: u32 = seen.seconds.iter().map(|(_, repeats)| repeats).sum();
        assert_ne!(repeats, 0, "{trouble:?}: nothing was sent again");
        assert_ne!(upstream.ungranted.load(Relaxed), 0, "{trouble:?}: the budget granted whatever was asked of it");
    }
}

/// A breaker that never opens is not wedged either.
fn the_breaker_opened_and_closed_again(upstream: &Upstream, trouble: Trouble, states: &[State]) {
    assert!(states.contains(&State::Open), "{trouble:?}: the breaker never opened: {states:?}");
    assert_ne!(upstream.breaker.metrics().refused, 0, "{trouble:?}: the breaker let all of them in");
    assert_eq!(upstream.breaker.state(), State::Closed, "{trouble:?}: the breaker is wedged");
}

fn goodput_came_back(ledger: &Ledger) {
    let good = ledger.good();
    let per_second = |from: Duration, until: Duration| {
        let good = good.iter().filter(|at| (from..until).contains(at)).count();
        good as f64 / (until - from).as_secs_f64()
    };
    let before = per_second(Duration::from_secs(5), FAULT);
    let storm = per_second(STORM + Duration::from_secs(5), HEALED);
    let after = per_second(RECOVERED, END);
    assert!(storm < before * 0.5, "the storm was none: {storm} of {before} good answers a second");
    assert!(after >= before * 0.95, "{after} good answers a second, and before the storm {before}");
}
