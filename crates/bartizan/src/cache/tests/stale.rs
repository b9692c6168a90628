//! What is stale, while it is refreshed and while the origin fails (RFC 5861, RFC 9111 §4.2.4).

use super::support::*;
use crate::{
    cache::{CacheKey, CacheLayer, Purge, ResponseCache, tier::tests::Shared},
    shared::{self, Deadline, NoAnswer, Notes, Refusal, RequestId},
};
use bartizan_store::Memory;
use std::{sync::Arc, time::Duration};
use tower_layer::Layer;

fn says(control: &str) -> Reply {
    ok().with("cache-control", control).with("etag", "\"e\"")
}

// ===== while it is refreshed =====

const WHILE: &str = "max-age=10, stale-while-revalidate=30";

#[tokio::test(start_paused = true)]
async fn what_is_stale_is_answered_at_once_and_refreshed_once_however_many_ask() {
    let origin = Origin::new(|_, nth| says(WHILE).after(5 * nth as u64).body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(15).await;
    for _ in 0..20 {
        let (stale, seconds) = timed(send(&cache, get("/"))).await;
        assert_eq!((stale.text(), stale.said().as_str(), seconds), ("0", "hit; ttl=-5", 0));
    }
    settle().await;
    assert_eq!(origin.asked(), 2);
    pass(5).await;
    let new = send(&cache, get("/")).await;
    assert_eq!((new.text(), new.said().as_str(), origin.asked()), ("1", "hit; ttl=5", 2));
}

#[tokio::test(start_paused = true)]
async fn the_refresh_asks_whether_it_still_holds() {
    let origin =
        Origin::new(
            |_, nth| if nth == 0 { says(WHILE).body("one") } else { Reply::with(status(304), "etag", "\"e\"") },
        );
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(15).await;
    send(&cache, get("/")).await;
    settle().await;
    assert_eq!(origin.was_told("if-none-match"), ["\"e\""]);
    assert_eq!(send(&cache, get("/")).await.said(), "hit; ttl=10");
}

#[tokio::test(start_paused = true)]
async fn the_window_ends() {
    let origin = Origin::new(|_, nth| says(WHILE).body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(40).await;
    assert_eq!(send(&cache, get("/")).await.text(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_is_tried_again_by_the_next() {
    let origin = Origin::new(|_, nth| match nth {
        1 => fails(),
        2 => status(500),
        nth => says(WHILE).body(&nth.to_string()),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(15).await;
    for asked in [2, 3, 4] {
        assert_eq!(send(&cache, get("/")).await.text(), "0");
        settle().await;
        assert_eq!(origin.asked(), asked);
    }
    assert_eq!(send(&cache, get("/")).await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_during_a_refresh_is_not_brought_back_by_it() {
    let layer = layer();
    let origin =
        Origin::new(
            |_, nth| if nth == 1 { says(WHILE).after(5).body("1") } else { says(WHILE).body(&nth.to_string()) },
        );
    let cache = layer.layer(origin.clone());
    send(&cache, get("/")).await;
    pass(15).await;
    send(&cache, get("/")).await;
    settle().await;
    cache_of(&layer).purge(&Purge::url(CacheKey::url("http://a.example/").unwrap()));
    pass(10).await;
    assert_eq!(send(&cache, get("/")).await.text(), "2");
}

/// What the client wanted of its own answer is not what all are to have, and who it is decides as it does for any request.
#[tokio::test(start_paused = true)]
async fn the_refresh_is_for_all_and_asks_for_nothing_that_its_client_wanted() {
    let wishes = [
        ("cache-control", "only-if-cached"),
        ("cache-control", "max-stale=100"),
        ("pragma", "no-cache"),
        ("if-none-match", "\"mine\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("range", "bytes=0-0"),
        ("if-range", "\"mine\""),
    ];
    for (name, value) in wishes {
        let control = format!("public, {WHILE}");
        let origin = Origin::new(move |_, nth| ok().with("cache-control", &control).body(&nth.to_string()));
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(15).await;
        assert_eq!(send(&cache, get("/").with("authorization", "me").with(name, value)).await.said(), "hit; ttl=-5");
        settle().await;
        assert_eq!(origin.was_told(name), [""; 0], "{name}: {value}");
        assert_eq!(origin.was_told("authorization"), ["me"]);
        let new = send(&cache, get("/")).await;
        assert_eq!((new.text(), new.said().as_str()), ("1", "hit; ttl=10"), "{name}: {value}");
    }
}

/// RFC 9111 §5.2.1.5: nothing of such a request is stored, nor of any response to it.
#[tokio::test(start_paused = true)]
async fn who_says_no_store_has_nothing_refreshed_behind() {
    let origin = Origin::new(|_, nth| says(WHILE).body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(15).await;
    for control in ["no-store", "max-stale, no-store"] {
        let stale = send(&cache, get("/").with("cache-control", control)).await;
        assert_eq!((stale.text(), stale.said().as_str()), ("0", "hit; ttl=-5"));
        settle().await;
        assert_eq!(origin.asked(), 1);
    }
    // The next one has it done.
    assert_eq!(send(&cache, get("/")).await.said(), "hit; ttl=-5");
    settle().await;
    assert_eq!((send(&cache, get("/")).await.text(), origin.asked()), ("1", 2));
}

/// How long its client would have waited is nothing to it, nor is what happens to it for the log of that client.
#[tokio::test(start_paused = true)]
async fn the_refresh_has_neither_the_deadline_nor_the_log_of_its_client() {
    let origin = Origin::new(|_, _| says(WHILE));
    let cache = cache(&origin);
    let ask = || {
        let mut ask = get("/");
        Deadline::after(Duration::from_secs(1)).tighten(ask.extensions_mut());
        let id = RequestId::new("an-id".parse().unwrap());
        *shared::Context::of_mut(ask.extensions_mut()) = shared::Context { id, notes: Some(Notes::default()) };
        ask
    };
    for is_behind in [false, true] {
        let ask = ask();
        let notes = Notes::of(ask.extensions()).cloned().unwrap();
        send(&cache, ask).await;
        settle().await;
        let extensions = &origin.seen().last().unwrap().extensions.clone();
        assert_eq!(origin.asked(), 1 + usize::from(is_behind));
        let has = (Deadline::of(extensions).is_some(), Notes::of(extensions).is_some());
        assert_eq!(has, (!is_behind, !is_behind));
        assert!(RequestId::of(extensions).is_some());
        // That the client was given what was stale is in its log all the same.
        assert_eq!(notes.lock().flags != 0, is_behind);
        pass(15).await;
    }
}

/// Whose request it was makes no difference to what may be stored (RFC 9111 §3.5).
#[tokio::test(start_paused = true)]
async fn what_a_refresh_brings_for_one_alone_is_not_stored_for_all() {
    let origin = Origin::new(|head, _| match head.headers.get("authorization") {
        None => says(WHILE).body("for all"),
        Some(_) => ok().with("cache-control", WHILE).body("for me"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(15).await;
    assert_eq!(send(&cache, get("/").with("authorization", "me")).await.text(), "for all");
    settle().await;
    assert_eq!((send(&cache, get("/")).await.text(), origin.asked()), ("for all", 2));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_behind_is_no_answer_to_anybody() {
    let layer = layer();
    let origin = Origin::new(|_, nth| says(WHILE).body(&nth.to_string()));
    let cache = layer.layer(origin);
    send(&cache, get("/")).await;
    pass(15).await;
    send(&cache, get("/")).await;
    settle().await;
    let told = cache_of(&layer).statistics();
    assert_eq!((told.misses, told.stale, told.hits + told.revalidated), (1, 1, 0));
}

/// What comes from the second tier in its window is refreshed as well.
#[tokio::test(start_paused = true)]
async fn what_another_process_has_stored_is_answered_stale_and_refreshed() {
    let store = Shared(Arc::new(Memory::new()));
    let origin = Origin::new(|_, nth| says("max-age=0, stale-while-revalidate=1000").body(&nth.to_string()));
    let process = || CacheLayer::new(ResponseCache::new(1 << 20).second_tier(store.clone())).layer(origin.clone());
    send(&process(), get("/")).await;
    settle().await;
    let cache = process();
    let stale = send(&cache, get("/")).await;
    assert_eq!((stale.text(), stale.is_hit()), ("0", true));
    settle().await;
    assert_eq!((send(&cache, get("/")).await.text(), origin.asked()), ("1", 2));
}

/// Nobody waits for it, and so nobody would ever know.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_never_answered_is_given_up_for_another() {
    for slow in [(|| fresh(60).after(100_000)) as fn() -> Reply, || {
        fresh(60).with("content-length", "9").body("never").pause(100_000).body("more")
    }] {
        let control = "max-age=10, stale-while-revalidate=100000";
        let origin = Origin::new(move |_, nth| if nth == 1 { slow() } else { says(control).body(&nth.to_string()) });
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(15).await;
        assert_eq!(send(&cache, get("/")).await.text(), "0");
        pass(100).await;
        assert_eq!(send(&cache, get("/")).await.text(), "0");
        settle().await;
        assert_eq!((send(&cache, get("/")).await.text(), origin.asked()), ("2", 3));
    }
}

// ===== while the origin fails =====

/// All the ways in which an origin fails to give an answer.
fn failures() -> Vec<(&'static str, fn() -> Reply)> {
    vec![
        ("an error", fails),
        ("no answer", || status(502).mark(NoAnswer)),
        ("no answer in time", || status(504).mark(NoAnswer)),
        ("an open breaker", || status(503).mark(Refusal::new("breaker_open"))),
        ("a timeout", || status(504).mark(Refusal::new("timeout"))),
        ("a rate limit", || status(429).mark(Refusal::new("rate_limited"))),
        ("500", || status(500)),
        ("503", || status(503)),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_stands_in_for_an_origin_that_fails() {
    for (what, failure) in failures() {
        for control in ["max-age=10", "max-age=10, stale-if-error=60"] {
            let origin = Origin::new(move |_, nth| if nth == 0 { says(control).body("one") } else { failure() });
            let cache = cache(&origin);
            send(&cache, get("/")).await;
            pass(20).await;
            let stale = send(&cache, get("/")).await;
            assert_eq!((stale.status.as_u16(), stale.text()), (200, "one"), "{what}");
            // RFC 9211 §2.3: what the origin has not sent is no status of its.
            let says = match what {
                "500" => "fwd=stale; fwd-status=500; ttl=-10",
                "503" => "fwd=stale; fwd-status=503; ttl=-10",
                "an open breaker" => "fwd=stale; ttl=-10; detail=breaker-open",
                "no answer in time" | "a timeout" => "fwd=stale; ttl=-10; detail=timeout",
                _ => "fwd=stale; ttl=-10; detail=no-answer",
            };
            assert_eq!(stale.said(), says, "{what}");
            assert_eq!(stale.one("age"), "20");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_for_an_origin_that_fails_ends() {
    for (what, failure) in failures() {
        let control = "max-age=10, stale-if-error=60";
        let origin = Origin::new(move |_, nth| if nth == 0 { says(control).body("one") } else { failure() });
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(70).await;
        let failed = attempt(&cache, get("/")).await;
        assert!(failed.is_err() || !failed.unwrap().status.is_success(), "{what}");
    }
}

/// http-cache has it the other way round.
#[tokio::test(start_paused = true)]
async fn what_must_be_validated_never_stands_in() {
    let never = [
        "max-age=10, must-revalidate",
        "max-age=10, proxy-revalidate",
        "s-maxage=10",
        "no-cache",
        "max-age=10, no-cache",
    ];
    for (what, failure) in failures() {
        for control in never {
            for make in [cache, rfc] {
                let control = format!("{control}, stale-if-error=1000, stale-while-revalidate=1000");
                let origin = Origin::new(move |_, nth| if nth == 0 { says(&control).body("one") } else { failure() });
                let cache = make(&origin);
                send(&cache, get("/")).await;
                pass(20).await;
                let failed = attempt(&cache, get("/").with("cache-control", "max-stale, stale-if-error=1000")).await;
                assert!(failed.is_err() || !failed.unwrap().status.is_success(), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_error_of_the_origin_is_its_answer() {
    for code in [400, 404, 429, 501] {
        let origin = Origin::new(move |_, nth| if nth == 0 { says("max-age=10").body("one") } else { status(code) });
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(20).await;
        assert_eq!(send(&cache, get("/")).await.status.as_u16(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_where_nothing_is_stored_comes_out_as_it_went_in() {
    let origin = Origin::says([fails(), status(503).mark(Refusal::new("breaker_open"))]);
    let cache = cache(&origin);
    assert_eq!(attempt(&cache, get("/")).await.unwrap_err(), Broken);
    let refused = open(&cache, get("/")).await.unwrap();
    assert!(refused.extensions().get::<Refusal>().is_some());
}

/// It is said by us to one client, and not by the origin to all.
#[tokio::test(start_paused = true)]
async fn what_one_of_our_layers_has_made_is_never_stored() {
    let made: [fn() -> Reply; 2] = [|| status(403).mark(Refusal::new("tenant_unknown")), || status(403).mark(NoAnswer)];
    for refused in made {
        let origin = Origin::new(move |_, nth| if nth == 0 { refused() } else { ok().body("mine") });
        let policy =
            crate::cache::CachePolicy::new().fresh_for(http::StatusCode::FORBIDDEN, std::time::Duration::from_secs(9));
        let cache = layer().policy(policy).layer(origin);
        send(&cache, get("/")).await;
        assert_eq!(send(&cache, get("/")).await.text(), "mine");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_while_the_origin_was_asked_does_not_stand_in() {
    let rows = [Purge::url(CacheKey::url("http://a.example/").unwrap()), Purge::tag("t"), Purge::everything()];
    for purge in rows {
        let layer = layer();
        let origin = Origin::new(|_, nth| match nth {
            0 => says("max-age=10").with("cache-tag", "t").body("one"),
            _ => status(503).after(5),
        });
        let cache = layer.layer(origin.clone());
        send(&cache, get("/")).await;
        pass(20).await;
        let asking = tokio::spawn(async move { send(&cache, get("/")).await });
        settle().await;
        cache_of(&layer).purge(&purge);
        assert_eq!(asking.await.unwrap().status.as_u16(), 503, "{purge:?}");
    }
}
