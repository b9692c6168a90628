//! What came of a body is stored only if it is all of it.

use super::support::*;
use crate::cache::{Abandoned, ResponseCache};
use http::StatusCode;
use http_body_util::BodyExt;
use tower_layer::Layer;

fn small() -> crate::cache::CacheLayer {
    crate::cache::CacheLayer::new(ResponseCache::new(1 << 20).object_limit(2000))
}

#[tokio::test(start_paused = true)]
async fn what_breaks_off_is_never_served_as_the_whole() {
    let rows: [(&str, fn() -> Reply); 4] = [
        ("an error", || fresh(60).body("ha").breaks()),
        ("an error after all that was announced", || fresh(60).with("content-length", "2").body("ha").breaks()),
        ("too short", || fresh(60).with("content-length", "4").unsized_body("ha")),
        ("too long", || fresh(60).with("content-length", "1").unsized_body("ha")),
    ];
    for (what, half) in rows {
        let origin = Origin::new(move |_, nth| if nth == 0 { half() } else { fresh(60).body("whole") });
        let cache = rfc(&origin);
        let broken = send(&cache, get("/")).await;
        assert!(broken.body.is_none() || what.starts_with("an error after"), "{what}");
        let next = send(&cache, get("/")).await;
        assert_eq!((next.status, next.text()), (StatusCode::OK, "whole"), "{what}");
    }
}

/// What came is a part, of which the rest can be asked for. Whoever wants the whole gets the whole.
#[tokio::test(start_paused = true)]
async fn after_a_body_that_broke_off_the_whole_is_asked_for() {
    let origin = Origin::new(|head, nth| match nth {
        0 => fresh(60).with("etag", "\"e\"").with("content-length", "5").body("wh").breaks(),
        _ if head.headers.contains_key("if-none-match") => status(304).with("etag", "\"e\""),
        _ => fresh(60).with("etag", "\"e\"").sized("whole"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let next = send(&cache, get("/")).await;
    assert_eq!((next.status, next.text()), (StatusCode::OK, "whole"));
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("whole", true));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_passes_and_is_remembered() {
    let text = "x".repeat(5000);
    let rows: [fn(&str) -> Reply; 3] =
        [|text| fresh(60).sized(text), |text| fresh(60).body(text), |text| fresh(60).unsized_body(text)];
    for (nth, reply) in rows.into_iter().enumerate() {
        let text_of_origin = text.clone();
        let origin = Origin::new(move |_, _| reply(&text_of_origin));
        let layer = small();
        let cache = layer.layer(origin.clone());
        for _ in 0..2 {
            assert_eq!(send(&cache, get("/")).await.text(), text);
        }
        assert_eq!((origin.asked(), cache_of(&layer).statistics().entries), (2, 0), "{nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_streams_while_it_is_stored() {
    let origin = Origin::says([fresh(60).body("one ").pause(10).body("two")]);
    let cache = cache(&origin);
    let (mut response, seconds) = timed(async { open(&cache, get("/")).await.unwrap() }).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((&first[..], seconds), (&b"one "[..], 0));
    let (rest, seconds) = timed(response.into_body().collect()).await;
    assert_eq!((&rest.unwrap().to_bytes()[..], seconds), (&b"two"[..], 10));
    assert_eq!(send(&cache, get("/")).await.text(), "one two");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_streams_as_it_comes() {
    let origin = Origin::says([ok().with("cache-control", "no-store").body("event").pause(1000).body("event")]);
    let cache = cache(&origin);
    let (mut response, seconds) = timed(async { open(&cache, get("/")).await.unwrap() }).await;
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(seconds, 0);
    drop(response);
    assert_eq!(origin.let_go(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_client_leaves_is_fetched_to_its_end_if_it_has_one() {
    let sized = || fresh(60).with("content-length", "6").body("one").pause(10).body("two");
    let endless = || fresh(60).body("one").pause(10).body("two");
    for (reply, abandoned, is_stored) in
        [(sized(), Abandoned::Finish, true), (sized(), Abandoned::Drop, false), (endless(), Abandoned::Finish, false)]
    {
        let origin = Origin::says([reply, ok().body("again")]);
        let cache = layer().abandoned(abandoned).layer(origin.clone());
        let mut response = open(&cache, get("/")).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        pass(20).await;
        assert_eq!(origin.let_go(), usize::from(!is_stored));
        assert_eq!(send(&cache, get("/")).await.text(), if is_stored { "onetwo" } else { "again" });
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_are_stored_but_for_what_is_nobody_elses() {
    let origin = Origin::new(|_, _| {
        ok().with("cache-control", "max-age=60, private=\"x-mine\"")
            .with("connection", "x-hop")
            .body("one")
            .trailers(&[("x-sum", "7"), ("x-mine", "1"), ("x-hop", "1"), ("set-cookie", "id=7")])
    });
    let cache = cache(&origin);
    assert_eq!(send(&cache, get("/")).await.trailers.unwrap()["x-sum"], "7");
    let hit = send(&cache, get("/")).await;
    assert!(hit.is_hit());
    let trailers = hit.trailers.unwrap();
    assert_eq!(trailers["x-sum"], "7");
    for name in ["x-mine", "x-hop", "set-cookie"] {
        assert!(!trailers.contains_key(name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_is_stored() {
    for code in [200, 204] {
        let origin = Origin::new(move |_, _| status(code).with("cache-control", "max-age=60"));
        let cache = cache(&origin);
        for _ in 0..2 {
            assert_eq!(send(&cache, get("/")).await.text(), "");
        }
        assert_eq!(origin.asked(), 1);
    }
}
