//! Who waits for a directory, and who must not have to.

use super::*;
use tokio::task::yield_now;

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
