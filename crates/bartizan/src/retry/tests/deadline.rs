//! A request that has a deadline, and what is learned of how long an attempt takes.

use super::{
    support::{BoxError, Events, Out, Say, Upstream, ask, collect, get},
    *,
};
use http::Version;
use http_body::{Body, Frame};
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};
use tokio::time::{Sleep, sleep};

const MS: Duration = Duration::from_millis(1);

fn within(time: Duration) -> Request<Full<Bytes>> {
    let mut request = get();
    Deadline::after(time).tighten(request.extensions_mut());
    request
}

/// Sends again at once.
fn without_a_pause() -> RetryLayer {
    RetryLayer::new(THREE.pause(Duration::ZERO, Duration::ZERO))
}

/// Teaches the layer how long an attempt takes.
async fn learn(layer: &RetryLayer, takes: Duration) {
    let upstream = Upstream::answering([Say::Status(200)]).slow(takes);
    ask(layer, &upstream, within(2 * takes)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_that_cannot_end_before_the_deadline() {
    // Each takes 100 ms; that is learned from the first request.
    let layer = RetryLayer::new(RetryPolicy::attempts(20).pause(Duration::from_millis(1), Duration::from_millis(1)));
    let events = Events::default();
    let layer = events.of(layer);
    let slow = Upstream::answering([Say::Status(200)]).slow(Duration::from_millis(100));
    let with_deadline = |millis| {
        let mut request = get();
        Deadline::after(Duration::from_millis(millis)).tighten(request.extensions_mut());
        request
    };
    ask(&layer, &slow, with_deadline(1000)).await.unwrap();
    let failing = Upstream::answering([Say::Status(503)]).slow(Duration::from_millis(100));
    let began = Instant::now();
    let answer = ask(&layer, &failing, with_deadline(350)).await.unwrap();
    assert_eq!((answer.status(), failing.calls()), (StatusCode::SERVICE_UNAVAILABLE, 3));
    assert!(began.elapsed() < Duration::from_millis(350));
    assert_eq!(events.names().last().unwrap(), "gave up: Deadline");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_before_the_deadline_is_not_called() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]).unready_after(1);
    let mut request = get();
    Deadline::after(Duration::from_secs(5)).tighten(request.extensions_mut());
    let began = Instant::now();
    let answer = ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    assert_eq!((began.elapsed(), upstream.calls()), (Duration::from_secs(5), 1));
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-answer"]),
        (503, &"503".parse::<http::HeaderValue>().unwrap())
    );
    assert_eq!(collect(answer).await, "status 503");
}

/// Reading the rest of the failed answer takes up to 50 ms, which an attempt of 40 ms has not to spare here.
#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_not_read_where_the_next_attempt_needs_the_time() {
    let layer = without_a_pause();
    learn(&layer, 40 * MS).await;
    let stuck = vec![Out::Data(1), Out::Wait(9000 * MS), Out::Data(1)];
    for (left, takes, read) in [(100, 80, 0), (200, 130, 1)] {
        let failing = Say::Frames(vec![(":status", "503")], Version::HTTP_11, stuck.clone());
        let upstream = Upstream::answering([failing, Say::Status(200)]).slow(40 * MS);
        let began = Instant::now();
        let answer = ask(&layer, &upstream, within(left * MS)).await.unwrap();
        assert_eq!((answer.status(), upstream.calls()), (StatusCode::OK, 2));
        let took = began.elapsed();
        assert!(took >= takes * MS && took < (takes + 5) * MS, "{took:?} of {left} ms");
        assert_eq!(upstream.let_go()[0].1, read);
    }
}

/// Whether a request that fails and has a second is sent again, as it should be if an attempt takes less.
async fn is_sent_again(layer: &RetryLayer) -> bool {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    ask(layer, &upstream, within(1000 * MS)).await.unwrap();
    upstream.calls() == 2
}

#[tokio::test(start_paused = true)]
async fn one_slow_answer_is_no_reason_not_to_try_again() {
    for takes in [[20, 20, 20, 30_000], [30_000, 20, 20, 20], [20, 30_000, 20, 30_000]] {
        let layer = without_a_pause();
        for takes in takes {
            learn(&layer, takes * MS).await;
        }
        assert!(is_sent_again(&layer).await, "{takes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_has_become_slow_is_found_out_and_so_is_one_that_is_quick_again() {
    let layer = without_a_pause();
    for (takes, expected) in [(20, true), (5000, false), (20, true)] {
        for _ in 0..8 {
            learn(&layer, takes * MS).await;
        }
        assert_eq!(is_sent_again(&layer).await, expected, "{takes} ms");
    }
}

/// In an outage there is nothing to learn from but the failures.
#[tokio::test(start_paused = true)]
async fn a_service_that_fails_quickly_does_not_stay_slow_for_ever() {
    let layer = without_a_pause();
    for _ in 0..20 {
        learn(&layer, 5000 * MS).await;
    }
    assert!(!is_sent_again(&layer).await);
    let failing = Upstream::answering([Say::Status(503)]).slow(2 * MS);
    for _ in 0..20 {
        ask(&layer, &failing, within(1000 * MS)).await.unwrap();
    }
    assert!(is_sent_again(&layer).await);
}

/// And one that fails after its time says nothing of how long an answer takes.
#[tokio::test(start_paused = true)]
async fn a_failure_that_takes_longer_than_an_answer_is_not_learned() {
    let layer = without_a_pause();
    learn(&layer, 20 * MS).await;
    let hanging = Upstream::answering([Say::Error(io::ErrorKind::TimedOut)]).slow(5000 * MS);
    for _ in 0..20 {
        ask(&layer, &hanging, within(6000 * MS)).await.unwrap_err();
    }
    assert!(is_sent_again(&layer).await);
}

/// It would have taken longer, and nobody knows how long.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_cut_short_says_nothing_of_how_long_an_answer_takes() {
    for (takes, cut_after, expected) in [(2000, 500, false), (20, 5000, true)] {
        for says in [Say::TimedOut, Say::Error(io::ErrorKind::TimedOut)] {
            for statuses in [&[StatusCode::SERVICE_UNAVAILABLE][..], &[503, 504].map(|code| code.try_into().unwrap())] {
                let policy = THREE.pause(Duration::ZERO, Duration::ZERO).statuses(statuses);
                let layer = RetryLayer::new(policy);
                learn(&layer, takes * MS).await;
                for _ in 0..20 {
                    let hanging = Upstream::answering([says.clone()]).slow(cut_after * MS);
                    let _ = ask(&layer, &hanging, within(6000 * MS)).await;
                }
                assert_eq!(is_sent_again(&layer).await, expected, "{says:?} after {cut_after} ms, {statuses:?}");
            }
        }
    }
}

/// Of two endpoints, one is down: the other takes as long as ever.
#[tokio::test(start_paused = true)]
async fn failures_at_once_among_answers_do_not_make_those_look_quick() {
    for says in [Say::Refused, Say::Status(503)] {
        let layer = without_a_pause();
        for _ in 0..20 {
            learn(&layer, 2000 * MS).await;
            let _ = ask(&layer, &Upstream::answering([says.clone()]), within(1000 * MS)).await;
        }
        assert!(!is_sent_again(&layer).await, "{says:?}");
    }
}

/// A body that a client takes its time to send.
struct Upload {
    comes: Pin<Box<Sleep>>,
    pieces: usize,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        ready!(self.comes.as_mut().poll(cx));
        if self.pieces == 0 {
            return Poll::Ready(None);
        }
        self.pieces -= 1;
        self.comes = Box::pin(sleep(1000 * MS));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_client_takes_to_send_is_not_the_services() {
    for (takes, expected) in [(20, true), (2000, false)] {
        let layer = without_a_pause();
        for _ in 0..3 {
            let upstream = Upstream::answering([Say::Status(200)]).slow(takes * MS);
            let upload = Upload { comes: Box::pin(sleep(1000 * MS)), pieces: 5 };
            let request = within(60_000 * MS).map(|_| upload);
            let answer = layer.layer(upstream.clone()).oneshot(request).await.unwrap();
            assert_eq!((answer.status(), upstream.bodies()), (StatusCode::OK, vec!["piece".repeat(5)]));
        }
        assert_eq!(is_sent_again(&layer).await, expected, "it answers {takes} ms after it has all");
    }
}

/// A budget is that of a destination, and so is how long it takes to answer.
#[tokio::test(start_paused = true)]
async fn layers_for_two_destinations_learn_apart() {
    let base = without_a_pause();
    let (slow, quick) = (base.clone().budget(Budget::new()), base.budget(Budget::new()));
    learn(&slow, 5000 * MS).await;
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    let answer = ask(&quick, &upstream, within(2000 * MS)).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::OK, 2));
}

/// What is allowed beside the deadline, counted from an instant that moves.
#[derive(Clone)]
struct Moves(Arc<Mutex<Instant>>);

#[tokio::test(start_paused = true)]
async fn an_end_that_moves_is_asked_for_when_an_attempt_has_failed_and_the_earlier_one_counts() {
    let pauses = RetryPolicy::attempts(2).pause(Duration::ZERO, Duration::ZERO);
    for (moved_to, deadline, expected) in [(0, None, 1), (0, Some(60_000), 1), (1500, None, 2), (1500, Some(1800), 1)] {
        let moves = Moves(Arc::new(Mutex::new(Instant::now())));
        let layer = RetryLayer::new(pauses).carry::<Moves>().ends_by(|extensions| {
            let Moves(since) = extensions.get()?;
            Some(Deadline::at(*since.lock().unwrap() + 2000 * MS))
        });
        let mut request = deadline.map_or_else(get, |deadline| within(deadline * MS));
        request.extensions_mut().insert(moves.clone());
        *moves.0.lock().unwrap() += moved_to * MS;
        let upstream = Upstream::answering([Say::RetryAfter(503, "1")]).slow(1000 * MS);
        let began = Instant::now();
        let answer = ask(&layer, &upstream, request).await.unwrap();
        assert_eq!((answer.status().as_u16(), upstream.calls()), (503, expected), "{moved_to} {deadline:?}");
        assert!(expected == 2 || began.elapsed() < 1010 * MS, "the last answer comes at once");
    }
}

/// The last attempt takes the copy of the head: there is nothing left to ask with, and nothing to ask for.
#[tokio::test(start_paused = true)]
async fn an_end_that_moves_is_asked_for_only_while_an_attempt_is_left_and_the_request_is_there() {
    for (attempts, says, asked) in [
        (1, Say::Status(503), 0),
        (1, Say::Refusal, 0),
        (3, Say::Status(503), 2),
        (3, Say::Refusal, 2),
        (3, Say::Status(200), 0),
    ] {
        let times = Arc::new(Mutex::new(0));
        let layer = RetryLayer::new(RetryPolicy::attempts(attempts).pause(Duration::ZERO, Duration::ZERO));
        let layer = layer.carry::<Moves>().elsewhere(|_, _| true).ends_by({
            let times = Arc::clone(&times);
            move |extensions| {
                *times.lock().unwrap() += 1;
                let Moves(since) = extensions.get().expect("what the request came with");
                Some(Deadline::at(*since.lock().unwrap() + 2000 * MS))
            }
        });
        let mut request = get();
        request.extensions_mut().insert(Moves(Arc::new(Mutex::new(Instant::now()))));
        let upstream = Upstream::answering([says.clone()]);
        ask(&layer, &upstream, request).await.unwrap();
        assert_eq!((upstream.calls(), *times.lock().unwrap()), (asked + 1, asked), "{attempts} {says:?}");
    }
}
