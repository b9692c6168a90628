use super::{
    Broken, Event, Fault, FaultLayer, Faults, FaultyBody,
    kinds::Kind,
    strike::{Dice, Instead, Strike, strikes},
};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    future::pending,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

type Answer = Response<FaultyBody<Full<Bytes>>>;

fn switch() -> Faults {
    Faults::new().at_most(1.0).seed(1)
}

fn to(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).expect("a request")
}

/// Asks a service that answers at once, and counts its calls in its body.
async fn ask(layer: &FaultLayer, path: &str) -> Answer {
    let inner = |_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::from("twelve bytes"))) };
    layer.layer(service_fn(inner)).oneshot(to(path)).await.expect("infallible")
}

async fn status(layer: &FaultLayer, path: &str) -> u16 {
    ask(layer, path).await.status().as_u16()
}

/// A body that is fed by hand.
struct Fed(mpsc::UnboundedReceiver<Frame<Bytes>>);

fn fed() -> (mpsc::UnboundedSender<Frame<Bytes>>, Fed) {
    let (feed, body) = mpsc::unbounded_channel();
    (feed, Fed(body))
}

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// What comes out of a body before it breaks.
async fn until_broken<B>(body: B) -> Vec<u8>
where
    B: Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = Box::pin(body);
    let mut all = Vec::new();
    loop {
        match body.frame().await.expect("it breaks before its end") {
            Ok(frame) => all.extend_from_slice(frame.data_ref().expect("data")),
            Err(error) => {
                assert!(error.is::<Broken>(), "{error}");
                assert!(body.is_end_stream() && body.frame().await.is_none(), "nothing follows an error");
                return all;
            }
        }
    }
}

// ===== the decision =====

fn a_fault() -> impl Strategy<Value = Fault> {
    let rate = (1u32..).prop_map(|rate| NonZeroU32::new(rate).expect("at least one"));
    let kind = prop_oneof![
        (0u32..100, 0u32..100)
            .prop_map(|(from, more)| { Fault::latency(MILLISECOND * from..=MILLISECOND * (from + more)) }),
        (400u16..600).prop_map(|status| Fault::status(StatusCode::from_u16(status).expect("a status"))),
        (0u8..=16).prop_map(Fault::grpc_status),
        Just(Fault::reset()),
        any::<u64>().prop_map(Fault::truncated),
        rate.prop_map(Fault::bandwidth),
    ];
    (kind, 0.0..=1.0).prop_map(|(fault, share)| fault.share(share))
}

proptest! {
    /// Of all the requests no more are harmed than may be, however many faults there are, and each fault has its share:
    /// within what chance explains (five standard deviations).
    #[test]
    fn no_more_are_harmed_than_may_be_and_each_fault_has_its_share(
        faults in prop::collection::vec(a_fault(), 1..5),
        at_most in 0.0..=1.0,
        seed: u64,
    ) {
        const REQUESTS: u64 = 2000;
        let mut harmed = 0u32;
        let mut struck = vec![0u32; faults.len()];
        for number in 0..REQUESTS {
            let all: Vec<_> = strikes(faults.iter(), at_most, Dice::of(seed, number)).map(|(fault, _)| fault).collect();
            harmed += u32::from(!all.is_empty());
            for (fault, struck) in faults.iter().zip(&mut struck) {
                *struck += u32::from(all.iter().any(|other| std::ptr::eq(*other, fault)));
            }
        }
        let spread = |share: f64| 5.0 * (share * (1.0 - share) * REQUESTS as f64).sqrt() + 1.0;
        prop_assert!(f64::from(harmed) <= at_most * REQUESTS as f64 + spread(at_most), "{harmed} of {at_most}");
        for (fault, struck) in faults.iter().zip(struck) {
            let share = fault.share.min(at_most);
            let off = (f64::from(struck) - share * REQUESTS as f64).abs();
            prop_assert!(off <= spread(share), "{struck} for {share}");
        }
    }

    #[test]
    fn the_dice_fall_the_same_way_for_a_seed_and_a_number(faults in prop::collection::vec(a_fault(), 0..5), seed: u64, number: u64) {
        let draw = || {
            let mut strike = Strike::default();
            strikes(faults.iter(), 1.0, Dice::of(seed, number)).for_each(|(fault, at)| strike.add(fault, at));
            strike
        };
        prop_assert_eq!(draw(), draw());
    }

    #[test]
    fn a_latency_is_one_of_its_range(from in 0u32..1000, more in 0u32..1000, at in 0.0..1.0) {
        let range = MILLISECOND * from..=MILLISECOND * (from + more);
        let mut strike = Strike::default();
        strike.add(&Fault::latency(range.clone()), at);
        prop_assert!(range.contains(&strike.latency), "{:?}", strike.latency);
    }

    /// Whatever comes in whatever pieces: so many bytes pass, and the body breaks if there were more.
    #[test]
    fn a_truncated_body_is_a_prefix(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
        after in 0usize..80,
        rate in prop::option::of(1u32..1000),
    ) {
        let whole = pieces.concat();
        let (feed, body) = fed();
        pieces.into_iter().for_each(|piece| feed.send(Frame::data(piece.into())).expect("it is there"));
        drop(feed);
        let rate = rate.map(|rate| NonZeroU32::new(rate).expect("at least one"));
        let body = FaultyBody::harmed(body, Some(after as u64), rate);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            if whole.len() > after {
                assert_eq!(until_broken(body).await, whole[..after]);
            } else {
                assert_eq!(body.collect().await.expect("it is whole").to_bytes(), whole);
            }
        });
    }
}

#[test]
fn of_two_faults_of_a_kind_the_worse_one_prevails() {
    let rate = |rate| NonZeroU32::new(rate).expect("at least one");
    let mut strike = Strike::default();
    for fault in [
        Fault::latency(SECOND),
        Fault::latency(2 * SECOND),
        Fault::truncated(20),
        Fault::truncated(10),
        Fault::bandwidth(rate(9)),
        Fault::bandwidth(rate(7)),
        Fault::reset(),
        Fault::status(StatusCode::BAD_GATEWAY),
    ] {
        strike.add(&fault, 0.5);
    }
    let expected =
        Strike { latency: 3 * SECOND, instead: Some(Instead::Reset), truncated: Some(10), bandwidth: Some(rate(7)) };
    assert_eq!(strike, expected);
}

#[test]
fn a_fault_says_what_it_is() {
    let fault = Fault::latency(200 * MILLISECOND..=800 * MILLISECOND).share(0.3);
    assert_eq!(fault.to_string(), "latency 200ms to 800ms, 30 % of requests");
    assert_eq!(Fault::status(StatusCode::SERVICE_UNAVAILABLE).to_string(), "status 503");
    assert_eq!(Fault::truncated(9).kind, Kind::Truncated(9));
}

#[test]
fn what_cannot_be_is_a_panic() {
    let panics = |f: fn()| assert!(std::panic::catch_unwind(f).is_err());
    panics(|| drop(Fault::reset().share(1.1)));
    panics(|| drop(Fault::reset().share(f64::NAN)));
    panics(|| drop(Fault::grpc_status(17)));
    panics(|| drop(Faults::new().at_most(-0.1)));
    panics(|| drop(Fault::latency(SECOND..=Duration::ZERO)));
}

// ===== the switch =====

#[tokio::test(start_paused = true)]
async fn it_is_off_until_a_fault_is_injected_and_again_when_it_is_healed() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    assert_eq!(status(&layer, "/").await, 200);
    faults.inject(Fault::status(StatusCode::BAD_GATEWAY));
    assert_eq!((status(&layer, "/").await, faults.active().len()), (502, 1));
    faults.heal();
    assert_eq!((status(&layer, "/").await, faults.active().len(), faults.harmed()), (200, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn it_goes_off_by_itself_when_the_time_is_over() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    faults.inject(Fault::status(StatusCode::BAD_GATEWAY).lasting(15 * SECOND));
    sleep(15 * SECOND - MILLISECOND).await;
    assert_eq!(faults.active()[0].1, Some(MILLISECOND));
    assert_eq!(status(&layer, "/").await, 502);
    sleep(MILLISECOND).await;
    assert_eq!(status(&layer, "/").await, 200);
    assert!(!faults.may_be_on(), "the next request looks at nothing");
    assert!(faults.active().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_injected_takes_the_place_of_what_was_there() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    faults.inject([Fault::status(StatusCode::BAD_GATEWAY).lasting(SECOND), Fault::latency(SECOND)]);
    faults.inject(Fault::status(StatusCode::TOO_MANY_REQUESTS));
    let started = Instant::now();
    assert_eq!(status(&layer, "/").await, 429);
    sleep(2 * SECOND).await;
    assert_eq!((status(&layer, "/").await, started.elapsed()), (429, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn by_default_hardly_anybody_is_harmed() {
    let faults = Faults::new().seed(3);
    let layer = FaultLayer::new(faults.clone());
    faults.inject(Fault::status(StatusCode::BAD_GATEWAY));
    let mut harmed = 0;
    for _ in 0..2000 {
        harmed += u64::from(status(&layer, "/").await == 502);
    }
    assert!((50..150).contains(&harmed), "5 % of 2000 is 100, and not {harmed}");
    assert_eq!(faults.harmed(), harmed);
}

#[tokio::test(start_paused = true)]
async fn only_those_are_harmed_that_are_aimed_at() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    faults.inject([
        Fault::status(StatusCode::NOT_FOUND).only(|head| head.uri.path() == "/a"),
        Fault::status(StatusCode::GONE).only(|head| head.uri.path() == "/b"),
    ]);
    assert_eq!([status(&layer, "/a").await, status(&layer, "/b").await, status(&layer, "/c").await], [404, 410, 200]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_no_fault_aims_at_do_not_change_how_the_dice_fall() {
    let run = |strangers: usize| async move {
        let faults = switch();
        let layer = FaultLayer::new(faults.clone());
        faults.inject(Fault::reset().share(0.5).only(|head| head.uri.path() == "/a"));
        let mut answers = Vec::new();
        for _ in 0..50 {
            answers.push(status(&layer, "/a").await);
            for _ in 0..strangers {
                assert_eq!(status(&layer, "/b").await, 200);
            }
        }
        answers
    };
    let answers = run(0).await;
    assert!(answers.contains(&200) && answers.contains(&502));
    assert_eq!(run(3).await, answers);
}

#[test]
fn switching_from_many_threads_leaves_it_as_the_last_one_left_it() {
    let faults = switch();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    faults.inject(Fault::reset().lasting(Duration::ZERO));
                    let (head, ()) = to("/").into_parts();
                    faults.strike(&head, |_| {});
                    faults.heal();
                }
            });
        }
    });
    assert!(!faults.may_be_on());
    faults.inject(Fault::reset());
    assert!(faults.may_be_on() && faults.active().len() == 1);
}

// ===== the service =====

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_the_answer() {
    let faults = switch();
    faults.inject(Fault::latency(300 * MILLISECOND));
    let started = Instant::now();
    let answer = ask(&FaultLayer::new(faults), "/").await;
    assert_eq!(started.elapsed(), 300 * MILLISECOND);
    assert_eq!(answer.into_body().collect().await.expect("it is whole").to_bytes(), "twelve bytes");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_comes_late_too() {
    let faults = switch();
    faults.inject(Fault::latency(SECOND));
    let failing = service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let started = Instant::now();
    let answer = FaultLayer::new(faults).layer(failing).oneshot(to("/")).await;
    assert_eq!((answer.err(), started.elapsed()), (Some("broken"), SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_instead_never_calls_the_service() {
    let calls = AtomicU64::new(0);
    let inner = service_fn(|_: Request<()>| {
        calls.fetch_add(1, Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });
    let faults = switch();
    let service = FaultLayer::new(faults.clone()).layer(inner);

    faults.inject([Fault::status(StatusCode::SERVICE_UNAVAILABLE), Fault::latency(SECOND)]);
    let started = Instant::now();
    let answer = service.clone().oneshot(to("/")).await.expect("infallible");
    assert_eq!((answer.status().as_u16(), started.elapsed()), (503, SECOND));
    assert!(answer.headers().is_empty() && answer.extensions().is_empty() && answer.body().is_end_stream());

    faults.inject(Fault::grpc_status(14));
    let answer = service.clone().oneshot(to("/")).await.expect("infallible");
    assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &14.into()));
    assert!(answer.body().is_end_stream());

    faults.inject(Fault::reset());
    let answer = service.clone().oneshot(to("/")).await.expect("infallible");
    assert_eq!(answer.status(), 502);
    assert!(!answer.body().is_end_stream());
    assert_eq!(until_broken(answer.into_body()).await, b"");
    assert_eq!(calls.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_breaks_off_in_the_middle_and_its_head_promises_the_whole() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    faults.inject(Fault::truncated(6));
    let answer = ask(&layer, "/").await;
    assert_eq!(answer.body().size_hint().exact(), Some(12));
    assert_eq!(until_broken(answer.into_body()).await, b"twelve");

    faults.inject(Fault::truncated(12));
    let whole = ask(&layer, "/").await.into_body().collect().await;
    assert_eq!(whole.expect("no byte is missing").to_bytes(), "twelve bytes");
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_carries_what_it_says() {
    let faults = switch();
    faults.inject(Fault::bandwidth(NonZeroU32::new(20).expect("not zero")));
    let mut body = ask(&FaultLayer::new(faults), "/").await.into_body();
    let started = Instant::now();
    let mut came = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.expect("it is whole").into_data().expect("data");
        came.push((started.elapsed().as_millis(), data));
        assert_eq!(body.size_hint().exact(), Some(12 - 2 * came.len() as u64));
    }
    assert_eq!(came.first(), Some(&(100, Bytes::from("tw"))));
    assert_eq!(came.last(), Some(&(600, Bytes::from("es"))));
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_no_faster_after_a_reader_has_rested() {
    let big = Full::new(Bytes::from(vec![0; 1000]));
    let mut body = FaultyBody::harmed(big, None, NonZeroU32::new(100));
    assert!(body.frame().await.is_some());
    sleep(9 * SECOND).await; // the reader rests
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < SECOND {
        let frame = body.frame().await.expect("there is more").expect("it is whole");
        bytes += frame.into_data().expect("data").len();
    }
    assert_eq!(bytes, 110, "of a line of 100 in a second, and what was on its way");
}

#[tokio::test(start_paused = true)]
async fn a_line_of_many_small_pieces_is_not_slower_than_it_says() {
    let (feed, body) = fed();
    for _ in 0..1000 {
        feed.send(Frame::data(Bytes::from_static(b"1234567890"))).expect("it is there");
    }
    drop(feed);
    // A piece takes a tenth of what a timer can tell.
    let body = FaultyBody::harmed(body, None, NonZeroU32::new(100_000));
    let started = Instant::now();
    assert_eq!(body.collect().await.expect("it is whole").to_bytes().len(), 10_000);
    assert!((99..=102).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn trailers_and_pauses_of_the_service_pass_a_slow_line() {
    let (feed, body) = fed();
    let mut body = FaultyBody::harmed(body, None, NonZeroU32::new(10));
    let started = Instant::now();
    feed.send(Frame::data(Bytes::from("a"))).expect("it is there");
    assert!(body.frame().await.is_some());
    assert!(timeout(10 * SECOND, body.frame()).await.is_err(), "the service has not said more");
    feed.send(Frame::data(Bytes::from("b"))).expect("it is there");
    assert!(body.frame().await.is_some());
    assert_eq!(started.elapsed().as_millis(), 10_200, "what was not used is not made up for");
    feed.send(Frame::trailers(http::HeaderMap::new())).expect("it is there");
    assert!(body.frame().await.expect("trailers").expect("no error").is_trailers());
    drop(feed);
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_if_that_is_wanted_and_an_observer_is_told_each_fault() {
    let (faults, seen) = (switch(), Arc::new(Mutex::new(Vec::new())));
    let seeing = Arc::clone(&seen);
    let layer = FaultLayer::new(faults.clone())
        .told_in(HeaderName::from_static("x-fault"))
        .observe(move |Event::Struck(fault)| seeing.lock().unwrap().push(fault.to_string()));
    faults.inject([Fault::latency(SECOND), Fault::truncated(3)]);
    assert_eq!(ask(&layer, "/").await.headers()["x-fault"], "latency, truncated");
    assert_eq!(*seen.lock().unwrap(), ["latency 1s", "truncated after 3 bytes"]);
    faults.heal();
    assert!(ask(&layer, "/").await.headers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_leaves_the_switch_in_order() {
    let faults = switch();
    let layer = FaultLayer::new(faults.clone());
    faults.inject(Fault::reset().only(|head| panic!("{}", head.uri)));
    let asked = tokio::spawn(async move { status(&layer, "/").await }).await;
    assert!(asked.is_err_and(|error| error.is_panic()));
    faults.heal();
    assert_eq!(status(&FaultLayer::new(faults), "/").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_an_answer_is_held_back_takes_it_along() {
    let faults = switch();
    faults.inject(Fault::latency(SECOND));
    let answer = timeout(MILLISECOND, ask(&FaultLayer::new(faults.clone()), "/")).await;
    assert!(answer.is_err());
    let waiting = service_fn(|_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let answer = timeout(10 * SECOND, FaultLayer::new(faults).layer(waiting).oneshot(to("/"))).await;
    assert!(answer.is_err(), "latency never makes an answer");
}
