//! Who waits for a directory, and who must not have to.

use super::*;
use futures_util::FutureExt;
use std::iter;
use tokio::{task::yield_now, time::Instant};
use tower::limit::GlobalConcurrencyLimitLayer;

/// Asks for names that nobody has, all at once, and leaves when it is dropped.
fn ask_for_invented_names(layer: &TenantLayer, names: usize) -> tokio::task::JoinSet<StatusCode> {
    (0..names)
        .map(|n| {
            let layer = layer.clone();
            async move { status(&layer, &format!("invented-{n}")).await }
        })
        .collect()
}

fn with_a_deadline(time: Duration) -> Request<Body> {
    let mut request = request("acme");
    Deadline::after(time).tighten(request.extensions_mut());
    request
}

#[tokio::test(start_paused = true)]
async fn nobody_brings_a_last_answer_about_while_the_directory_is_up() {
    let slow = Slow::default();
    let layer = by_header().directory(CachedDirectory::new(slow.clone()).stale_if_error(SECOND * 300).at_once(4));
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    advance(SECOND * 61).await;
    assert_eq!(
        send(&layer, with_a_deadline(SECOND / 100)).await.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "by a deadline",
    );
    let _flood = ask_for_invented_names(&layer, 4);
    yield_now().await;
    assert_eq!(slow.under_way(), 4);
    assert_eq!(status(&layer, "acme").await, StatusCode::SERVICE_UNAVAILABLE, "by a flood");
}

#[tokio::test(start_paused = true)]
async fn while_the_directory_is_down_a_flood_keeps_nobody_from_the_last_answer() {
    let slow = Slow::default();
    let layer = by_header().directory(CachedDirectory::new(slow.clone()).stale_if_error(SECOND * 300).at_once(4));
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    advance(SECOND * 61).await;
    slow.becomes(FAILING);
    assert_eq!(status(&layer, "globex").await, StatusCode::SERVICE_UNAVAILABLE);
    let _flood = ask_for_invented_names(&layer, 4);
    yield_now().await;
    assert_eq!(slow.under_way(), 4);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_directory_holds_nothing_of_the_service() {
    let slow = Slow::default();
    let layer = slow.layer();
    let service = layer.layer(GlobalConcurrencyLimitLayer::new(2).layer(service_fn(echo)));
    assert_eq!(service.clone().oneshot(request("acme")).await.unwrap().status(), StatusCode::OK);
    let waiting: tokio::task::JoinSet<_> =
        iter::repeat_n(service.clone(), 5).map(|service| service.oneshot(request("globex"))).collect();
    yield_now().await;
    assert_eq!(slow.under_way(), 1);
    let start = Instant::now();
    assert_eq!(service.oneshot(request("acme")).await.unwrap().status(), StatusCode::OK);
    assert_eq!(start.elapsed(), Duration::ZERO);
    for response in waiting.join_all().await {
        assert_eq!(response.unwrap().status(), StatusCode::FORBIDDEN);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_let_in_waits_until_the_service_is_ready_or_has_its_error() {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    for breaks in [false, true] {
        let mut service = Slow::default().layer().layer(service.clone());
        handle.allow(1);
        let mut response = Box::pin(service.ready().await.unwrap().call(request("acme")));
        handle.allow(0);
        poll_once(response.as_mut()).await;
        advance(SECOND).await;
        poll_once(response.as_mut()).await;
        if breaks {
            handle.send_error("broken");
            let error = response.now_or_never().expect("answered").unwrap_err();
            assert_eq!(error.to_string(), "broken");
        } else {
            handle.allow(1);
            poll_once(response.as_mut()).await;
            let (_, answer) = handle.next_request().await.expect("a call");
            answer.send_response(Response::new(Body::default()));
            assert_eq!(response.await.unwrap().status(), StatusCode::OK);
        }
    }
}
