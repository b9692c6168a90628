//! What is fresh is the answer, and says how old it is.

use super::support::*;
use crate::cache::{CachePolicy, Event, Forward, Outcome, Statistics};
use http::StatusCode;
use std::sync::{Arc, Mutex};
use tower_layer::Layer;

#[tokio::test(start_paused = true)]
async fn what_is_fresh_is_not_asked_for_again() {
    let origin = Origin::says([fresh(60).with("content-type", "text/plain").body("one")]);
    let cache = cache(&origin);
    let first = send(&cache, get("/")).await;
    assert_eq!((first.text(), first.said().as_str()), ("one", "fwd=uri-miss; stored; ttl=60"));
    pass(10).await;
    let second = send(&cache, get("/")).await;
    assert_eq!((second.text(), second.said().as_str()), ("one", "hit; ttl=50"));
    assert_eq!((second.one("age").as_str(), second.one("content-type").as_str()), ("10", "text/plain"));
    assert_eq!(origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn freshness_ends_in_the_second_that_it_says() {
    let origin = Origin::says([fresh(60).body("one"), fresh(60).body("two")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(59).await;
    assert_eq!(send(&cache, get("/")).await.text(), "one");
    pass(1).await;
    let later = send(&cache, get("/")).await;
    assert_eq!(later.text(), "two");
    assert!(later.said().starts_with("fwd="), "{}", later.said());
}

#[tokio::test(start_paused = true)]
async fn an_age_that_came_along_counts() {
    let origin = Origin::says([fresh(60).with("age", "40").body("one"), fresh(60).body("two")]);
    let cache = cache(&origin);
    assert_eq!(send(&cache, get("/")).await.said(), "fwd=uri-miss; stored; ttl=20");
    pass(10).await;
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.one("age").as_str(), hit.said().as_str()), ("50", "hit; ttl=10"));
    pass(10).await;
    assert_eq!(send(&cache, get("/")).await.text(), "two");
}

/// One such field used to crash http-cache-semantics for every request that came after.
#[tokio::test(start_paused = true)]
async fn an_age_beyond_all_numbers_is_stale_and_breaks_nothing() {
    for age in ["18446744073709551615", "99999999999999999999999999"] {
        let origin = Origin::new(move |_, nth| fresh(60).with("age", age).with("etag", "\"e\"").body(&nth.to_string()));
        let cache = cache(&origin);
        for nth in 0..3 {
            assert_eq!(send(&cache, get("/")).await.text(), nth.to_string());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_lines_are_all_stored() {
    let links = ["</a>; rel=preload", "</b>; rel=preload", "</c>; rel=next"];
    let origin = Origin::says([links.iter().fold(fresh(60), |reply, link| reply.with("link", link)).body("one")]);
    let cache = cache(&origin);
    assert_eq!(send(&cache, get("/")).await.all("link"), links);
    assert_eq!(send(&cache, get("/")).await.all("link"), links);
}

#[tokio::test(start_paused = true)]
async fn the_date_of_the_origin_stays_as_it_was_written() {
    let date = "Sunday, 06-Nov-94 08:49:37 GMT";
    let reply = ok().with("cache-control", "max-age=2000000000").with("date", date).body("one");
    let origin = Origin::says([reply]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.one("date").as_str(), hit.is_hit()), (date, true));
}

#[tokio::test(start_paused = true)]
async fn what_is_for_one_connection_is_not_stored() {
    let reply = fresh(60).with("connection", "x-hop, close").with("x-hop", "1").with("keep-alive", "timeout=5");
    let origin = Origin::says([reply.with("x-all", "2").body("one")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let hit = send(&cache, get("/")).await;
    assert!(hit.is_hit());
    for name in ["connection", "x-hop", "keep-alive"] {
        assert_eq!(hit.one(name), "", "{name}");
    }
    assert_eq!(hit.one("x-all"), "2");
}

#[tokio::test(start_paused = true)]
async fn any_final_status_with_a_lifetime_is_stored() {
    for code in [200, 203, 204, 299, 301, 400, 404, 410, 499, 500, 503, 599] {
        let origin = Origin::new(move |_, _| Reply::body(status(code).with("cache-control", "max-age=60"), "it"));
        let cache = cache(&origin);
        for _ in 0..2 {
            assert_eq!(send(&cache, get("/")).await.status.as_u16(), code);
        }
        assert_eq!(origin.asked(), 1, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_why_it_is_not_stored_says_it_in_cache_status() {
    let rows = [
        (ok().with("cache-control", "no-store"), "no-store"),
        (ok().with("cache-control", "PRIVATE, MAX-AGE=60"), "private"),
        (fresh(60).with("vary", "*"), "vary"),
        (fresh(60).with("set-cookie", "a=b"), "set-cookie"),
        (ok(), "no-freshness"),
        (ok().with("cache-control", "no-cache"), "no-cache"),
        (status(206).with("cache-control", "max-age=60"), "part"),
        (fresh(60).with("connection", "cache-control"), "connection"),
        (fresh(0), "stale"),
    ];
    for (reply, why) in rows {
        let origin = Origin::says([reply.body("one"), ok().body("two")]);
        let cache = cache(&origin);
        assert_eq!(send(&cache, get("/")).await.said(), format!("fwd=uri-miss; detail={why}"));
        assert_eq!(send(&cache, get("/")).await.text(), "two", "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_is_answered_504_where_nothing_is_and_the_origin_is_not_asked() {
    for policy in [CachePolicy::new(), CachePolicy::rfc()] {
        let origin = Origin::says([fresh(60).body("one")]);
        let layer = layer().policy(policy);
        let cache = layer.layer(origin.clone());
        let refused = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
        assert_eq!((refused.status, origin.asked()), (StatusCode::GATEWAY_TIMEOUT, 0));
        assert_eq!(refused.said(), "detail=only-if-cached");
        send(&cache, get("/")).await;
        assert_eq!(send(&cache, get("/").with("cache-control", "only-if-cached")).await.text(), "one");
        pass(60).await;
        let stale = send(&cache, get("/").with("cache-control", "only-if-cached")).await;
        assert_eq!((stale.status, origin.asked()), (StatusCode::GATEWAY_TIMEOUT, 1));
        let Statistics { hits, misses, only_if_cached, .. } = cache_of(&layer).statistics();
        assert_eq!((hits, misses, only_if_cached), (1, 1, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_does_not_reach_the_origin_where_the_cache_is_passed_by() {
    let rows: [fn() -> Ask; 3] = [
        || get("/").with("if-match", "\"e\""),
        || get("/").with("host", "b.example"),
        || get("/").with("transfer-encoding", "chunked"),
    ];
    for row in rows {
        let origin = Origin::says([]);
        let refused = send(&cache(&origin), row().with("cache-control", "only-if-cached")).await;
        assert_eq!((refused.status, origin.asked()), (StatusCode::GATEWAY_TIMEOUT, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_no_store_request_is_not_stored() {
    for make in [cache, rfc] {
        let origin = Origin::says([fresh(60).body("one"), fresh(60).body("two")]);
        let cache = make(&origin);
        let first = send(&cache, get("/").with("cache-control", "no-store")).await;
        assert_eq!((first.text(), first.said().as_str()), ("one", "fwd=uri-miss; detail=request-no-store"));
        assert_eq!(send(&cache, get("/")).await.text(), "two");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_makes_the_origin_work_only_where_the_policy_lets_it() {
    let wishes = ["no-cache", "max-age=0", "min-fresh=100"];
    for wish in wishes {
        let origin = Origin::new(|_, nth| fresh(60).body(&nth.to_string()));
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        assert_eq!(send(&cache, get("/").with("cache-control", wish)).await.text(), "0", "{wish}");

        let origin = Origin::new(|_, nth| fresh(60).body(&nth.to_string()));
        let cache = rfc(&origin);
        send(&cache, get("/")).await;
        let asked = send(&cache, get("/").with("cache-control", wish)).await;
        assert_eq!((asked.text(), asked.said().as_str()), ("1", "fwd=request; stored; ttl=60"), "{wish}");
        assert_eq!(send(&cache, get("/")).await.text(), "1", "{wish}");
    }
}

/// http-cache-semantics hands out another's cookie, and what must be validated, to whoever says `max-stale`.
#[tokio::test(start_paused = true)]
async fn max_stale_draws_nothing_out_that_must_be_validated() {
    for hidden in ["no-cache", "max-age=1, must-revalidate", "s-maxage=1", "max-age=1, proxy-revalidate"] {
        let hidden = move |nth: usize| ok().with("cache-control", hidden).with("etag", "\"e\"").body(&nth.to_string());
        let origin = Origin::new(move |_, nth| hidden(nth).with("set-cookie", "id=7"));
        let cache = rfc(&origin);
        send(&cache, get("/")).await;
        pass(2).await;
        let greedy = send(&cache, get("/").with("cache-control", "max-stale=999999")).await;
        assert_eq!(greedy.text(), "1");
    }
    let origin = Origin::new(|_, nth| fresh(1).with("etag", "\"e\"").body(&nth.to_string()));
    let cache = rfc(&origin);
    send(&cache, get("/")).await;
    pass(5).await;
    let told = send(&cache, get("/").with("cache-control", "max-stale")).await;
    assert_eq!((told.text(), told.said().as_str()), ("0", "hit; ttl=-4"));
}

#[tokio::test(start_paused = true)]
async fn what_other_caches_said_stays_before_what_this_one_says() {
    let origin = Origin::new(|_, _| fresh(60).with("cache-status", "").with("cache-status", "inner; hit").body("one"));
    let cache = cache(&origin);
    for _ in 0..3 {
        let answer = send(&cache, get("/")).await;
        let lines: Vec<_> = answer.all("cache-status").into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!((lines.len(), lines[0].as_str()), (2, "inner; hit"), "{lines:?}");
        answer.said();
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_says_nothing_leaves_no_trace_of_it() {
    let origin = Origin::new(|_, _| fresh(60).body("one"));
    let cache = layer().no_cache_status().layer(origin);
    for _ in 0..2 {
        assert_eq!(send(&cache, get("/")).await.all("cache-status"), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_is_told_and_what_happened_is_counted() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = layer();
    let observed = {
        let events = Arc::clone(&events);
        layer.clone().observe(move |event| events.lock().unwrap().push(*event))
    };
    let origin = Origin::says([fresh(60).body("one"), ok().body("two"), status(201)]);
    let cache = observed.layer(origin);
    send(&cache, get("/")).await;
    send(&cache, get("/")).await;
    send(&cache, get("/no")).await;
    send(&cache, request("PUT", "/")).await;
    let ok = StatusCode::OK;
    let expected = [
        Event::Answered(Outcome::Forwarded(Forward::UriMiss), ok),
        Event::Stored(3),
        Event::Answered(Outcome::Hit, ok),
        Event::Declined("no-freshness"),
        Event::Answered(Outcome::Forwarded(Forward::UriMiss), ok),
        Event::Invalidated(1),
        Event::Answered(Outcome::Forwarded(Forward::Method), StatusCode::CREATED),
    ];
    assert_eq!(*events.lock().unwrap(), expected);
    let Statistics { hits, misses, bypassed, stored, purged, entries, .. } = cache_of(&layer).statistics();
    assert_eq!((hits, misses, bypassed, stored, purged, entries), (1, 2, 1, 1, 1, 0));
}

/// RFC 9111 §5.2.
#[tokio::test(start_paused = true)]
async fn directives_pass_in_both_directions_whether_they_are_known_or_not() {
    let said = "max-age=60, no-transform, x-unknown=\"a, b\"";
    let origin = Origin::says([ok().with("cache-control", said).with("cdn-cache-control", "max-age=50").body("one")]);
    let cache = cache(&origin);
    for is_hit in [false, true] {
        let answer = send(&cache, get("/").with("cache-control", "max-stale=5, x-mine").with("pragma", "x")).await;
        assert_eq!((answer.is_hit(), answer.one("cache-control").as_str()), (is_hit, said));
        assert_eq!(answer.one("cdn-cache-control"), "max-age=50");
    }
    assert_eq!(origin.was_told("cache-control"), ["max-stale=5, x-mine"]);
    assert_eq!(origin.was_told("pragma"), ["x"]);
}
