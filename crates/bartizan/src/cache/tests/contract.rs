//! The cache as a Tower service: over services that are not always ready, and dropped whenever a client may leave.

use super::support::*;
use crate::cache::{Abandoned, CacheLayer};
use std::{future::Future, time::Duration};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit};
use tower_layer::Layer;

const SOON: Duration = Duration::from_secs(600);

fn slow() -> Origin {
    Origin::new(|head, _| match head.uri.path() {
        "/private" => ok().with("cache-control", "private").after(1).body("mine"),
        "/stale" => ok().with("cache-control", "max-age=1, stale-while-revalidate=9").after(1).body("some"),
        _ => fresh(60).after(1).body("one").pause(1).body("!"),
    })
}

/// Sends many of several kinds, by `ready().call()` and by `oneshot`, and waits for all.
async fn many<S>(service: S)
where
    S: Service<Ask, Response = http::Response<Live>, Error: std::fmt::Debug + Send, Future: Send>
        + Clone
        + Send
        + 'static,
{
    for round in 0..3 {
        let mut all = Vec::new();
        for nth in 0..24 {
            let mut service = service.clone();
            let target = ["/", "/private", "/stale", "/other"][nth % 4];
            let request = if nth % 5 == 4 { request("PUT", "/elsewhere") } else { get(target) };
            all.push(tokio::spawn(async move {
                let response = match nth % 2 {
                    0 => service.ready().await.unwrap().call(request).await.unwrap(),
                    _ => service.oneshot(request).await.unwrap(),
                };
                assert!(read(response).await.body.is_some());
            }));
        }
        for one in all {
            timeout(SOON, one).await.unwrap_or_else(|_| panic!("nobody moves in round {round}")).unwrap();
        }
        sleep(Duration::from_secs(2)).await;
    }
}

/// http-cache-tower and tower-http-cache stand still here, axum-response-cache and http-cache-tower-server panic.
#[tokio::test(start_paused = true)]
async fn over_a_limit_of_one_all_are_answered() {
    let origin = slow();
    many(layer().layer(ConcurrencyLimit::new(origin.clone(), 1))).await;
    assert!(origin.asked() > 0);
}

#[tokio::test(start_paused = true)]
async fn over_a_buffer_all_are_answered() {
    many(layer().layer(Buffer::new(slow(), 1))).await;
    many(layer().layer(Buffer::new(ConcurrencyLimit::new(slow(), 1), 1))).await;
}

#[tokio::test(start_paused = true)]
async fn a_hit_needs_no_service() {
    let origin = slow();
    let limited = ConcurrencyLimit::new(origin.clone(), 1);
    let mut holds = limited.clone();
    let mut cache = layer().layer(limited);
    read(cache.ready().await.unwrap().call(get("/")).await.unwrap()).await;
    let held = holds.ready().await.unwrap();
    let hit = timeout(Duration::from_millis(1), cache.ready().await.unwrap().call(get("/"))).await.unwrap().unwrap();
    assert_eq!(read(hit).await.text(), "one!");
    drop(held.call(get("/")));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_is_made_and_not_polled_asks_nobody() {
    let origin = slow();
    let mut cache = cache(&origin);
    drop(cache.ready().await.unwrap().call(get("/")));
    settle().await;
    assert_eq!(origin.asked(), 0);
    assert_eq!(send(&cache, get("/")).await.text(), "one!");
}

/// Polls a future so often, and drops it then. Whether it had come to its end before.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if let Some(output) = nudge(&mut future).await {
            return Some(output);
        }
        sleep(Duration::from_millis(400)).await;
    }
    None
}

async fn whole(cache: &Caching, request: Ask) -> Answer {
    read(open(cache, request).await.unwrap()).await
}

/// Whoever goes, and whenever, the others get all of it, and nothing is left behind.
#[tokio::test(start_paused = true)]
async fn leader_and_followers_may_be_dropped_at_any_poll() {
    for abandoned in [Abandoned::Finish, Abandoned::Drop] {
        for sized in [false, true] {
            for polls in 0..12 {
                for who in 0..3 {
                    let origin = Origin::new(move |_, _| {
                        let reply = fresh(60).after(1).body("one").pause(1).body("two").pause(1).body("three");
                        if sized { reply.with("content-length", "11") } else { reply }
                    });
                    let layer: CacheLayer = layer().abandoned(abandoned);
                    let cache = layer.layer(origin);
                    let mut stay = Vec::new();
                    for nth in 0..3 {
                        let cache = cache.clone();
                        if nth == who {
                            drop(tokio::spawn(async move { polled(whole(&cache, get("/")), polls).await }));
                        } else {
                            stay.push(tokio::spawn(async move { whole(&cache, get("/")).await }));
                        }
                        settle().await;
                    }
                    for one in stay {
                        let answer = timeout(SOON, one).await.unwrap().unwrap();
                        let what = format!("{abandoned:?}, {sized}, dropped {who} after {polls} polls");
                        assert_eq!(answer.body.as_deref(), Some(&b"onetwothree"[..]), "{what}");
                    }
                    pass(60).await;
                    assert_eq!(cache_of(&layer).flights().len(), 0);
                }
            }
        }
    }
}

/// Alone, a client that leaves takes nothing from the one who comes after.
#[tokio::test(start_paused = true)]
async fn whoever_comes_after_one_that_was_dropped_at_any_poll_gets_the_whole() {
    for abandoned in [Abandoned::Finish, Abandoned::Drop] {
        for polls in 0..12 {
            for gap in [0, 1, 30] {
                let origin =
                    Origin::new(|_, _| fresh(60).after(1).body("one").pause(1).body("two").pause(1).body("three"));
                let cache = layer().abandoned(abandoned).layer(origin);
                polled(whole(&cache, get("/")), polls).await;
                pass(gap).await;
                let answer = timeout(SOON, whole(&cache, get("/"))).await.unwrap();
                assert_eq!(answer.body.as_deref(), Some(&b"onetwothree"[..]), "{abandoned:?} {polls} {gap}");
            }
        }
    }
}
