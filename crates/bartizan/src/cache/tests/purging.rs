//! What whoever runs the cache takes back.

use super::support::*;
use crate::cache::{CacheKey, CacheLayer, CachePolicy, KeyRules, Purge, ResponseCache};
use bartizan_store::Key;
use http::StatusCode;
use tower_layer::Layer;

fn url() -> Purge {
    Purge::url(CacheKey::url("http://a.example/").unwrap())
}

fn purges() -> Vec<Purge> {
    let prefix = Purge::prefix(CacheKey::url("http://a.example/").unwrap());
    let group = Purge::group(CacheKey::url("http://a.example/").unwrap(), "g");
    vec![url(), prefix, group, Purge::tag("t"), Purge::tag("s"), Purge::everything()]
}

fn tagged(control: &str) -> Reply {
    let tags = ok().with("surrogate-key", "s x").with("cache-tag", "t, u").with("cache-groups", "\"g\"");
    tags.with("cache-control", control).with("etag", "\"e\"")
}

fn renewed(code: u16) -> Reply {
    status(code).with("etag", "\"e\"").with("cache-control", "max-age=60")
}

#[tokio::test(start_paused = true)]
async fn tags_are_for_this_cache_alone_and_groups_for_all() {
    let origin = Origin::new(|_, _| tagged("max-age=60"));
    let cache = cache(&origin);
    for _ in 0..2 {
        let answer = send(&cache, get("/")).await;
        assert_eq!((answer.one("surrogate-key").as_str(), answer.one("cache-tag").as_str()), ("", ""));
        assert_eq!(answer.one("cache-groups"), "\"g\"");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_is_not_used_again() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|_, nth| tagged("max-age=60, stale-while-revalidate=60").body(&nth.to_string()));
        let cache = layer.layer(origin.clone());
        send(&cache, get("/")).await;
        assert!(send(&cache, get("/")).await.is_hit());
        cache_of(&layer).purge(&purge);
        assert_eq!(send(&cache, get("/")).await.text(), "1", "{purge:?}");
        assert_eq!(origin.was_told("if-none-match"), [""; 0], "{purge:?}");
        assert!(send(&cache, get("/")).await.is_hit(), "{purge:?}: what came after is stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_again_is_found_however_often_it_was_looked_for_in_vain() {
    for in_vain in 0..20 {
        let layer = layer();
        let cache = layer.layer(Origin::new(|_, nth| fresh(60).body(&nth.to_string())));
        send(&cache, get("/")).await;
        for nth in 1..4 {
            cache_of(&layer).purge(&url());
            for _ in 0..in_vain {
                let refused = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
                assert_eq!(refused.status, StatusCode::GATEWAY_TIMEOUT);
            }
            send(&cache, get("/")).await;
            assert_eq!(send(&cache, get("/")).await.text(), nth.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_variant_that_was_purged_is_not_brought_back_by_a_304() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|head, nth| match (nth, head.headers.contains_key("if-none-match")) {
            (0, _) => tagged("max-age=60").with("vary", "x-kind").body("old"),
            (_, true) => Reply::with(status(304), "etag", "\"e\""),
            (_, false) => ok().body("new"),
        });
        let cache = layer.layer(origin);
        send(&cache, get("/").with("x-kind", "a")).await;
        cache_of(&layer).purge(&purge);
        assert_eq!(send(&cache, get("/").with("x-kind", "b")).await.text(), "new", "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_softly_is_validated_before_it_is_used() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|_, nth| match nth {
            0 => tagged("max-age=60").body("one"),
            _ => Reply::with(status(304), "etag", "\"e\""),
        });
        let cache = layer.layer(origin);
        send(&cache, get("/")).await;
        cache_of(&layer).purge(&purge.clone().softly());
        let validated = send(&cache, get("/")).await;
        assert_eq!(
            (validated.text(), validated.said().as_str()),
            ("one", "fwd=stale; fwd-status=304; ttl=60"),
            "{purge:?}"
        );
        assert_eq!(send(&cache, get("/")).await.said(), "hit; ttl=60", "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_softly_is_used_while_it_is_refreshed() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|_, nth| tagged("max-age=60, stale-while-revalidate=60").body(&nth.to_string()));
        let cache = layer.layer(origin);
        send(&cache, get("/")).await;
        cache_of(&layer).purge(&purge.clone().softly());
        pass(1).await;
        let stale = send(&cache, get("/")).await;
        assert_eq!((stale.text(), &*stale.said()), ("0", "hit; ttl=-1"), "{purge:?}");
        settle().await;
        assert_eq!(send(&cache, get("/")).await.text(), "1", "{purge:?}");
    }
}

/// It had been stale for longer than it may be.
#[tokio::test(start_paused = true)]
async fn a_soft_purge_makes_nothing_usable_that_was_not() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|_, nth| tagged("max-age=10, stale-while-revalidate=10").body(&nth.to_string()));
        let cache = layer.layer(origin);
        send(&cache, get("/")).await;
        pass(30).await;
        cache_of(&layer).purge(&purge.clone().softly());
        assert_eq!(send(&cache, get("/")).await.text(), "1", "{purge:?}");
    }
}

/// The last 1024 are remembered, each with its time. Of one before that it is known only that it came after the response.
#[tokio::test(start_paused = true)]
async fn a_soft_purge_that_too_many_have_followed_counts_as_long_ago() {
    for (others, text) in [(1023, "0"), (1024, "1")] {
        let layer = layer();
        let origin = Origin::new(|_, nth| tagged("max-age=60, stale-while-revalidate=20").body(&nth.to_string()));
        let cache = layer.layer(origin);
        send(&cache, get("/")).await;
        pass(30).await;
        cache_of(&layer).purge(&Purge::tag("t").softly());
        for nth in 0..others {
            cache_of(&layer).purge(&Purge::tag(format!("other-{nth}")).softly());
        }
        assert_eq!(send(&cache, get("/")).await.text(), text, "{others}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_softly_and_never_used_stale_does_not_stand_in() {
    for purge in purges() {
        let layer = layer();
        let control = "max-age=60, must-revalidate";
        let origin = Origin::new(move |_, nth| if nth == 0 { tagged(control).body("one") } else { status(503) });
        let cache = layer.layer(origin);
        send(&cache, get("/")).await;
        cache_of(&layer).purge(&purge.clone().softly());
        assert_eq!(send(&cache, get("/")).await.status.as_u16(), 503, "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_who_wants_it_validated_is_heeded_after_a_soft_purge() {
    let cache_of_all = CacheLayer::new(ResponseCache::new(1 << 20)).policy(CachePolicy::rfc());
    let origin = Origin::new(|_, nth| tagged("max-age=60, stale-while-revalidate=60").body(&nth.to_string()));
    let cache = cache_of_all.layer(origin);
    send(&cache, get("/")).await;
    cache_of(&cache_of_all).purge(&Purge::tag("t").softly());
    assert_eq!(send(&cache, get("/").with("cache-control", "no-cache")).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_when_it_is_purged_is_not_stored_and_not_read_along() {
    for soft in [false, true] {
        for purge in purges() {
            for (head_after, body_after) in [(10, 0), (0, 10)] {
                let layer = layer();
                let origin = Origin::new(move |_, nth| match nth {
                    0 => tagged("max-age=60").after(head_after).body("o").pause(body_after).body("ld"),
                    _ => tagged("max-age=60").body("new"),
                });
                let cache = layer.layer(origin);
                let first = tokio::spawn({
                    let cache = cache.clone();
                    async move { send(&cache, get("/")).await }
                });
                settle().await;
                let purge = if soft { purge.clone().softly() } else { purge.clone() };
                cache_of(&layer).purge(&purge);
                assert_eq!(send(&cache, get("/")).await.text(), "new", "{purge:?} {head_after}");
                assert_eq!(first.await.unwrap().text(), "old");
                assert_eq!(send(&cache, get("/")).await.text(), "new", "{purge:?} {head_after}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_a_url_takes_all_that_has_more_in_its_key() {
    for soft in [false, true] {
        let layer = layer().keys(KeyRules::new().with_field(http::HeaderName::from_static("x-kind")));
        let origin = Origin::new(|_, nth| tagged("max-age=60").body(&nth.to_string()));
        let cache = layer.layer(origin.clone());
        for kind in ["a", "b"] {
            send(&cache, get("/").with("x-kind", kind)).await;
        }
        cache_of(&layer).purge(&if soft { url().softly() } else { url() });
        for (kind, text) in [("a", "2"), ("b", "3")] {
            assert_eq!(send(&cache, get("/").with("x-kind", kind)).await.text(), text);
        }
        send(&cache, request("PUT", "/")).await;
        for kind in ["a", "b"] {
            assert!(!send(&cache, get("/").with("x-kind", kind)).await.is_hit());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_tags_of_a_304_take_the_place_of_the_old() {
    let layer = layer();
    let origin = Origin::new(|_, nth| match nth {
        0 => tagged("max-age=1").body("one"),
        1 => Reply::with(status(304), "etag", "\"e\"").with("cache-tag", "new").with("cache-control", "max-age=60"),
        _ => ok().body("two"),
    });
    let cache = layer.layer(origin);
    send(&cache, get("/")).await;
    pass(2).await;
    assert_eq!(send(&cache, get("/")).await.one("cache-tag"), "");
    cache_of(&layer).purge(&Purge::tag("new"));
    assert_eq!(send(&cache, get("/")).await.text(), "two");
}

/// A follower has looked it up, and asks for itself after its wait: what was purged meanwhile is not asked about.
#[tokio::test(start_paused = true)]
async fn what_is_purged_between_looking_and_asking_is_not_brought_back_by_a_304() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|head, nth| match (nth, head.headers.contains_key("if-none-match")) {
            (0, _) => tagged("max-age=1").body("old"),
            (1, _) => tagged("max-age=1").body("slow").after(8),
            (_, true) => tagged("max-age=60").with("x-validated", "1"),
            (_, false) => ok().body("new"),
        });
        let cache = layer.layer(origin.clone());
        send(&cache, get("/")).await;
        pass(2).await;
        let (leader, follower) = (cache.clone(), cache.clone());
        let leader = tokio::spawn(async move { send(&leader, get("/")).await });
        settle().await;
        let follower = tokio::spawn(async move { send(&follower, get("/")).await });
        settle().await;
        pass(2).await;
        cache_of(&layer).purge(&purge);
        assert_eq!(follower.await.unwrap().text(), "new", "{purge:?}");
        leader.await.unwrap();
    }
}

/// One tag of all partitions, and what is in none.
#[tokio::test(start_paused = true)]
async fn a_tag_can_be_purged_for_all_whose_it_is() {
    for (header, soft) in [("surrogate-key", false), ("cache-tag", false), ("cache-tag", true)] {
        let layer = layer();
        let origin = Origin::new(move |head, nth| {
            let tags = if head.uri.path() == "/tagged" { "t" } else { "other" };
            fresh(60).with(header, tags).body(&nth.to_string())
        });
        let tenant = |head: &http::request::Parts| Some(Key::new(head.headers.get("x-tenant")?.as_bytes()));
        let (theirs, nobodys) = (layer.clone().partition_by(tenant).layer(origin.clone()), layer.layer(origin));
        let ask = |tenant: &str, target: &str| get(target).with("x-tenant", tenant);
        let is_hit = async |tenant: &str, target: &str| match tenant {
            "" => send(&nobodys, get(target)).await.is_hit(),
            tenant => send(&theirs, ask(tenant, target)).await.is_hit(),
        };
        for tenant in ["", "a", "b"] {
            is_hit(tenant, "/tagged").await;
            is_hit(tenant, "/other").await;
        }
        let purge = Purge::tag_everywhere("t");
        assert_eq!(cache_of(&layer).purge(&if soft { purge.softly() } else { purge }).keys, None);
        for tenant in ["", "a", "b"] {
            assert!(!is_hit(tenant, "/tagged").await, "{tenant:?}");
            assert!(is_hit(tenant, "/tagged").await, "{tenant:?}: what came after is stored");
            assert!(is_hit(tenant, "/other").await, "{tenant:?}");
        }
        // Told whose it is, it is no more than that.
        cache_of(&layer).purge(&Purge::tag_everywhere("t").partition(Key::new("a")));
        assert!(!is_hit("a", "/tagged").await && is_hit("b", "/tagged").await && is_hit("", "/tagged").await);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_to_somebody_is_not_stored_when_its_tag_is_purged_for_all() {
    let layer = layer().partition_by(|_| Some(Key::new("a")));
    let origin = Origin::new(|_, nth| match nth {
        0 => tagged("max-age=60").after(10).body("old"),
        _ => tagged("max-age=60").body("new"),
    });
    let cache = layer.layer(origin);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { send(&cache, get("/")).await }
    });
    pass(1).await;
    cache_of(&layer).purge(&Purge::tag_everywhere("t"));
    first.await.unwrap();
    assert_eq!(send(&cache, get("/")).await.text(), "new");
}

/// RFC 9111 §3.2: what is not in an update stays as it was.
#[tokio::test(start_paused = true)]
async fn a_validation_that_names_tags_by_one_field_leaves_those_of_the_others() {
    let group = || Purge::group(CacheKey::url("http://a.example/").unwrap(), "g");
    for method in ["GET", "HEAD"] {
        for (purge, takes) in [
            (group(), true),
            (Purge::tag("s"), true),
            (Purge::tag("x"), true),
            (Purge::tag("new"), true),
            (Purge::tag("t"), false),
        ] {
            let layer = layer();
            let cache = layer.layer(Origin::new(|head, nth| match (nth, head.method.as_str()) {
                (0, _) => tagged("max-age=1").body("old"),
                (_, "HEAD") => renewed(200).with("cache-tag", "new"),
                (1, _) => renewed(304).with("cache-tag", "new"),
                _ => renewed(200).body("new"),
            }));
            send(&cache, get("/")).await;
            pass(2).await;
            send(&cache, request(method, "/")).await;
            assert_eq!(send(&cache, get("/")).await.text(), "old");
            cache_of(&layer).purge(&purge);
            let text = if takes { "new" } else { "old" };
            assert_eq!(send(&cache, get("/")).await.text(), text, "{method} {purge:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_validation_with_more_tags_than_can_be_kept_ends_the_storing() {
    let tags: String = (0..150).map(|tag| format!("{tag},")).collect();
    for method in ["GET", "HEAD"] {
        let (layer, tags) = (layer(), tags.clone());
        let cache = layer.layer(Origin::new(move |head, nth| match (nth, head.method.as_str()) {
            (0, _) => tagged("max-age=1").body("old"),
            (_, "HEAD") => renewed(200).with("cache-tag", &tags),
            (1, _) => renewed(304).with("cache-tag", &tags),
            _ => renewed(200).body("new"),
        }));
        send(&cache, get("/")).await;
        pass(2).await;
        send(&cache, request(method, "/")).await;
        assert_eq!(send(&cache, get("/")).await.text(), "new", "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_soft_purge_makes_nothing_usable_that_was_not() {
    for purge in purges() {
        let layer = layer();
        let origin = Origin::new(|_, nth| tagged("max-age=60, stale-while-revalidate=20").body(&nth.to_string()));
        let cache = layer.layer(origin);
        let softly = purge.clone().softly();
        send(&cache, get("/")).await;
        cache_of(&layer).purge(&softly);
        pass(15).await;
        cache_of(&layer).purge(&softly);
        pass(10).await;
        assert_eq!(send(&cache, get("/")).await.text(), "1", "{purge:?}");
        // What has come since went stale with the purges after it.
        pass(30).await;
        cache_of(&layer).purge(&softly);
        pass(15).await;
        assert_eq!(send(&cache, get("/")).await.said(), "hit; ttl=-15", "{purge:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_post_that_was_purged_on_its_way_answers_no_get() {
    for (purge, text) in [(url(), "got"), (Purge::tag("t"), "got"), (Purge::tag("other"), "posted")] {
        let layer = layer().policy(CachePolicy::rfc());
        let origin = Origin::new(|head, _| match head.method.as_str() {
            "POST" => tagged("max-age=60").with("content-location", "/").after(5).body("posted"),
            _ => tagged("max-age=60").body("got"),
        });
        let cache = layer.layer(origin);
        let posting = tokio::spawn({
            let cache = cache.clone();
            async move { send(&cache, request("POST", "/")).await }
        });
        pass(1).await;
        cache_of(&layer).purge(&purge);
        posting.await.unwrap();
        settle().await;
        assert_eq!(send(&cache, get("/")).await.text(), text, "{purge:?}");
    }
}
