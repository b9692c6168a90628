//! What a request that may have changed something takes away (RFC 9111 §4.4, RFC 9875 §3).

use super::support::*;
use crate::cache::CacheLayer;
use http::Method;
use tower_layer::Layer;

/// Counts what it is asked to `GET`; answers anything else with the reply.
fn changing(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Origin {
    Origin::new(move |head, nth| match head.method {
        Method::GET => fresh(60).with("cache-groups", "\"g\"").body(&nth.to_string()),
        _ => reply(),
    })
}

async fn is_stored(cache: &Caching, target: &str) -> bool {
    send(cache, get(target).with("cache-control", "only-if-cached")).await.status.is_success()
}

#[tokio::test(start_paused = true)]
async fn unsafe_methods_and_those_that_nobody_knows_invalidate() {
    for (method, invalidates) in [
        ("POST", true),
        ("PUT", true),
        ("DELETE", true),
        ("PATCH", true),
        ("M-SEARCH", true),
        ("post", true),
        ("OPTIONS", false),
        ("TRACE", false),
        ("QUERY", false),
        ("PROPFIND", false),
    ] {
        let origin = changing(ok);
        let cache = cache(&origin);
        send(&cache, get("/a")).await;
        send(&cache, get("/b")).await;
        let told = send(&cache, request(method, "/a")).await;
        assert_eq!(told.said(), if method == "QUERY" { "fwd=bypass; detail=not-read" } else { "fwd=method" });
        assert_eq!(is_stored(&cache, "/a").await, !invalidates, "{method}");
        assert!(is_stored(&cache, "/b").await, "{method}");
    }
}

/// The service has done what it was asked to, whether or not anybody hears of it.
#[tokio::test(start_paused = true)]
async fn what_a_client_asked_for_that_has_left_since_invalidates_too() {
    for (code, invalidates) in [(204, true), (405, false)] {
        let origin = changing(move || status(code).after(2));
        let cache = cache(&origin);
        send(&cache, get("/a")).await;
        let leaves = tokio::time::timeout(std::time::Duration::from_secs(1), send(&cache, request("POST", "/a")));
        assert!(leaves.await.is_err());
        pass(2).await;
        assert_eq!(is_stored(&cache, "/a").await, !invalidates, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_invalidates_nothing() {
    for (code, invalidates) in
        [(200, true), (201, true), (204, true), (303, true), (400, false), (409, false), (500, false)]
    {
        let origin = changing(move || status(code));
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        send(&cache, request("PUT", "/")).await;
        assert_eq!(is_stored(&cache, "/").await, !invalidates, "{code}");
    }
    let origin = changing(fails);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    attempt(&cache, request("PUT", "/")).await.unwrap_err();
    assert!(is_stored(&cache, "/").await);
}

#[tokio::test(start_paused = true)]
async fn the_answer_tells_what_else_has_changed_at_its_own_origin() {
    for name in ["location", "content-location"] {
        for (value, gone) in [
            ("/made/1", true),
            ("http://a.example/made/1", true),
            ("http://A.example:80/made/1#top", true),
            ("1", true),
            ("http://b.example/made/1", false),
            ("http://a.example:8080/made/1", false),
            ("https://a.example/made/1", false),
            ("//b.example/made/1", false),
        ] {
            let origin = changing(move || status(201).with(name, value));
            let cache = cache(&origin);
            send(&cache, get("/made/1")).await;
            send(&cache, request("POST", "/made/")).await;
            assert_eq!(is_stored(&cache, "/made/1").await, !gone, "{name}: {value}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_variants_and_both_schemes_go() {
    let origin = changing(ok);
    let cache = cache(&origin);
    let ask = |scheme: &str, proto: &str| get(&format!("{scheme}://a.example/")).with("x-forwarded-proto", proto);
    for (scheme, proto) in [("http", "http"), ("https", "https"), ("http", "https")] {
        send(&cache, ask(scheme, proto)).await;
    }
    send(&cache, request("PUT", "/")).await;
    for (scheme, proto) in [("http", "http"), ("https", "https"), ("http", "https")] {
        assert!(!send(&cache, ask(scheme, proto)).await.is_hit(), "{scheme} {proto}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_it_was_invalidated_is_not_stored() {
    for (head_after, body_after) in [(10, 0), (0, 10)] {
        let origin = Origin::new(move |head, nth| match (&head.method, nth) {
            (&Method::GET, 0) => fresh(60).after(head_after).body("o").pause(body_after).body("ld"),
            (&Method::GET, _) => fresh(60).body("new"),
            _ => ok(),
        });
        let cache = cache(&origin);
        let first = tokio::spawn({
            let cache = cache.clone();
            async move { send(&cache, get("/")).await }
        });
        settle().await;
        send(&cache, request("PUT", "/")).await;
        // Who comes now knows of the change.
        assert_eq!(send(&cache, get("/")).await.text(), "new");
        assert_eq!(first.await.unwrap().text(), "old");
        assert_eq!(send(&cache, get("/")).await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_has_changed_goes_within_its_origin() {
    let origin = changing(|| ok().with("cache-group-invalidation", "\"g\", \"h\""));
    let cache = cache(&origin);
    send(&cache, get("/a")).await;
    let other =
        || http::Request::get("http://b.example/a").body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
    send(&cache, other()).await;
    send(&cache, request("POST", "/other")).await;
    assert!(!is_stored(&cache, "/a").await);
    assert!(send(&cache, other()).await.is_hit());
    assert_eq!(send(&cache, request("POST", "/other")).await.one("cache-group-invalidation"), "\"g\", \"h\"");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_not_invalidated_by_what_is_safe_or_fails() {
    let origin = Origin::new(|head, _| match head.uri.path() {
        "/a" => fresh(60).with("cache-groups", "\"g\"").body("a"),
        "/failing" => status(500).with("cache-group-invalidation", "\"g\""),
        _ => ok().with("cache-group-invalidation", "\"g\""),
    });
    let cache = cache(&origin);
    send(&cache, get("/a")).await;
    send(&cache, get("/b")).await;
    send(&cache, request("POST", "/failing")).await;
    assert!(is_stored(&cache, "/a").await);
}

// ===== what answers a `POST` =====

fn made() -> Reply {
    fresh(60).with("content-location", "/").body("made")
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_post_serves_a_later_get_only_where_the_policy_lets_it() {
    let origin = Origin::new(|head, _| if head.method == Method::POST { made() } else { fresh(60).body("got") });
    let safe = cache(&origin);
    send(&safe, request("POST", "/")).await;
    assert_eq!(send(&safe, get("/")).await.text(), "got");

    let all = rfc(&origin);
    send(&all, request("POST", "/")).await;
    let hit = send(&all, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("made", true));
}

/// http-cache-tower-server answers the second from its store.
#[tokio::test(start_paused = true)]
async fn every_post_reaches_the_origin() {
    for make in [cache, rfc] {
        let origin = Origin::new(|_, _| made());
        let cache = make(&origin);
        for nth in 1..4 {
            assert_eq!(send(&cache, request("POST", "/")).await.text(), "made");
            assert_eq!(origin.asked(), nth);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_post_with_parameters_that_are_not_in_the_key_is_not_stored_for_others() {
    let origin = Origin::new(|head, _| {
        let target = head.uri.to_string();
        fresh(60).with("content-location", &target).body(&target)
    });
    let layer: CacheLayer =
        layer().policy(crate::cache::CachePolicy::rfc()).keys(crate::cache::KeyRules::new().without_params(["utm_*"]));
    let cache = layer.layer(origin);
    send(&cache, request("POST", "/?utm_x=evil")).await;
    assert!(!send(&cache, get("/")).await.text().contains("evil"));
}
