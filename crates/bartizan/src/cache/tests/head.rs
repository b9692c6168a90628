//! `HEAD` (RFC 9110 §9.3.2, RFC 9111 §4.3.5).

use super::support::*;
use http::StatusCode;

fn page() -> Reply {
    fresh(10).with("etag", "\"e\"").sized("whole")
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_from_what_a_get_has_stored() {
    let origin = Origin::says([page()]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let head = send(&cache, request("HEAD", "/")).await;
    assert_eq!((head.status, head.text(), head.one("content-length").as_str()), (StatusCode::OK, "", "5"));
    assert_eq!(head.said(), "hit; ttl=10");
}

/// tower-http-cache answers the `GET` with an empty body then.
#[tokio::test(start_paused = true)]
async fn a_get_after_a_head_gets_the_whole() {
    let origin = Origin::new(|head, _| match head.method.as_str() {
        "HEAD" => fresh(10).with("etag", "\"e\"").with("content-length", "5"),
        _ if head.headers.contains_key("if-none-match") => status(304).with("etag", "\"e\""),
        _ => page(),
    });
    let cache = cache(&origin);
    send(&cache, request("HEAD", "/")).await;
    let head = send(&cache, request("HEAD", "/")).await;
    assert_eq!((head.one("content-length").as_str(), head.is_hit()), ("5", true));
    let whole = send(&cache, get("/")).await;
    assert_eq!((whole.status, whole.text()), (StatusCode::OK, "whole"));
    assert_eq!(send(&cache, get("/")).await.text(), "whole");
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_says_the_same_freshens_what_is_stored() {
    let origin = Origin::says([page(), page().with("x-new", "1")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(11).await;
    assert_eq!(send(&cache, request("HEAD", "/")).await.status, StatusCode::OK);
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.one("x-new").as_str(), hit.is_hit()), ("whole", "1", true));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_says_something_else_makes_what_is_stored_useless() {
    for other in [fresh(60).with("etag", "\"f\""), fresh(60).with("etag", "\"e\"").with("content-length", "6")] {
        let origin = Origin::says([page(), other, fresh(60).body("new")]);
        let cache = rfc(&origin);
        send(&cache, get("/")).await;
        send(&cache, request("HEAD", "/").with("cache-control", "no-cache")).await;
        assert_eq!(send(&cache, get("/")).await.text(), "new");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_fails_says_nothing_of_what_is_stored() {
    let origin = Origin::says([page(), status(500)]);
    let cache = rfc(&origin);
    send(&cache, get("/")).await;
    send(&cache, request("HEAD", "/").with("cache-control", "no-cache")).await;
    assert_eq!(send(&cache, get("/")).await.text(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_head_under_a_condition_is_answered_from_what_is_stored() {
    let origin = Origin::says([page()]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let told = send(&cache, request("HEAD", "/").with("if-none-match", "\"e\"")).await;
    assert_eq!(told.status, StatusCode::NOT_MODIFIED);
}

/// RFC 9111 §4.1: what a response varies by may be said for the first time by the answer to a `HEAD`.
#[tokio::test(start_paused = true)]
async fn a_head_may_say_anew_what_a_response_varies_by() {
    let origin = Origin::new(|head, _| {
        let tongue = head.headers.get("x-lang").map_or("none", |tongue| tongue.to_str().unwrap());
        let page = fresh(10).with("etag", "\"e\"");
        if head.method == "HEAD" { page.with("vary", "x-lang") } else { page.body(tongue) }
    });
    let cache = cache(&origin);
    send(&cache, get("/").with("x-lang", "en")).await;
    pass(11).await;
    send(&cache, request("HEAD", "/").with("x-lang", "en")).await;
    assert_eq!(send(&cache, get("/").with("x-lang", "de")).await.text(), "de");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_says_nothing_of_the_content_neither_confirms_nor_denies_it() {
    let origin =
        Origin::new(|head, nth| if head.method == "HEAD" { fresh(10) } else { fresh(10).body(&nth.to_string()) });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(11).await;
    send(&cache, request("HEAD", "/")).await;
    assert_eq!(send(&cache, get("/")).await.text(), "2");
}

/// RFC 9111 §4.3.5 is about each that could have been chosen, and not only the one that would have been.
#[tokio::test(start_paused = true)]
async fn a_head_that_says_something_else_leaves_nothing_that_could_have_been_chosen() {
    let origin = Origin::new(|head, nth| match (head.method.as_str(), nth) {
        ("HEAD", _) => fresh(60).with("vary", "x-lang").with("etag", "\"new\""),
        (_, 0) => fresh(10).with("vary", "x-lang").with("etag", "\"old\"").body("old"),
        // It forgets to say so, and from now on answers all.
        (_, 1) => fresh(60).with("etag", "\"other\"").body("another"),
        _ => fresh(60).with("vary", "x-lang").with("etag", "\"new\"").body("new"),
    });
    let cache = cache(&origin);
    send(&cache, get("/").with("x-lang", "en")).await;
    send(&cache, get("/").with("x-lang", "de")).await;
    assert_eq!(send(&cache, get("/").with("x-lang", "en")).await.text(), "old");
    pass(11).await;
    send(&cache, request("HEAD", "/").with("x-lang", "en")).await;
    assert_eq!(send(&cache, get("/").with("x-lang", "en")).await.text(), "new");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_says_something_else_leaves_no_part_of_what_was() {
    for (name, value) in [("etag", "\"f\""), ("content-length", "11")] {
        let origin = Origin::new(move |head, nth| match (head.method.as_str(), nth) {
            ("HEAD", _) => fresh(60).with(name, value),
            (_, 0) => status(206)
                .with("cache-control", "max-age=60")
                .with("etag", "\"e\"")
                .with("content-range", "bytes 0-3/10")
                .sized("0123"),
            _ => status(206).with("content-range", "bytes 0-3/11").sized("abcd"),
        });
        let cache = cache(&origin);
        let ask = || get("/").with("range", "bytes=0-3");
        send(&cache, ask()).await;
        send(&cache, request("HEAD", "/")).await;
        assert_eq!(send(&cache, ask()).await.text(), "abcd", "{name}");
    }
}

/// The request for the younger one was sent later, so that the head says nothing of it.
#[tokio::test(start_paused = true)]
async fn a_head_that_comes_late_says_nothing_of_what_is_younger() {
    let origin = Origin::new(|head, nth| match (head.method.as_str(), nth) {
        ("HEAD", _) => fresh(60).with("etag", "\"e\"").after(10),
        (_, 0) => fresh(1).with("etag", "\"e\"").body("older"),
        _ => fresh(60).with("etag", "\"f\"").body("younger"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let (asks, head) = (cache.clone(), request("HEAD", "/"));
    let head = tokio::spawn(async move { send(&asks, head).await });
    pass(1).await;
    send(&cache, get("/")).await;
    head.await.unwrap();
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("younger", true));
}

/// What it says to one who shows who it is, it says to him alone.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_for_one_alone_takes_nothing_away_from_others() {
    for (name, value) in [("cookie", "id=7"), ("authorization", "Basic YTpi")] {
        let origin = Origin::new(|head, _| match head.method.as_str() {
            "HEAD" => fresh(60).with("etag", "\"theirs\"").with("content-length", "9"),
            _ if head.headers.contains_key("if-none-match") => status(304).with("etag", "\"e\""),
            _ => page(),
        });
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(11).await;
        send(&cache, request("HEAD", "/").with(name, value)).await;
        assert_eq!(send(&cache, get("/")).await.said(), "fwd=stale; fwd-status=304; ttl=10", "{name}");
    }
}

/// RFC 9110 §8.6: a 204 never says how long it is.
#[tokio::test(start_paused = true)]
async fn a_head_of_what_has_no_content_says_no_length() {
    let origin = Origin::says([status(204).with("cache-control", "max-age=60")]);
    let cache = cache(&origin);
    for method in ["GET", "GET", "HEAD"] {
        let told = send(&cache, request(method, "/")).await;
        assert_eq!((told.status, told.all("content-length")), (StatusCode::NO_CONTENT, vec![]), "{method}");
    }
    assert_eq!(origin.asked(), 1);
}
