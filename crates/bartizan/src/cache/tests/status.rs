//! What `Cache-Status` says (RFC 9211), and whether it is so.

use super::support::*;
use crate::cache::{CachePolicy, Event, KeyRules, Purge};
use bartizan_store::Key;
use std::sync::{Arc, Mutex};
use tower_layer::Layer;

fn part(range: &str, text: &str) -> Reply {
    status(206).with("etag", "\"e\"").with("content-range", range).sized(text)
}

fn reasons(told: &Mutex<Vec<Event>>) -> Vec<&'static str> {
    let told = told.lock().unwrap();
    told.iter().filter_map(|event| if let Event::Declined(why) = event { Some(*why) } else { None }).collect()
}

/// RFC 9211 §2.2: a part is `partial`. A head has no part of the content, and what is stored under this URL and selected by
/// this request all the same cannot be used for it: that is a `miss`.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_stored_alone_is_no_part() {
    let origin = Origin::new(|head, _| match head.method.as_str() {
        "HEAD" => fresh(60).with("etag", "\"e\"").with("content-length", "5"),
        _ => fresh(60).with("etag", "\"e\"").sized("whole"),
    });
    let cache = cache(&origin);
    send(&cache, request("HEAD", "/")).await;
    assert_eq!(send(&cache, get("/")).await.said(), "fwd=miss; stored; ttl=60");
}

#[tokio::test(start_paused = true)]
async fn what_is_made_whole_says_that_it_is_stored_only_if_it_is() {
    for (control, said) in [
        ("max-age=60", "fwd=partial; fwd-status=206; stored; ttl=60"),
        ("no-store, max-age=60", "fwd=partial; fwd-status=206; ttl=60; detail=no-store"),
    ] {
        let origin = Origin::new(move |_, nth| match nth {
            0 => part("bytes 0-6/10", "0123456").with("cache-control", "max-age=60"),
            _ => part("bytes 7-9/10", "789").with("cache-control", control),
        });
        let cache = rfc(&origin);
        send(&cache, get("/").with("range", "bytes=0-6")).await;
        let whole = send(&cache, get("/")).await;
        assert_eq!((whole.text(), &*whole.said()), ("0123456789", said));
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_of_what_is_there_whole_is_not_stored_and_is_not_too_large() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let origin = Origin::new(|_, nth| match nth {
        0 => fresh(1).with("etag", "\"e\"").sized("0123456789"),
        _ => part("bytes 0-3/10", "0123").with("cache-control", "max-age=60"),
    });
    let cache = layer().observe(move |event| hears.lock().unwrap().push(*event)).layer(origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let answer = send(&cache, get("/").with("range", "bytes=0-3")).await;
    assert_eq!((answer.text(), &*answer.said()), ("0123", "fwd=stale; ttl=60; detail=superseded"));
    assert_eq!(reasons(&told), ["superseded"]);
    // Nor is it taken for something that can never be stored.
    let next = send(&cache, get("/")).await;
    assert_eq!(next.status.as_u16(), 206, "the origin is asked");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_not_as_long_as_it_says_is_not_too_large() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    let origin = Origin::new(|_, _| {
        let part = status(206).with("etag", "\"e\"").with("cache-control", "max-age=60");
        part.with("content-range", "bytes 0-3/10").unsized_body("012")
    });
    let cache = layer().observe(move |event| hears.lock().unwrap().push(*event)).layer(origin);
    send(&cache, get("/").with("range", "bytes=0-3")).await;
    assert_eq!(reasons(&told), ["part"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_before_it_came_does_not_say_that_it_is_stored() {
    let layer = layer();
    let cache = layer.layer(Origin::new(|_, _| fresh(60).after(10).body("one")));
    let asking = tokio::spawn(async move { send(&cache, get("/")).await });
    pass(1).await;
    cache_of(&layer).purge(&Purge::everything());
    assert_eq!(asking.await.unwrap().said(), "fwd=uri-miss; ttl=50; detail=purged");
}

/// Those who waited for an origin that fails say why they get what is stale, as the one does that asked it.
#[tokio::test(start_paused = true)]
async fn who_waited_for_an_origin_that_fails_says_why_it_gets_what_is_stale() {
    for (failure, why) in
        [(fails as fn() -> Reply, "; ttl=-6; detail=no-answer"), (|| status(503), "; fwd-status=503; ttl=-6")]
    {
        let origin = Origin::new(move |_, nth| if nth == 0 { fresh(1).body("old") } else { failure().after(2) });
        let cache = layer().policy(CachePolicy::rfc()).layer(origin.clone());
        send(&cache, get("/")).await;
        pass(5).await;
        let asking: Vec<_> = (0..3)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { send(&cache, get("/")).await.said() })
            })
            .collect();
        let mut said = Vec::new();
        for one in asking {
            said.push(one.await.unwrap());
        }
        let (leads, follows) = (format!("fwd=stale{why}"), format!("fwd=stale; collapsed{why}"));
        assert_eq!(said, [leads, follows.clone(), follows]);
        assert_eq!(origin.asked(), 2);
    }
}

// ===== `key` =====

#[tokio::test(start_paused = true)]
async fn the_key_is_told_only_to_who_was_promised_it() {
    let origin = Origin::new(|_, _| fresh(60).with("cache-status", "other; hit").body("one"));
    let cache = layer().cache_status_with_key().layer(origin.clone());
    for said in ["fwd=uri-miss; stored; ttl=60", "hit; ttl=60"] {
        let answer = send(&cache, get("/a?q=1")).await;
        assert_eq!(answer.said(), format!("{said}; key=\"http://a.example/a?q=1\""));
        assert_eq!(answer.all("cache-status")[0], "other; hit");
    }
    // Nothing of what changes something is looked for under a key.
    assert_eq!(send(&cache, request("POST", "/a")).await.said(), "fwd=method");
    let cache = layer().layer(origin);
    for _ in 0..2 {
        assert!(!send(&cache, get("/a")).await.said().contains("key"));
    }
}

/// A client chooses much of a key, and must not say more in its name than that.
#[tokio::test(start_paused = true)]
async fn whatever_is_in_a_key_it_is_one_string() {
    let rules = KeyRules::new().with_field(http::HeaderName::from_static("x-kind"));
    let layer = layer().keys(rules).partition_by(|_| Some(Key::new("a\"b"))).cache_status_with_key();
    let cache = layer.layer(Origin::new(|_, _| fresh(60)));
    let evil = || {
        let mut request = get("/{\"q\":1};hit");
        let bytes = http::HeaderValue::from_bytes(b"\", x; hit\xff\\").unwrap();
        request.headers_mut().insert("x-kind", bytes);
        request
    };
    for begin in ["fwd=uri-miss; stored; ttl=60; key=", "hit; ttl=60; key="] {
        let said = send(&cache, evil()).await.said();
        assert!(said.starts_with(begin) && said.contains("%FF"), "{said}");
    }
    let long = send(&cache, get(&format!("/{}", "a".repeat(2000)))).await;
    assert_eq!(long.said(), "fwd=uri-miss; stored; ttl=60", "it is too long for a string");
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_says_nothing_says_no_key() {
    let cache = layer().cache_status_with_key().no_cache_status();
    let cache = cache.layer(Origin::new(|_, _| fresh(60).with("cache-status", "bartizan-2; hit")));
    for _ in 0..2 {
        assert_eq!(send(&cache, get("/")).await.one("cache-status"), "bartizan-2; hit");
    }
}
