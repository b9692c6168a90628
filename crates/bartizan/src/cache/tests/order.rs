//! Of two answers that are on their way for one key, that to the later request stays (RFC 9111 §4).

use super::support::*;
use crate::cache::{CacheLayer, Event};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;
use tower_layer::Layer;

/// Each asks for itself.
fn alone() -> CacheLayer {
    layer().wait_at_most(Duration::ZERO)
}

fn ask(cache: &Caching, request: Ask) -> JoinHandle<Answer> {
    let cache = cache.clone();
    tokio::spawn(async move { send(&cache, request).await })
}

/// The first answer takes ten seconds, for its head or for its body.
fn slow_first(in_body: bool) -> Origin {
    Origin::new(move |_, nth| match (nth, in_body) {
        (0, false) => fresh(60).after(10).body("older"),
        (0, true) => fresh(60).body("old").pause(10).body("er"),
        _ => fresh(60).body("younger"),
    })
}

#[tokio::test(start_paused = true)]
async fn an_older_answer_that_comes_late_does_not_take_the_place_of_a_younger_one() {
    for in_body in [false, true] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let layer = alone().observe(move |event| hears.lock().unwrap().push(*event));
        let cache = layer.layer(slow_first(in_body));
        let first = ask(&cache, get("/"));
        pass(1).await;
        assert_eq!(send(&cache, get("/")).await.text(), "younger");
        assert_eq!(first.await.unwrap().text(), "older", "who asked for it has it");
        let hit = send(&cache, get("/")).await;
        assert_eq!((hit.text(), hit.is_hit()), ("younger", true));
        assert!(told.lock().unwrap().contains(&Event::Declined("superseded")));
        assert_eq!(cache_of(&layer).statistics().refused, 1);
    }
}

/// What is known of a URL of which nothing could be stored is that nobody need wait for anybody.
#[tokio::test(start_paused = true)]
async fn the_same_holds_where_nobody_waits_as_nothing_could_be_stored_before() {
    let origin = Origin::new(|_, nth| match nth {
        0 => ok(),
        1 => fresh(60).after(10).body("older"),
        _ => fresh(60).body("younger"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let first = ask(&cache, get("/"));
    pass(1).await;
    assert_eq!(send(&cache, get("/")).await.text(), "younger");
    first.await.unwrap();
    assert_eq!(send(&cache, get("/")).await.text(), "younger");
}

#[tokio::test(start_paused = true)]
async fn a_304_that_comes_late_does_not_bring_back_what_a_younger_answer_has_replaced() {
    let origin = Origin::new(|_, nth| match nth {
        0 => fresh(1).with("etag", "\"e\"").body("older"),
        1 => Reply::with(status(304), "etag", "\"e\"").with("cache-control", "max-age=60").after(10),
        _ => fresh(60).with("etag", "\"f\"").body("younger"),
    });
    let cache = alone().layer(origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let first = ask(&cache, get("/"));
    pass(1).await;
    assert_eq!(send(&cache, get("/")).await.text(), "younger");
    assert_eq!(first.await.unwrap().text(), "older");
    assert_eq!(send(&cache, get("/")).await.text(), "younger");
}

/// A head says less than what has its body, and keeps it away only if it says that it is another.
#[tokio::test(start_paused = true)]
async fn the_younger_head_of_the_same_does_not_keep_its_body_away() {
    for (tag, is_kept) in [("\"e\"", true), ("\"f\"", false)] {
        let origin = Origin::new(move |head, nth| match (head.method.as_str(), nth) {
            ("HEAD", _) => fresh(60).with("etag", tag).with("content-length", "5"),
            (_, 0) => fresh(60).with("etag", "\"e\"").sized("whole").after(10),
            _ => fresh(60).with("etag", "\"f\"").sized("other"),
        });
        let cache = alone().layer(origin);
        let first = ask(&cache, get("/"));
        pass(1).await;
        send(&cache, request("HEAD", "/")).await;
        first.await.unwrap();
        assert_eq!(send(&cache, get("/")).await.text(), if is_kept { "whole" } else { "other" });
    }
}

/// Parts are put together, whichever comes first.
#[tokio::test(start_paused = true)]
async fn a_part_that_comes_late_still_is_one() {
    let part = |range: &str, text: &str| {
        let part = status(206).with("cache-control", "max-age=60").with("etag", "\"e\"");
        part.with("content-range", range).sized(text)
    };
    let origin = Origin::new(move |_, nth| match nth {
        0 => part("bytes 0-4/10", "01234").after(10),
        _ => part("bytes 5-9/10", "56789"),
    });
    let cache = alone().layer(origin.clone());
    let first = ask(&cache, get("/").with("range", "bytes=0-4"));
    pass(1).await;
    send(&cache, get("/").with("range", "bytes=5-9")).await;
    first.await.unwrap();
    assert_eq!(send(&cache, get("/")).await.text(), "0123456789");
    assert_eq!(origin.asked(), 2);
}

/// Both are selected by a request of the second kind; the clock of the origin tells neither from the other.
#[tokio::test(start_paused = true)]
async fn of_two_of_one_second_that_which_was_asked_for_last_is_used() {
    let date = "Fri, 27 Nov 2026 08:00:00 GMT";
    let page = move |kind: &'static str| {
        ok().with("cache-control", "public, max-age=999999999").with("date", date).with("vary", kind)
    };
    let origin = Origin::new(move |_, nth| match nth {
        0 => page("x-a").after(10).body("older"),
        _ => page("x-b").body("younger"),
    });
    let cache = alone().layer(origin);
    let first = ask(&cache, get("/"));
    pass(1).await;
    send(&cache, get("/")).await;
    first.await.unwrap();
    assert_eq!(send(&cache, get("/")).await.text(), "younger");
}
