//! Settling: what a request really cost, however it ended.

use super::*;
use crate::shared::End;

#[tokio::test(start_paused = true)]
async fn only_failures_count_where_the_outcome_says_so() {
    let layer = RateLimitLayer::new(Quota::per_minute(2).burst(2))
        .settle_by(|outcome| u32::from(outcome.status().is_none_or(|status| status == 401)));
    let login = |status: u16| {
        let layer = layer.clone();
        async move {
            let service = service_fn(move |_: Request<Empty<Bytes>>| async move {
                let response = Response::builder().status(status).body(Full::<Bytes>::from("!"));
                Ok::<_, Infallible>(response.expect("a response"))
            });
            let response = layer.layer(service).oneshot(request("192.0.2.1")).await.expect("infallible");
            let status = response.status().as_u16();
            body(response).await;
            status
        }
    };
    for _ in 0..10 {
        assert_eq!(login(200).await, 200);
    }
    assert_eq!([login(401).await, login(401).await, login(200).await], [401, 401, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_charged_by_its_bytes_at_its_end() {
    let layer = RateLimitLayer::new(Quota::per_second(1).burst(10))
        .settle_by(|outcome| u32::try_from(outcome.bytes()).unwrap_or(u32::MAX));
    let response = ask(&layer, request("192.0.2.1")).await;
    assert_eq!(body(response).await, "served"); // six bytes: six of ten are taken
    let left = ask(&layer.clone().fields(Fields::draft().when(When::Always)), request("192.0.2.1")).await;
    assert_eq!(field(&left, "ratelimit"), r#""default";r=3;t=7"#);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_before_the_answer_is_settled_too() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let layer = RateLimitLayer::new(Quota::per_second(1)).settle_by(move |outcome| {
        seen.lock().expect("no panic").push((outcome.status().is_some(), outcome.end()));
        0
    });
    let never =
        service_fn(|_: Request<Empty<Bytes>>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    assert!(timeout(Duration::from_millis(1), layer.layer(never).oneshot(request("192.0.2.1"))).await.is_err());
    drop(ask(&layer, request("192.0.2.1")).await);
    assert_eq!(*ends.lock().expect("no panic"), [(false, End::Dropped), (true, End::Dropped)]);
    assert_eq!(statuses(&layer, 1).await, [200], "both were given back");
}

#[tokio::test(start_paused = true)]
async fn a_policy_with_a_cost_of_its_own_is_settled_by_itself() {
    let tokens = Policy::new("tokens", Quota::per_minute(1000).burst(1000)).cost_by(|_| 100).settle_by(|_| 57);
    let layer = RateLimitLayer::new(Policy::new("requests", Quota::per_minute(10).burst(10)))
        .and(tokens)
        .and(Policy::new("fixed", Quota::per_minute(1000).burst(1000)).cost_by(|_| 5))
        .settle_by(|_| 1)
        .fields(Fields::draft().when(When::Always));
    for _ in 0..3 {
        body(ask(&layer, request("192.0.2.1")).await).await;
    }
    let fourth = ask(&layer, request("192.0.2.1")).await;
    let left: Vec<_> = field(&fourth, "ratelimit").split(", ").map(|m| m.split(';').nth(1).unwrap_or("")).collect();
    assert_eq!(left, ["r=6", "r=729", "r=980"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_is_settled_as_failed() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let layer = RateLimitLayer::new(TWO).settle_by(move |outcome| {
        seen.lock().expect("no panic").push(outcome.end());
        1
    });
    let fails = service_fn(|_: Request<Empty<Bytes>>| async { Err::<Response<Full<Bytes>>, _>("broken") });
    assert!(layer.layer(fails).oneshot(request("192.0.2.1")).await.is_err());
    assert_eq!(*ends.lock().expect("no panic"), [End::Failed]);
}

#[tokio::test(start_paused = true)]
async fn an_estimate_of_nothing_is_one_where_it_is_settled() {
    let by_layer = RateLimitLayer::new(Quota::per_hour(1)).cost_by(|_| 0).settle_by(|_| 1000);
    let by_policy = Policy::new("bytes", Quota::per_hour(1)).cost_by(|_| 0).settle_by(|_| 1000);
    for layer in [by_layer, RateLimitLayer::new(by_policy)] {
        assert_eq!(statuses(&layer, 3).await, [200, 429, 429]);
    }
    let nothing = RateLimitLayer::new(Quota::per_hour(1)).cost_by(|_| 0);
    assert_eq!(statuses(&nothing, 3).await, [200; 3], "nothing is settled, so nothing is counted");
    let own_cost = RateLimitLayer::new(Policy::new("own", Quota::per_hour(1)).cost_by(|_| 0)).settle_by(|_| 1000);
    assert_eq!(statuses(&own_cost, 3).await, [200; 3], "what the layer settles is not for a policy with its own cost");
    let refunded = RateLimitLayer::new(Quota::per_hour(1)).cost_by(|_| 0).settle_by(|_| 0);
    assert_eq!(statuses(&refunded, 3).await, [200; 3], "it is given back");
}
