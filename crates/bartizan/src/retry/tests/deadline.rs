//! A request that has a deadline, and what is learned of how long an attempt takes.

use super::{
    support::{Events, Out, Say, Upstream, ask, collect, get},
    *,
};
use http::Version;

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
    assert_eq!(collect(answer).await, "", "the body is gone, the head is not");
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
