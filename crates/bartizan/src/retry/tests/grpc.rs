//! Calls of gRPC, whose status is in trailers.

use super::{
    support::{Answer, Out, Say, Upstream, ask},
    *,
};
use http::Version;

const CALL: (&str, &str) = ("content-type", "application/grpc");
const MS: Duration = Duration::from_millis(1);

fn call() -> Request<Full<Bytes>> {
    let policy = RetryPolicy::attempts(2).repeatable();
    Request::post("/shop.Orders/Get").header(CALL.0, CALL.1).extension(policy).body(Full::from("order")).unwrap()
}

fn answer(fields: &[(&'static str, &'static str)], frames: Vec<Out>) -> Say {
    Say::Frames([&[CALL], fields].concat(), Version::HTTP_2, frames)
}

fn fine() -> Say {
    answer(&[], vec![Out::Data(5), Out::Trailers(vec![("grpc-status", "0")])])
}

async fn asked(first: Say) -> (Answer, Upstream, Duration) {
    let upstream = Upstream::answering([first, fine()]);
    let began = Instant::now();
    let answer = ask(&RetryLayer::new(THREE), &upstream, call()).await.unwrap();
    (answer, upstream, began.elapsed())
}

async fn calls(first: Say) -> usize {
    asked(first).await.1.calls()
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_trailers_only_is_tried_again() {
    assert_eq!(calls(answer(&[("grpc-status", "14")], vec![])).await, 2);
    assert_eq!(calls(answer(&[("grpc-status", "0")], vec![])).await, 1);
    assert_eq!(calls(answer(&[("grpc-status", "13")], vec![])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn trailers_that_come_first_are_tried_again() {
    assert_eq!(calls(answer(&[], vec![Out::Trailers(vec![("grpc-status", "14")])])).await, 2);
    assert_eq!(calls(answer(&[], vec![Out::Wait(10 * MS), Out::Trailers(vec![("grpc-status", "14")])])).await, 2);
}

#[tokio::test(start_paused = true)]
async fn trailers_after_a_message_are_the_callers() {
    let (answer, upstream, _) =
        asked(answer(&[], vec![Out::Data(5), Out::Trailers(vec![("grpc-status", "14")])])).await;
    assert_eq!(upstream.calls(), 1);
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "14");
    assert_eq!(collected.to_bytes(), "xxxxx");
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_stream_waits_for_a_moment_only() {
    let (answer, upstream, took) = asked(answer(&[], vec![Out::Wait(5000 * MS), Out::Data(5)])).await;
    assert!(took >= 50 * MS && took < 55 * MS, "{took:?}");
    assert_eq!(upstream.calls(), 1);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "xxxxx");
}

#[tokio::test(start_paused = true)]
async fn what_was_looked_at_still_says_what_it_is() {
    let trailers = Out::Trailers(vec![("grpc-status", "5")]);
    let (answered, _, _) = asked(answer(&[], vec![trailers])).await;
    let body = answered.into_body();
    assert!(!http_body::Body::is_end_stream(&body));
    assert_eq!(body.collect().await.unwrap().trailers().unwrap()["grpc-status"], "5");
}

/// Its trailers were looked at, and there is no time for another attempt: they are in the head, as of an answer of
/// trailers only.
#[tokio::test(start_paused = true)]
async fn the_status_of_the_last_attempt_is_not_lost_when_the_deadline_ends_them() {
    let trailers = Out::Trailers(vec![("grpc-status", "14"), ("grpc-message", "later")]);
    let upstream = Upstream::answering([answer(&[], vec![trailers])]).unready_after(1);
    let mut call = call();
    Deadline::after(1000 * MS).tighten(call.extensions_mut());
    let (head, body) = ask(&RetryLayer::new(THREE), &upstream, call).await.unwrap().into_parts();
    assert_eq!(
        (&head.headers["grpc-status"], &head.headers["grpc-message"]),
        (&"14".parse().unwrap(), &"later".parse().unwrap())
    );
    assert!(http_body::Body::is_end_stream(&body));
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_obeyed() {
    let pushed = |status, pushback| answer(&[("grpc-status", status), ("grpc-retry-pushback-ms", pushback)], vec![]);
    assert_eq!(calls(pushed("14", "-1")).await, 1);
    assert_eq!(calls(pushed("14", "soon")).await, 1);
    let (_, upstream, took) = asked(pushed("14", "2000")).await;
    assert!(upstream.calls() == 2 && took >= 2000 * MS);
    let in_trailers = Out::Trailers(vec![("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")]);
    assert_eq!(calls(answer(&[], vec![in_trailers])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_resource_is_tried_again_if_the_server_says_when() {
    assert_eq!(calls(answer(&[("grpc-status", "8")], vec![])).await, 1);
    assert_eq!(calls(answer(&[("grpc-status", "8"), ("grpc-retry-pushback-ms", "10")], vec![])).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_said_to_be_repeatable_is_made_once() {
    let upstream = Upstream::answering([answer(&[("grpc-status", "14")], vec![]), fine()]);
    let mut call = call();
    call.extensions_mut().remove::<RetryPolicy>();
    ask(&RetryLayer::new(THREE), &upstream, call).await.unwrap();
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_hop_is_told_in_grpcs_own_field_too() {
    let (_, upstream, _) = asked(answer(&[("grpc-status", "14")], vec![])).await;
    assert_eq!(upstream.fields("grpc-previous-rpc-attempts"), ["", "1"]);
}
