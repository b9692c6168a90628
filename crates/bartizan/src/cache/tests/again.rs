//! What is asked for again and again: short cuts lead to the same answers.

use super::support::*;
use crate::cache::{CacheKey, CacheLayer, Purge, ResponseCache};
use std::time::Duration;
use tower_layer::Layer;

/// So that neither an age nor what is left is a whole number of seconds.
async fn pass_a_bit() {
    tokio::time::advance(Duration::from_millis(300)).await;
}

fn page(nth: usize) -> Reply {
    ok().with("cache-control", "max-age=60, stale-while-revalidate=60").with("cache-tag", "t").body(&nth.to_string())
}

#[tokio::test(start_paused = true)]
async fn each_answer_says_how_old_it_is() {
    let origin = Origin::says([fresh(60).with("cache-status", "other; hit").with("etag", "\"e\"").body("one")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass_a_bit().await;
    for second in 0..60 {
        for _ in 0..5 {
            let (age, said) = (second.to_string(), format!("hit; ttl={}", 59 - second));
            let hit = send(&cache, get("/")).await;
            assert_eq!((hit.text(), hit.one("age"), hit.said()), ("one", age.clone(), said.clone()));
            assert_eq!(hit.all("cache-status")[0], "other; hit");
            let same = send(&cache, get("/").with("if-none-match", "\"e\"")).await;
            assert_eq!((same.status.as_u16(), same.one("age"), same.said()), (304, age.clone(), said.clone()));
            let other = send(&cache, get("/").with("if-none-match", "\"f\"")).await;
            assert_eq!((other.status.as_u16(), other.text(), other.one("age")), (200, "one", age));
        }
        pass(1).await;
    }
    assert_eq!(origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_layer_over_the_same_cache_says_its_own_name() {
    let store = ResponseCache::new(1 << 20);
    let origin = Origin::says([fresh(60).body("one")]);
    let layers = ["one", "two"].map(|name| CacheLayer::new(store.clone()).name(name).layer(origin.clone()));
    let silent = CacheLayer::new(store.clone()).no_cache_status().layer(origin.clone());
    send(&layers[0], get("/")).await;
    pass_a_bit().await;
    for _ in 0..5 {
        for (layer, name) in layers.iter().zip(["one", "two"]) {
            for _ in 0..5 {
                let hit = send(layer, get("/")).await;
                assert_eq!(hit.one("cache-status"), format!("{name}; hit; ttl=59"));
            }
        }
        assert!(send(&silent, get("/")).await.all("cache-status").is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_heeded_at_once() {
    let key = || CacheKey::url("http://a.example/").unwrap();
    let purges = [Purge::url(key()), Purge::prefix(key()), Purge::tag("t"), Purge::everything()];
    for (purge, is_soft) in purges.into_iter().flat_map(|purge| [(purge.clone().softly(), true), (purge, false)]) {
        let layer = layer();
        let origin = Origin::new(|_, nth| page(nth));
        let cache = layer.layer(origin.clone());
        for nth in 0..5 {
            send(&cache, get("/")).await;
            pass_a_bit().await;
            for _ in 0..20 {
                let hit = send(&cache, get("/")).await;
                assert!(hit.is_hit() && !hit.said().contains("ttl=-"), "{purge:?}: {}", hit.said());
                assert_eq!(hit.text(), nth.to_string(), "{purge:?}");
            }
            cache_of(&layer).purge(&purge);
            let after = send(&cache, get("/")).await;
            // What is taken back softly is used once more, as it is refreshed behind.
            assert_eq!(after.text(), (nth + usize::from(!is_soft)).to_string(), "{purge:?}");
            assert_eq!(after.said() == "hit; ttl=0", is_soft, "{purge:?}: {}", after.said());
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_takes_its_place_is_the_answer() {
    let origin = Origin::new(|head, nth| match head.method.as_str() {
        "GET" => page(nth),
        _ => ok(),
    });
    let cache = cache(&origin);
    for nth in 0..5 {
        send(&cache, get("/")).await;
        pass_a_bit().await;
        for _ in 0..20 {
            assert_eq!(send(&cache, get("/")).await.text(), (2 * nth).to_string());
        }
        send(&cache, request("POST", "/")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_gets_the_variant_that_he_selects() {
    let says = |head: &http::request::Parts| head.headers["x-kind"].to_str().unwrap().to_owned();
    let origin = Origin::new(move |head, _| fresh(60).with("vary", "x-kind").body(&says(head)));
    let cache = cache(&origin);
    let kinds = ["a", "b", "c"];
    for kind in kinds {
        send(&cache, get("/").with("x-kind", kind)).await;
    }
    pass_a_bit().await;
    for _ in 0..20 {
        for kind in kinds {
            let hit = send(&cache, get("/").with("x-kind", kind)).await;
            assert_eq!((hit.text(), hit.is_hit()), (kind, true));
        }
    }
}
