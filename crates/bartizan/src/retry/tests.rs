//! The retry as a service, on paused time.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod deadline;
mod decisions;
mod elsewhere;
mod grpc;
mod keys;
mod letting_go;
mod support;

use self::support::*;
use super::*;
use crate::shared::{Deadline, Refusal};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use std::{io, time::Duration};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};

const THREE: RetryPolicy = RetryPolicy::attempts(3);

// ===== what is sent again =====

#[tokio::test(start_paused = true)]
async fn a_request_that_needs_no_retry_is_sent_once() {
    let upstream = Upstream::answering([Say::Status(200)]);
    let answer = ask(&RetryLayer::new(THREE), &upstream, get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::OK, 1));
    assert_eq!(collect(answer).await, "status 200");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_again_until_it_is_answered() {
    let upstream =
        Upstream::answering([Say::Status(503), Say::Error(io::ErrorKind::ConnectionReset), Say::Status(200)]);
    let events = Events::default();
    let answer = ask(&events.of(RetryLayer::new(THREE)), &upstream, get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::OK, 3));
    assert_eq!(upstream.attempts(), [None, Some(2), Some(3)]);
    assert_eq!(upstream.told(), ["", "2", "3"]);
    assert_eq!(events.names(), ["retried Status(503)", "retried Error", "recovered after 3"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_returned_untouched() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(502), Say::Status(504)]);
    let events = Events::default();
    let answer = ask(&events.of(RetryLayer::new(THREE)), &upstream, get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::GATEWAY_TIMEOUT, 3));
    assert_eq!(answer.headers()["x-answer"], "504");
    assert_eq!(collect(answer).await, "status 504");
    assert_eq!(events.names().last().unwrap(), "gave up: Attempts");
}

#[tokio::test(start_paused = true)]
async fn the_last_error_comes_out_as_it_is() {
    let upstream = Upstream::answering([
        Say::Status(503),
        Say::Error(io::ErrorKind::TimedOut),
        Say::Error(io::ErrorKind::BrokenPipe),
    ]);
    let error = ask(&RetryLayer::new(THREE), &upstream, get()).await.unwrap_err();
    assert_eq!(error.downcast::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
}

/// T21: the peer's default retries every error of every method.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_sent_twice_is_sent_once() {
    for first in [Say::Status(503), Say::Status(429), Say::Error(io::ErrorKind::ConnectionReset)] {
        for method in [Method::POST, Method::PATCH, Method::CONNECT] {
            let upstream = Upstream::answering([first.clone(), Say::Status(200)]);
            let request = Request::builder().method(method).body(Full::from("order")).unwrap();
            let _ = ask(&RetryLayer::new(THREE), &upstream, request).await;
            assert_eq!(upstream.calls(), 1, "{first:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_certainly_not_processed_is_sent_again_whatever_its_method() {
    let upstream = Upstream::answering([Say::Error(io::ErrorKind::ConnectionRefused), Say::Status(201)]);
    let events = Events::default();
    let answer = ask(&events.of(RetryLayer::new(THREE)), &upstream, post()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::CREATED, 2));
    assert_eq!(upstream.bodies(), ["order", "order"]);
    assert_eq!(events.names(), ["retried Unprocessed", "recovered after 2"]);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_error_after_an_unprocessed_one_ends_a_post() {
    let upstream = Upstream::answering([
        Say::Error(io::ErrorKind::ConnectionRefused),
        Say::Error(io::ErrorKind::ConnectionReset),
        Say::Status(200),
    ]);
    assert!(ask(&RetryLayer::new(THREE), &upstream, post()).await.is_err());
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_leave_a_post_alone_altogether() {
    let upstream = Upstream::answering([Say::Error(io::ErrorKind::ConnectionRefused), Say::Status(201)]);
    assert!(ask(&RetryLayer::new(THREE.only_repeatable()), &upstream, post()).await.is_err());
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_may_have_a_policy_of_its_own() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    let mut request = post();
    request.extensions_mut().insert(RetryPolicy::attempts(2).repeatable());
    assert_eq!(ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap().status(), StatusCode::OK);

    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    let mut request = get();
    request.extensions_mut().insert(RetryPolicy::never());
    ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_named_statuses_are_tried_again() {
    for code in [400, 404, 408, 409, 423, 425, 500, 501, 505] {
        let upstream = Upstream::answering([Say::Status(code), Say::Status(200)]);
        ask(&RetryLayer::new(THREE), &upstream, get()).await.unwrap();
        assert_eq!(upstream.calls(), 1, "{code}");
    }
}

/// T19, T24: requests whose body is no `Clone` can be sent again, and the last attempt takes what was kept.
#[tokio::test(start_paused = true)]
async fn every_attempt_sees_the_same_request() {
    #[derive(Clone, Debug, PartialEq)]
    struct Theirs(u8);
    let upstream = Upstream::answering([Say::Status(503), Say::Status(503), Say::Status(200)]);
    let mut request = Request::builder()
        .method(Method::PUT)
        .uri("/orders/7?x=1")
        .version(http::Version::HTTP_2)
        .header("b", "2")
        .header("a", "1")
        .header("b", "3")
        .extension(Theirs(7))
        .extension(crate::shared::PeerAddr("192.0.2.1:1".parse().unwrap()))
        .body(Full::from("order"))
        .unwrap();
    Deadline::after(Duration::from_secs(60)).tighten(request.extensions_mut());
    let (head, _) = request.clone().into_parts();
    ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    for seen in upstream.heads() {
        assert_eq!((&seen.method, &seen.uri, seen.version), (&head.method, &head.uri, head.version));
        let mut fields = seen.headers.clone();
        fields.remove("x-retry-attempt");
        assert_eq!(fields, head.headers);
        assert_eq!(seen.extensions.get(), Some(&Theirs(7)));
        assert_eq!(seen.extensions.get::<crate::shared::PeerAddr>(), head.extensions.get());
        assert_eq!(Deadline::of(&seen.extensions), Deadline::of(&head.extensions));
    }
    assert_eq!(upstream.bodies(), ["order"; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_streams_and_is_sent_once() {
    let memory = ReplayMemory::new(1 << 20);
    let layer = RetryLayer::new(THREE.replay_up_to(4)).memory(memory.clone());
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    let events = Events::default();
    let request = Request::put("/").body(Full::from("order")).unwrap();
    ask(&events.of(layer), &upstream, request).await.unwrap();
    assert_eq!((upstream.bodies(), memory.used()), (vec!["order".to_owned()], 0));
    assert_eq!(events.names(), ["gave up: NotReplayable"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_that_nobody_has_read_yet_is_sent_again() {
    // Nothing was sent where no connection was made, and an upload of any length is as it was.
    let layer = RetryLayer::new(THREE.replay_up_to(4));
    let upstream = Upstream::answering([Say::Refused, Say::Status(201)]);
    ask(&layer, &upstream, post()).await.unwrap();
    assert_eq!(upstream.bodies(), ["", "order"]);
    // The same with an answer, for which a client that expects `100 Continue` has waited.
    let upstream = Upstream::answering([Say::Unread(503), Say::Status(201)]);
    ask(&layer, &upstream, Request::put("/").header("expect", "100-continue").body(Full::from("order")).unwrap())
        .await
        .unwrap();
    assert_eq!(upstream.bodies(), ["", "order"]);
    assert_eq!(upstream.fields("expect"), ["100-continue"; 2]);
}

// ===== when =====

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_for_is_waited_for() {
    let upstream = Upstream::answering([Say::RetryAfter(429, "7"), Say::Status(200)]);
    let began = Instant::now();
    ask(&RetryLayer::new(THREE), &upstream, get()).await.unwrap();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(7) && waited < Duration::from_millis(7702), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_asks_for_too_long_a_pause_is_returned_at_once() {
    for (seconds, deadline) in [("301", None), ("7", Some(5))] {
        let upstream = Upstream::answering([Say::RetryAfter(503, seconds), Say::Status(200)]);
        let mut request = get();
        if let Some(deadline) = deadline {
            Deadline::after(Duration::from_secs(deadline)).tighten(request.extensions_mut());
        }
        let began = Instant::now();
        let answer = ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &seconds.parse::<http::HeaderValue>().unwrap())
        );
        assert_eq!(collect(answer).await, "status 503");
        assert_eq!((began.elapsed(), upstream.calls()), (Duration::ZERO, 1));
    }
}

// ===== how much =====

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_spent_ends_the_attempts_of_all_who_share_it() {
    let budget = Budget::new().share(0.0).reserve_per_second(1).over(Duration::from_secs(2));
    let (events, policy) = (Events::default(), RetryPolicy::attempts(2));
    let reads = events.of(RetryLayer::new(policy).budget(budget.clone()));
    let others = events.of(RetryLayer::new(policy).budget(budget));
    let calls = |layer: RetryLayer| async move {
        let upstream = Upstream::answering([Say::Status(503)]);
        ask(&layer, &upstream, get()).await.unwrap();
        upstream.calls()
    };
    assert_eq!((calls(reads.clone()).await, calls(others.clone()).await), (2, 2));
    assert_eq!((calls(reads.clone()).await, calls(others.clone()).await), (1, 1));
    assert_eq!(events.names().last().unwrap(), "gave up: Budget");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(calls(reads).await, 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_retry_of_what_was_not_processed_costs_nothing() {
    let budget = Budget::new().share(0.0).reserve_per_second(0);
    let layer = RetryLayer::new(THREE).budget(budget);
    let upstream = Upstream::answering([Say::Error(io::ErrorKind::ConnectionRefused)]);
    ask(&layer, &upstream, post()).await.unwrap_err();
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_retries_are_in_flight() {
    let budget = Budget::new().in_flight(0.0, 2);
    let layer = RetryLayer::new(RetryPolicy::attempts(2).pause(Duration::from_millis(1), Duration::from_millis(1)))
        .budget(budget.clone());
    let upstream = Upstream::answering_each([Say::Status(503), Say::Never]);
    let mut tasks: Vec<_> = (0..5)
        .map(|_| {
            let (layer, upstream) = (layer.clone(), upstream.fresh());
            tokio::spawn(async move { ask(&layer, &upstream, get()).await.map(|answer| answer.status()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks.iter().filter(|task| !task.is_finished()).count(), 2);
    assert_eq!(budget.waiting(), (2, 2));
    tasks.iter_mut().for_each(|task| task.abort());
    for task in tasks {
        let _ = task.await;
    }
    assert_eq!(budget.waiting(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn our_own_refusals_are_not_tried_again_and_leave_the_budget_unchanged() {
    let budget = Budget::new().share(0.5).reserve_per_second(0).in_flight(1.0, 100);
    let (events, layer) = (Events::default(), RetryLayer::new(THREE).budget(budget.clone()));
    let layer = events.of(layer);
    let refusing = Upstream::answering([Say::Refusal]);
    for _ in 0..10 {
        let answer = ask(&layer, &refusing, get()).await.unwrap();
        assert_eq!(answer.extensions().get(), Some(&Refusal::new("breaker_open")));
    }
    assert_eq!(refusing.calls(), 10);
    assert!(budget.withdraw().is_none(), "ten refusals have deposited nothing");
    assert!(events.names().is_empty());

    // One that was paid for, and then refused on this side, is given back.
    let fine = Upstream::answering([Say::Status(200)]);
    ask(&layer, &fine, get()).await.unwrap();
    let opening = Upstream::answering([Say::Status(503), Say::Refusal]);
    ask(&layer, &opening, get()).await.unwrap();
    assert_eq!((opening.calls(), events.names().last().unwrap().as_str()), (2, "gave up: Refused"));
    let (one, two) = (budget.withdraw(), budget.withdraw());
    assert!(one.is_some() && two.is_none(), "two requests have paid for one");
}

// ===== across hops =====

#[tokio::test(start_paused = true)]
async fn a_request_that_is_a_retry_already_gets_half_of_the_attempts_and_says_so() {
    let upstream = Upstream::answering([Say::Status(503)]);
    let mut request = get();
    request.extensions_mut().insert(Attempt::new(3));
    ask(&RetryLayer::new(RetryPolicy::attempts(4)), &upstream, request).await.unwrap();
    assert_eq!((upstream.calls(), upstream.told()), (2, vec!["3".to_owned(), "3".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_says_in_a_field_is_not_believed() {
    let upstream = Upstream::answering([Say::Status(503)]);
    let mut request = get();
    request.headers_mut().insert("x-retry-attempt", "9".parse().unwrap());
    ask(&RetryLayer::new(THREE), &upstream, request).await.unwrap();
    assert_eq!((upstream.calls(), upstream.told()), (3, vec!["9".to_owned(), "2".to_owned(), "3".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_field_has_the_name_that_it_is_given() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(200)]);
    let layer = RetryLayer::new(THREE).attempt_field(http::HeaderName::from_static("x-again"));
    ask(&layer, &upstream, get()).await.unwrap();
    assert_eq!(upstream.fields("x-again"), ["", "2"]);
}

// ===== the service =====

#[tokio::test(start_paused = true)]
async fn a_service_is_called_only_when_it_was_polled_ready() {
    let upstream = Upstream::answering([Say::Status(503), Say::Status(503), Say::Status(200)]).busy(3);
    let mut service = RetryLayer::new(THREE).layer(upstream.clone());
    for _ in 0..2 {
        ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await.unwrap().call(get()).await.unwrap();
    }
    assert!(upstream.calls() >= 3);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_ends_the_attempts_with_the_last_answer_and_costs_nothing() {
    let budget = Budget::new().share(0.0).reserve_per_second(1).over(Duration::from_secs(1));
    let upstream = Upstream::answering([Say::Status(503)]).broken_after(1);
    let events = Events::default();
    let layer = events.of(RetryLayer::new(THREE).budget(budget.clone()));
    let answer = ask(&layer, &upstream, get()).await.unwrap();
    assert_eq!((answer.status(), upstream.calls()), (StatusCode::SERVICE_UNAVAILABLE, 1));
    assert_eq!(events.names(), ["retried Status(503)", "gave up: Unready"]);
    assert!(budget.withdraw().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_error_type_of_the_callers_own_is_read_by_its_function() {
    let layer = RetryLayer::new(THREE).errors_by(|error: &BoxError| match error.is::<io::Error>() {
        true => Failure::Final,
        false => Failure::Ambiguous,
    });
    let upstream = Upstream::answering([Say::Error(io::ErrorKind::ConnectionRefused), Say::Status(200)]);
    assert!(layer.layer(upstream.clone()).oneshot(get()).await.is_err());
    assert_eq!(upstream.calls(), 1);
}

/// Invariant 7: dropped after any number of polls, at any stage, nothing is left behind.
#[tokio::test(start_paused = true)]
async fn a_future_that_is_dropped_at_any_poll_leaves_nothing_behind() {
    let memory = ReplayMemory::new(1 << 20);
    let mut polls = 0;
    loop {
        let budget = Budget::new().share(0.0).reserve_per_second(1).in_flight(1.0, 100);
        let layer = RetryLayer::new(THREE).budget(budget.clone()).memory(memory.clone());
        let upstream =
            Upstream::answering([Say::Slow(503), Say::Error(io::ErrorKind::ConnectionReset), Say::Status(200)])
                .slow(Duration::from_millis(3))
                .busy(1);
        let request = Request::put("/").body(Full::from("order")).unwrap();
        let ended = {
            let mut future = Box::pin(ask(&layer, &upstream, request));
            let mut left = polls;
            std::future::poll_fn(|cx| {
                if left == 0 {
                    return std::task::Poll::Ready(false);
                }
                left -= 1;
                future.as_mut().poll(cx).map(|_| true)
            })
            .await
        };
        assert_eq!((budget.waiting(), memory.used(), upstream.alive()), ((0, 0), 0, 0), "after {polls} polls");
        let left: Vec<_> = std::iter::from_fn(|| budget.withdraw()).collect();
        let sent = upstream.calls().saturating_sub(1);
        assert_eq!(10 - left.len(), sent, "after {polls} polls, what was not sent is given back");
        if ended {
            break;
        }
        polls += 1;
        assert!(polls < 200, "it has no end");
    }
    assert!(polls > 8, "it was not dropped at every stage: {polls}");
}

#[tokio::test(start_paused = true)]
async fn state_is_shared_over_all_applications_of_a_layer() {
    let budget = Budget::new().share(0.0).reserve_per_second(3).over(Duration::from_secs(1)).in_flight(1.0, 100);
    let layer = RetryLayer::new(RetryPolicy::attempts(2)).budget(budget);
    let mut calls = 0;
    for _ in 0..100 {
        let upstream = Upstream::answering([Say::RetryAfter(503, "0")]);
        let layer = RetryLayer::clone(&layer);
        let _: Response<ResponseBody<_>> = layer.layer(upstream.clone()).oneshot(get()).await.unwrap();
        calls += upstream.calls();
    }
    assert!((103..=112).contains(&calls), "{calls} calls: the pauses take some time, in which the reserve grows");
}
