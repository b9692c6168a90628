//! The policies of an upstream over real sockets, each and in their order.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

mod support;

use axum::{Router, body::Body, extract::Request as Incoming};
use bartizan::{
    Deadline, Refusal,
    bridge::hyper_util::HyperErrors,
    circuit_breaker::{self, BreakerPolicy, ClassifyError, Mode, Outcome, State},
    fallback::{self, Fallback, FallbackLayer, fixed, from_fn},
    retry::{self, Classify, Failure, RetryPolicy},
};
use bartizan_gateway::{Attempts, Upstream, UpstreamEvent};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc, time::Duration};
use support::{upstream::*, *};
use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt};

// ===== policies =====

/// Answers after ten seconds, by when nobody waits any more.
async fn slow() -> (SocketAddr, Seen) {
    acting("slow", async |_, _| {
        sleep(PATIENCE).await;
        StatusCode::OK
    })
    .await
}

async fn failing() -> (SocketAddr, Seen) {
    acting("failing", async |_, _| StatusCode::SERVICE_UNAVAILABLE).await
}

fn states(upstream: &Upstream) -> Vec<State> {
    upstream.status().into_iter().map(|endpoint| endpoint.breaker).collect()
}

#[tokio::test]
async fn a_retry_goes_to_an_endpoint_that_has_not_been_tried() {
    let ((bad, seen_bad), (worse, seen_worse), (good, seen_good)) =
        (failing().await, failing().await, named("good").await);
    let orders = orders([bad, worse, good]).breaker(BreakerPolicy::consecutive_failures(1000));
    for _ in 0..20 {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
    assert_eq!(seen_good.count(), 20);
    assert!(seen_bad.count() > 0 && seen_worse.count() > 0);
    let attempts = seen_bad.count() + seen_worse.count() + seen_good.count();
    assert!(attempts <= 60, "no endpoint twice: {attempts}");
}

#[tokio::test]
async fn attempts_end_when_there_are_none_left() {
    let (addr, seen) = failing().await;
    let attempts = Attempts::default();
    let mut call = request("/");
    call.extensions_mut().insert(attempts.clone());
    assert_eq!(ask(&orders([addr]), call).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((seen.count(), attempts.count()), (3, 3));

    let (addr, seen) = failing().await;
    ask(&orders([addr]).retry(RetryPolicy::never()), request("/")).await;
    assert_eq!(seen.count(), 1);
}

#[tokio::test]
async fn a_slow_endpoint_opens_its_breaker_and_the_other_one_serves_all() {
    let ((slow, seen_slow), (good, seen_good)) = (slow().await, named("good").await);
    let orders = orders([slow, good])
        .attempt_timeout(ms(200))
        .breaker(BreakerPolicy::consecutive_failures(2).open_for(PATIENCE, PATIENCE));
    while states(&orders) == [State::Closed, State::Closed] {
        let answer = ask(&orders, request("/")).await;
        assert_eq!(
            (answer.status, &*answer.body),
            (StatusCode::OK, "good"),
            "the attempt after it is for the other one"
        );
    }
    assert_eq!(states(&orders), [State::Open, State::Closed]);
    assert_eq!(seen_slow.count(), 2);

    let before = seen_good.count();
    for _ in 0..50 {
        assert_eq!(ask(&orders, request("/")).await.body, "good");
    }
    assert_eq!((seen_slow.count(), seen_good.count() - before), (2, 50), "each at the first attempt");
}

#[tokio::test]
async fn with_every_breaker_open_nobody_is_asked_and_the_client_learns_when() {
    let ((a, seen_a), (b, seen_b)) = (failing().await, failing().await);
    let orders =
        orders([a, b]).breaker(BreakerPolicy::consecutive_failures(1).open_for(ms(20_000), ms(20_000)).jitter(0.0));
    ask(&orders, request("/")).await;
    assert_eq!(states(&orders), [State::Open, State::Open]);
    let asked = seen_a.count() + seen_b.count();

    let attempts = Attempts::default();
    let mut refused = request("/");
    refused.extensions_mut().insert(attempts.clone());
    let refused = call(&orders, refused).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.extensions().get::<Refusal>().unwrap().error_type(), "breaker_open");
    let after: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(r#""code":"breaker_open""#));
    assert_eq!((seen_a.count() + seen_b.count(), attempts.count()), (asked, 0));
}

#[tokio::test]
async fn a_call_that_no_endpoint_was_chosen_for_is_told_of_no_breaker() {
    let (failing, _) = failing().await;
    let attempts = Attempts::default();
    let told = |request: &mut Request<Body>| request.extensions_mut().insert(attempts.clone());
    assert_eq!(attempts.breaker(), None);

    let broken = orders([failing]).breaker(BreakerPolicy::consecutive_failures(1).open_for(PATIENCE, PATIENCE));
    let mut first = request("/");
    told(&mut first);
    ask(&broken, first).await;
    assert_eq!(attempts.breaker(), Some(State::Open));

    // What the upstream before it has chosen is not this one's.
    let (good, seen) = named("good").await;
    let mut second = request("/");
    told(&mut second);
    let answer = orders([good]).call(second);
    assert_eq!(attempts.breaker(), None);
    answer.await.unwrap();
    assert_eq!((attempts.breaker(), seen.count()), (Some(State::Closed), 1));
}

#[tokio::test]
async fn an_endpoint_that_is_well_again_is_found_out() {
    let (flaky, seen) =
        acting("flaky", async |number, _| if number < 2 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK })
            .await;
    let (good, _) = named("good").await;
    let orders =
        orders([flaky, good]).breaker(BreakerPolicy::consecutive_failures(2).open_for(ms(50), ms(50)).probes(2, 2));
    while states(&orders)[0] != State::Open {
        ask(&orders, request("/")).await;
    }
    assert_eq!(seen.count(), 2);
    while states(&orders)[0] != State::Closed {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
        tokio::task::yield_now().await;
    }
    assert!(seen.count() >= 4);
    for _ in 0..100 {
        assert_eq!(
            ask(&orders, request("/")).await.status,
            StatusCode::OK,
            "nobody is refused by the one that was ill"
        );
    }
}

#[tokio::test]
async fn a_breaker_can_be_steered_and_watched() {
    let ((a, seen_a), (b, seen_b)) = (named("a").await, named("b").await);
    let orders = orders([a, b]);
    let (url, breaker) = orders.breakers().next().unwrap();
    assert_eq!(url, format!("http://{a}"));
    breaker.force_open();
    for _ in 0..20 {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
    assert_eq!((seen_a.count(), seen_b.count()), (0, 20));

    let status = orders.status();
    assert_eq!((&*status[0].url, status[0].breaker, status[0].mode), (url, State::Open, Mode::ForcedOpen));
    assert!(status[0].refuses_for.is_some() && status[1].refuses_for.is_none());
    assert_eq!((status[0].calls.succeeded, status[1].calls.succeeded), (0, 20));
}

#[tokio::test]
async fn an_endpoint_has_so_many_at_once_and_others_go_elsewhere() {
    let (release, hold) = watch::channel(false);
    let holding = move |_, _: Incoming| {
        let mut hold = hold.clone();
        async move {
            let _ = hold.wait_for(|over| *over).await;
            StatusCode::OK
        }
    };
    let mut endpoints = Vec::new();
    for _ in 0..10 {
        endpoints.push(acting("holds", holding.clone()).await);
    }
    let orders = orders(endpoints.iter().map(|(addr, _)| *addr)).concurrency(1);
    let mut calls = Vec::new();
    for under_way in 1..=10 {
        let orders = orders.clone();
        calls.push(tokio::spawn(async move { ask(&orders, request("/")).await.status }));
        while endpoints.iter().map(|(_, seen)| seen.count()).sum::<usize>() < under_way {
            assert!(!calls.iter().any(JoinHandle::is_finished), "nobody is refused while one is free");
            sleep(ms(1)).await;
        }
    }
    assert!(endpoints.iter().all(|(_, seen)| seen.count() == 1));
    let refused = call(&orders, request("/")).await.unwrap();
    assert_eq!(refused.extensions().get::<Refusal>().unwrap().error_type(), "overloaded");
    assert!(refused.headers().contains_key("retry-after"));
    assert!(states(&orders).iter().all(|state| *state == State::Closed));

    release.send_replace(true);
    for call in calls {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_fallback_answers_when_nobody_else_can() {
    let nothing = || Response::new(Bytes::from_static(b"[]"));
    for (addresses, why) in
        [(vec![dead().await], "connect"), (vec![resets().await, resets().await], "connection_reset")]
    {
        let orders = orders(addresses).fallback(fixed(nothing()));
        let answer = call(&orders, request("/")).await.unwrap();
        assert_eq!((answer.status(), answer.headers()["x-fallback"].to_str().unwrap()), (StatusCode::OK, why));
        assert!(Fallback::of(answer.extensions()).is_some());
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "[]");
    }

    let (addr, _) = named("good").await;
    let orders = support::upstream::orders([addr]).fallback(fixed(nothing()));
    assert_eq!(ask(&orders, request("/")).await.body, "good");

    let (addr, _) = slow().await;
    let orders = support::upstream::orders([addr])
        .total_timeout(ms(50))
        .retry(RetryPolicy::never())
        .fallback(from_fn(|head, reason| Response::new(format!("{} {reason}", head.uri.path()).into())));
    assert_eq!(ask(&orders, request("/x")).await.body, "/x timeout");
}

#[tokio::test]
async fn another_upstream_can_be_the_fallback() {
    let (addr, _) = named("reserve").await;
    let reserve = orders([addr]);
    let orders = FallbackLayer::new(fallback::service(reserve)).layer(orders([dead().await]));
    let answer = timeout(PATIENCE, orders.oneshot(request("/"))).await.unwrap().unwrap();
    assert_eq!(answer.headers()["x-endpoint"], "reserve");
    assert_eq!(answer.headers()["x-fallback"], "error");
}

#[tokio::test]
async fn one_that_takes_too_long_in_all_is_given_up() {
    let ((a, seen_a), (b, seen_b)) = (slow().await, slow().await);
    let orders = orders([a, b]).attempt_timeout(ms(80)).total_timeout(ms(200));
    let start = Instant::now();
    let answer = call(&orders, request("/")).await.unwrap();
    assert!(start.elapsed() < ms(2_000));
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(seen_a.count() + seen_b.count() >= 2, "it was tried again meanwhile");
}

#[tokio::test]
async fn a_later_attempt_that_our_own_limit_cuts_short_is_a_timeout() {
    let ((a, seen_a), (b, seen_b)) = (slow().await, slow().await);
    let at_once = RetryPolicy::attempts(3).pause(ms(0), ms(0));
    let orders = orders([a, b]).retry(at_once).attempt_timeout(ms(200)).total_timeout(ms(300));
    let answer = call(&orders, request("/")).await.unwrap();
    assert_eq!(answer.extensions().get::<Refusal>().unwrap().error_type(), "timeout");
    assert_eq!(seen_a.count() + seen_b.count(), 2);
    let orders = orders.fallback(fixed(Response::new(Bytes::from_static(b"[]"))));
    assert_eq!(call(&orders, request("/")).await.unwrap().headers()["x-fallback"], "timeout");

    // A deadline that was there before stays what it is.
    let mut request = request("/");
    Deadline::after(ms(290)).tighten(request.extensions_mut());
    assert_eq!(call(&orders, request).await.unwrap().headers()["x-fallback"], "deadline");
}

#[tokio::test]
async fn an_endpoint_is_not_to_blame_for_what_another_one_has_left_of_our_own_limit() {
    let asked = Seen::default();
    let act = move |_, _| {
        let asked = asked.add();
        async move {
            sleep(if asked == 0 { PATIENCE } else { ms(400) }).await;
            StatusCode::OK
        }
    };
    let ((a, _), (b, _)) = (acting("a", act.clone()).await, acting("b", act).await);
    let at_once = RetryPolicy::attempts(3).pause(ms(0), ms(0));
    let orders = orders([a, b]).retry(at_once).attempt_timeout(ms(450)).total_timeout(ms(600));
    let orders = orders.breaker(BreakerPolicy::consecutive_failures(1).open_for(PATIENCE, PATIENCE));
    let answer = call(&orders, request("/")).await.unwrap();
    assert_eq!(answer.extensions().get::<Refusal>().unwrap().error_type(), "timeout", "that is what all of it was");
    assert_eq!(states(&orders).into_iter().filter(|state| *state == State::Open).count(), 1);
}

#[tokio::test]
async fn the_deadline_bounds_all_of_it() {
    let (a, _) = slow().await;
    let mut request = request("/");
    Deadline::after(ms(100)).tighten(request.extensions_mut());
    let start = Instant::now();
    let answer = call(&orders([a]), request).await.unwrap();
    assert!(start.elapsed() < ms(2_000));
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.extensions().get::<Refusal>().unwrap().error_type(), "deadline");
}

#[tokio::test]
async fn each_attempt_is_told_how_long_it_is_waited_for() {
    let told = Arc::new(std::sync::Mutex::new(Vec::<u64>::new()));
    let tell = Arc::clone(&told);
    let (addr, _) = acting("failing", move |_, request: Incoming| {
        let left = request.headers()["x-request-timeout-ms"].to_str().unwrap().parse().unwrap();
        tell.lock().unwrap().push(left);
        async {
            sleep(ms(100)).await;
            StatusCode::SERVICE_UNAVAILABLE
        }
    })
    .await;
    let orders = orders([addr]).total_timeout(ms(1_000)).attempt_timeout(ms(850));
    ask(&orders, request("/")).await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len(), 3);
    assert!((700..=845).contains(&told[0]), "the time for an attempt, and some for the way: {told:?}");
    assert!(told[2] <= 795, "what is left of the whole: {told:?}");
}

// ===== what may be sent twice =====

fn post(body: impl Into<Body>) -> Request<Body> {
    Request::post("http://orders/").body(body.into()).unwrap()
}

#[tokio::test]
async fn a_post_is_not_sent_twice_unless_it_has_a_key() {
    let (addr, seen) = resets_after_the_body().await;
    let orders = orders([addr]);
    assert!(call(&orders, post("order")).await.is_err());
    assert_eq!(seen.count(), 1);

    let mut with_key = post("order");
    with_key.headers_mut().insert("idempotency-key", "\"k1\"".parse().unwrap());
    assert!(call(&orders, with_key).await.is_err());
    assert_eq!(seen.count(), 1 + 3);
}

#[tokio::test]
async fn a_post_that_nobody_has_seen_goes_to_another_endpoint() {
    let (good, seen) = acting("good", async |_, request: Incoming| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if body == "order" { StatusCode::CREATED } else { StatusCode::BAD_REQUEST }
    })
    .await;
    let orders = orders([dead().await, good]).breaker(BreakerPolicy::consecutive_failures(1000));
    for _ in 0..20 {
        assert_eq!(ask(&orders, post("order")).await.status, StatusCode::CREATED);
    }
    assert_eq!(seen.count(), 20);
}

#[tokio::test]
async fn an_endpoint_that_hangs_up_before_it_has_read_harms_no_get_and_doubles_no_post() {
    let (good, seen) = named("good").await;
    let orders = orders([hangs_up().await, good]).breaker(BreakerPolicy::consecutive_failures(1000));
    for _ in 0..20 {
        assert_eq!(ask(&orders, request("/")).await.status, StatusCode::OK);
    }
    assert_eq!(seen.count(), 20);

    let mut answered = 0;
    for _ in 0..20 {
        answered += usize::from(call(&orders, post("order")).await.is_ok());
    }
    assert_eq!(seen.count(), 20 + answered);
}

#[tokio::test]
async fn a_post_that_http2_turned_back_is_sent_again() {
    let addr = http2_raw(|number, _, mut respond| match number {
        0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
        _ => _ = respond.send_response(Response::new(()), true),
    })
    .await;
    assert_eq!(ask(&orders([addr]).http2(), post("order")).await.status, StatusCode::OK);

    let addr = http2_raw(|_, _, mut respond| respond.send_reset(h2::Reason::INTERNAL_ERROR)).await;
    assert!(call(&orders([addr]).http2(), post("order")).await.is_err());
}

#[tokio::test]
async fn a_body_too_long_to_keep_streams_and_is_sent_once() {
    let (addr, seen) = acting("failing", async |_, request: Incoming| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if body.len() == 1 << 20 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::BAD_REQUEST }
    })
    .await;
    let chunks = (0..1 << 10).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; 1 << 10])));
    let put = Request::put("/").body(Body::from_stream(futures_util::stream::iter(chunks))).unwrap();
    assert_eq!(ask(&orders([addr]), put).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(seen.count(), 1);

    let short = Request::put("/").body(Body::from("short")).unwrap();
    ask(&orders([addr]), short).await;
    assert_eq!(seen.count(), 1 + 1, "a 400 is no reason");
}

#[tokio::test]
async fn a_body_that_its_sender_breaks_off_says_nothing_of_the_endpoint() {
    let reads = Router::new().fallback(async |request: Incoming| {
        let _ = request.into_body().collect().await;
    });
    let (over_http1, over_http2) = (service(reads.clone()).await, http2_service(reads).await);
    for orders in [orders([over_http1]), orders([over_http2]).http2()] {
        let orders = orders.breaker(BreakerPolicy::consecutive_failures(1));
        let parts = [Ok("begun"), Err(std::io::Error::other("gone"))];
        let mut put = Request::put("/").body(Body::from_stream(futures_util::stream::iter(parts))).unwrap();
        let attempts = Attempts::default();
        put.extensions_mut().insert(attempts.clone());
        let error = call(&orders, put).await.expect_err("no answer");
        assert_eq!((states(&orders), attempts.count()), (vec![State::Closed], 1));
        assert_eq!(orders.status()[0].calls.ignored, 1);

        let hypers = error.source().and_then(|source| source.downcast_ref::<legacy::Error>()).expect("hyper's");
        assert_eq!(HyperErrors::new().failure(hypers), Failure::Final);
        assert_eq!(HyperErrors::new().classify_error(hypers), Outcome::Ignored);
    }
}

// ===== the body of an answer =====

/// Answers with a head and two pieces of a body, with a rest before the second.
async fn resting(rest: Duration) -> SocketAddr {
    raw(move |mut stream| async move {
        head(&mut stream).await;
        let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
        let _ = stream.write_all(begun).await;
        sleep(rest).await;
        let _ = stream.write_all(b"cd").await;
    })
    .await
}

#[tokio::test]
async fn an_answer_that_rests_for_too_long_breaks_off_gives_back_its_place_and_counts() {
    let orders = orders([resting(PATIENCE).await])
        .body_idle_timeout(ms(100))
        .concurrency(1)
        .breaker(BreakerPolicy::consecutive_failures(1));
    let mut body = call(&orders, request("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
    let broken = timeout(ms(2_000), body.frame()).await.expect("in time").unwrap();
    assert!(broken.unwrap_err().to_string().contains("sent nothing more"));
    assert_eq!((states(&orders), orders.status()[0].in_flight), (vec![State::Open], 0));
}

#[tokio::test]
async fn an_answer_that_is_meant_to_rest_does_so_when_told() {
    let orders = orders([resting(ms(200)).await]).body_idle_timeout(ms(50));
    let read = async |orders: &Upstream| call(orders, request("/")).await.unwrap().into_body().collect().await;
    assert!(read(&orders).await.is_err());
    for limit in [Some(ms(5_000)), None] {
        let orders = orders.clone().body_idle_timeout(limit);
        assert_eq!(read(&orders).await.expect("all of it").to_bytes(), "abcd");
    }
}

#[tokio::test]
async fn no_endpoint_is_blamed_for_a_client_that_is_slow_to_read() {
    let orders = orders([resting(ms(100)).await]).body_idle_timeout(ms(300));
    let mut body = call(&orders, request("/")).await.unwrap().into_body();
    body.frame().await.unwrap().expect("it is there");
    assert!(timeout(ms(10), body.frame()).await.is_err(), "somebody waits");
    // For real: it is the time of a socket.
    sleep(ms(500)).await;
    assert_eq!(body.frame().await.unwrap().expect("it came in time").into_data().unwrap(), "cd");
    assert_eq!(orders.status()[0].calls.failed, 0);
}

// ===== who watches =====

#[tokio::test]
async fn who_watches_learns_what_happens() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let (addr, _) = failing().await;
    let orders = orders([addr])
        .breaker(BreakerPolicy::consecutive_failures(2))
        .fallback(fixed(Response::new(Bytes::new())))
        .observe(move |event| {
            let word = match event {
                UpstreamEvent::Retry(retry::Event::Retried { .. }) => "retried".to_owned(),
                UpstreamEvent::Breaker { endpoint, event: circuit_breaker::Event::Changed(change) } => {
                    format!("{endpoint} {}", change.to.as_str())
                }
                UpstreamEvent::Fallback(_) => "fallback".to_owned(),
                _ => return,
            };
            tell.lock().unwrap().push(word);
        });
    ask(&orders, request("/")).await;
    let open = format!("http://{addr} open");
    assert_eq!(*told.lock().unwrap(), ["retried", &open, "retried", "fallback"]);
}
