//! The origin says whether what is stored still holds (RFC 9111 §4.3).

use super::support::*;
use crate::shared::wall_now;
use http::StatusCode;
use std::time::Duration;

fn page(seconds: u32) -> Reply {
    fresh(seconds)
        .with("etag", "\"e\"")
        .with("x-old", "1")
        .with("link", "a")
        .with("content-type", "text/html")
        .body("one")
}

fn same() -> Reply {
    status(304).with("etag", "\"e\"")
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_condition_gets_the_whole_after_a_304() {
    let origin = Origin::says([page(1), same().with("cache-control", "max-age=60")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let again = send(&cache, get("/")).await;
    assert_eq!((again.status, again.text()), (StatusCode::OK, "one"));
    assert_eq!(again.said(), "fwd=stale; fwd-status=304; ttl=60");
    assert_eq!(origin.was_told("if-none-match"), ["\"e\""]);
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.said().as_str(), hit.one("age").as_str()), ("one", "hit; ttl=60", "0"));
}

#[tokio::test(start_paused = true)]
async fn a_304_replaces_the_fields_that_it_has_and_adds_those_that_are_new() {
    let told = same().with("link", "b").with("link", "c").with("x-new", "1").with("cache-control", "max-age=60");
    let told = told.with("content-type", "text/plain").with("content-length", "0").with("age", "7");
    let origin = Origin::says([page(1), told]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    for age in ["7", "7"] {
        let answer = send(&cache, get("/")).await;
        assert_eq!(answer.all("link"), ["b", "c"]);
        assert_eq!((answer.one("x-new").as_str(), answer.one("x-old").as_str()), ("1", "1"));
        assert_eq!((answer.one("content-type").as_str(), answer.text()), ("text/html", "one"));
        assert_eq!(answer.one("age"), age);
        assert_ne!(answer.one("content-length"), "0");
    }
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_answer_takes_the_place_of_the_old_one() {
    let origin = Origin::says([page(1), fresh(60).with("etag", "\"f\"").body("two")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let new = send(&cache, get("/")).await;
    assert_eq!((new.text(), new.said().as_str()), ("two", "fwd=stale; stored; ttl=60"));
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.one("x-old").as_str()), ("two", ""));
}

#[tokio::test(start_paused = true)]
async fn without_an_entity_tag_the_date_of_modification_goes_back_as_it_came() {
    let date = "Sunday, 06-Nov-94 08:49:37 GMT";
    let origin = Origin::says([fresh(1).with("last-modified", date).body("one"), status(304)]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    assert_eq!(send(&cache, get("/")).await.text(), "one");
    assert_eq!(origin.was_told("if-modified-since"), [date]);
}

#[tokio::test(start_paused = true)]
async fn no_cache_is_stored_and_validated_each_time() {
    let origin = Origin::new(|head, _| match head.headers.contains_key("if-none-match") {
        true => same(),
        false => ok().with("cache-control", "no-cache").with("etag", "\"e\"").body("one"),
    });
    let cache = cache(&origin);
    for nth in 1..4 {
        assert_eq!(send(&cache, get("/")).await.text(), "one");
        assert_eq!(origin.asked(), nth);
    }
    assert_eq!(origin.was_told("if-none-match"), ["\"e\""]);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_on_a_304_is_for_the_one_who_asked() {
    let origin = Origin::says([page(1), same().with("set-cookie", "id=7"), page(60)]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let first = send(&cache, get("/")).await;
    assert_eq!((first.text(), first.one("set-cookie").as_str()), ("one", "id=7"));
    assert_eq!(send(&cache, get("/")).await.one("set-cookie"), "");
}

#[tokio::test(start_paused = true)]
async fn a_304_that_says_no_store_or_private_ends_the_storing() {
    for told in ["no-store", "private"] {
        let origin = Origin::says([page(1), same().with("cache-control", told), ok().body("two")]);
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(2).await;
        assert_eq!(send(&cache, get("/")).await.text(), "one");
        assert_eq!(send(&cache, get("/")).await.text(), "two", "{told}");
        assert_eq!(origin.was_told("if-none-match"), [""; 0], "{told}");
    }
}

/// What came of the client's own request says nothing against what is stored for others.
#[tokio::test(start_paused = true)]
async fn a_validation_for_one_who_shows_who_it_is_takes_nothing_away_from_others() {
    for (name, value) in [("authorization", "Basic YTpi"), ("cookie", "id=7")] {
        let origin = Origin::new(|head, _| match head.headers.contains_key("if-none-match") {
            true => same().with("cache-control", "max-age=1"),
            false => page(1),
        });
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(2).await;
        assert_eq!(send(&cache, get("/").with(name, value)).await.text(), "one");
        let next = send(&cache, get("/")).await;
        assert_eq!(next.said(), "fwd=stale; fwd-status=304; ttl=1", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_gives_another_variant_to_be_used_is_heeded() {
    let origin = Origin::new(|head, nth| match (nth, head.headers.get("accept-language").unwrap().to_str().unwrap()) {
        (0 | 1, tongue) => {
            let tag = format!("\"{tongue}\"");
            fresh(1).with("vary", "accept-language").with("etag", &tag).body(tongue)
        }
        _ => status(304).with("etag", "\"fr\"").with("cache-control", "max-age=60"),
    });
    let cache = cache(&origin);
    let ask = |tongue| get("/").with("accept-language", tongue);
    send(&cache, ask("en")).await;
    send(&cache, ask("fr")).await;
    pass(2).await;
    // What is stored for English is stale; the origin has only French now.
    let told = send(&cache, ask("en")).await;
    assert_eq!((told.status, told.text()), (StatusCode::OK, "fr"));
    assert_eq!(send(&cache, ask("fr")).await.text(), "fr");
    assert_eq!(origin.asked(), 3);
}

/// A 304 that nobody has asked for is no answer to one who has said nothing of what it has.
#[tokio::test(start_paused = true)]
async fn a_304_about_nothing_that_is_stored_is_not_passed_on_to_one_without_a_condition() {
    let origin = Origin::says([page(1), status(304).with("etag", "\"other\""), ok().body("two")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let told = send(&cache, get("/")).await;
    assert_eq!((told.status, told.text()), (StatusCode::OK, "one"), "it says that what we asked about has not changed");
    assert_eq!(told.said(), "fwd=stale; fwd-status=304; ttl=-1");
    assert_eq!(send(&cache, get("/")).await.text(), "two", "it is not asked about again");
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_without_vary_has_replaced_is_not_asked_about_for_ever() {
    let origin = Origin::says([
        fresh(1).with("vary", "x-kind").with("etag", "\"e\"").body("one"),
        fresh(60).body("two"),
        fresh(60).body("three"),
    ]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    assert_eq!(send(&cache, get("/")).await.text(), "two");
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("two", true));
}

#[tokio::test(start_paused = true)]
async fn the_fields_of_a_request_reach_the_origin_with_all_their_lines() {
    let origin = Origin::says([page(1), same()]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    send(&cache, get("/").with("x-multi", "1").with("x-multi", "2")).await;
    assert_eq!(origin.was_told("x-multi"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_place_of_a_validation_is_not_stored_over_the_answer() {
    let origin = Origin::says([page(1), status(429), same().with("cache-control", "max-age=60")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    assert_eq!(send(&cache, get("/")).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(&cache, get("/")).await.text(), "one");
}

/// nginx keeps the old selection then, and gives one what is another's.
#[tokio::test(start_paused = true)]
async fn a_304_that_says_what_it_varies_by_tells_requests_apart() {
    let origin = Origin::new(|head, nth| match nth {
        0 => fresh(1).with("etag", "\"e\"").body("for a"),
        1 => same().with("cache-control", "max-age=60").with("vary", "x-user"),
        _ => fresh(60).with("vary", "x-user").body(&format!("for {}", head.headers["x-user"].to_str().unwrap())),
    });
    let cache = cache(&origin);
    for user in ["a", "a", "b"] {
        pass(2).await;
        assert_eq!(send(&cache, get("/").with("x-user", user)).await.text(), format!("for {user}"));
    }
    assert!(send(&cache, get("/").with("x-user", "a")).await.is_hit());
}

/// nginx weakens the tag of what it compresses, and not that of a 304.
#[tokio::test(start_paused = true)]
async fn a_304_whose_tag_is_strong_where_ours_is_weak_is_an_answer_and_updates_nothing() {
    let origin = Origin::new(|_, nth| match nth {
        0 => fresh(1).with("etag", "W/\"e\"").body("one"),
        _ => same().with("cache-control", "max-age=60"),
    });
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    for asked in [2, 3] {
        pass(2).await;
        assert_eq!(send(&cache, get("/")).await.text(), "one");
        assert_eq!((origin.asked(), origin.was_told("if-none-match")), (asked, vec!["W/\"e\"".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_without_a_date_is_of_when_it_came() {
    let date = httpdate::fmt_http_date(wall_now() - Duration::from_secs(1000));
    let page = fresh(1500).with("date", &date).with("etag", "\"e\"").body("one");
    let origin = Origin::says([page, status(304).with("etag", "\"e\"")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(600).await;
    let told = send(&cache, get("/")).await;
    assert_eq!((told.text(), told.said()), ("one", "fwd=stale; fwd-status=304; ttl=1500".to_owned()));
    let hit = send(&cache, get("/")).await;
    assert_eq!((hit.text(), hit.said(), origin.asked()), ("one", "hit; ttl=1500".to_owned(), 2));
}

/// RFC 9110 §8.8.2: a date names no representation. An origin compares it with what *this* client would get.
#[tokio::test(start_paused = true)]
async fn the_date_or_weak_tag_of_one_variant_is_no_condition_for_another() {
    let (ann, bob) = ("Sun, 31 Dec 2023 00:00:00 GMT", "Sat, 30 Dec 2023 00:00:00 GMT");
    for validator in ["last-modified", "etag"] {
        for says_it_again in [true, false] {
            let origin = Origin::new(move |head, _| {
                let user = head.headers["cookie"].to_str().unwrap();
                let value = match validator {
                    "etag" => "W/\"same\"",
                    _ if user == "ann" => ann,
                    _ => bob,
                };
                let is_asked =
                    ["if-modified-since", "if-none-match"].iter().any(|name| head.headers.contains_key(*name));
                let reply = if is_asked { status(304) } else { ok().body(&format!("for {user}")) };
                let reply = reply.with("cache-control", "s-maxage=60").with("vary", "cookie");
                if is_asked && !says_it_again { reply } else { reply.with(validator, value) }
            });
            let cache = cache(&origin);
            for user in ["ann", "bob", "ann", "bob"] {
                let told = send(&cache, get("/").with("cookie", user)).await;
                assert_eq!((told.status, told.text()), (StatusCode::OK, &*format!("for {user}")), "{validator}");
            }
            assert_eq!(origin.asked(), 2);
        }
    }
}

/// What has no validator cannot be what has not changed.
#[tokio::test(start_paused = true)]
async fn a_304_that_names_nothing_does_not_freshen_what_was_not_asked_about() {
    let origin = Origin::new(|head, _| {
        let kind = head.headers["x-kind"].to_str().unwrap();
        let page = fresh(1).with("vary", "x-kind").body(&format!("for {kind}"));
        match (head.headers.contains_key("if-none-match"), kind) {
            (true, _) => status(304).with("cache-control", "max-age=60"),
            (false, "b") => page.with("etag", "\"b\""),
            (false, _) => page,
        }
    });
    let cache = cache(&origin);
    let ask = |kind| get("/").with("x-kind", kind);
    for kind in ["a", "b"] {
        send(&cache, ask(kind)).await;
    }
    pass(2).await;
    assert_eq!(send(&cache, ask("a")).await.status, StatusCode::BAD_GATEWAY, "nobody knows what it says");
    assert_eq!(origin.was_told("if-none-match"), ["\"b\""]);
    for kind in ["a", "c"] {
        assert_eq!(send(&cache, ask(kind)).await.text(), format!("for {kind}"));
        assert_eq!(origin.was_told("if-none-match"), [""; 0], "it is not asked about others again");
    }
    assert_eq!(send(&cache, ask("b")).await.text(), "for b", "what was asked about alone can be meant alone");
    assert_eq!(origin.was_told("if-none-match"), ["\"b\""]);
}

#[tokio::test(start_paused = true)]
async fn an_origin_whose_304_names_nothing_is_asked_about_one_alone_from_then_on() {
    let origin = Origin::new(|head, _| {
        let kind = head.headers["x-kind"].to_str().unwrap();
        match head.headers.contains_key("if-none-match") {
            true => status(304).with("cache-control", "max-age=60"),
            false => fresh(1).with("vary", "x-kind").with("etag", &format!("\"{kind}\"")).body(kind),
        }
    });
    let cache = cache(&origin);
    let ask = |kind| get("/").with("x-kind", kind);
    // The second kind is a miss, before the origin has shown how it is.
    send(&cache, ask("a")).await;
    pass(2).await;
    assert_eq!(send(&cache, ask("a")).await.said(), "fwd=stale; fwd-status=304; ttl=60");
    assert_eq!(send(&cache, ask("b")).await.text(), "b");
    assert_eq!(origin.was_told("if-none-match"), [""; 0]);
    pass(2).await;
    assert_eq!(send(&cache, ask("b")).await.said(), "fwd=stale; fwd-status=304; ttl=60");
    assert_eq!(origin.was_told("if-none-match"), ["\"b\""]);
}

/// Of what was asked about together the origin may mean either. What the request selects is its own in any case.
#[tokio::test(start_paused = true)]
async fn a_304_that_may_be_about_either_is_answered_with_what_is_selected_and_freshens_neither() {
    let origin = Origin::new(|head, nth| match nth {
        0 | 1 => {
            let kind = head.headers["x-kind"].to_str().unwrap();
            fresh(1).with("vary", "x-kind").with("etag", &format!("\"{kind}\"")).body(kind)
        }
        _ => status(304).with("cache-control", "max-age=60"),
    });
    let cache = cache(&origin);
    let ask = |kind| get("/").with("x-kind", kind);
    for kind in ["a", "b"] {
        send(&cache, ask(kind)).await;
    }
    pass(2).await;
    for (asked, ttl) in [("\"a\", \"b\"", -1), ("\"a\"", 60)] {
        let told = send(&cache, ask("a")).await;
        assert_eq!((told.text(), told.said()), ("a", format!("fwd=stale; fwd-status=304; ttl={ttl}")));
        assert_eq!(origin.was_told("if-none-match"), [asked]);
    }
}

/// RFC 9111 §4.3.4 is about all that the request could have been answered with.
#[tokio::test(start_paused = true)]
async fn a_304_freshens_all_that_the_request_could_have_been_answered_with() {
    let origin = Origin::new(|head, _| {
        let kind = head.headers["x-kind"].to_str().unwrap();
        let page = fresh(1).with("etag", "\"e\"").body("same");
        match kind {
            "a" if head.headers.contains_key("if-none-match") => same().with("cache-control", "max-age=60"),
            "a" => page.with("vary", "x-kind"),
            _ => page,
        }
    });
    let cache = cache(&origin);
    let ask = |kind| get("/").with("x-kind", kind);
    for kind in ["a", "b"] {
        send(&cache, ask(kind)).await;
    }
    pass(2).await;
    assert_eq!(send(&cache, ask("a")).await.said(), "fwd=stale; fwd-status=304; ttl=60");
    for kind in ["a", "c"] {
        assert!(send(&cache, ask(kind)).await.is_hit(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_with_a_cookie_freshens_what_is_stored_and_the_cookie_is_for_one_alone() {
    let told = || same().with("cache-control", "max-age=60").with("set-cookie", "id=7").with("set-cookie", "a=b");
    for (condition, status) in [(None, StatusCode::OK), (Some("\"e\""), StatusCode::NOT_MODIFIED)] {
        let origin = Origin::says([page(1), told()]);
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(2).await;
        let ask = condition.into_iter().fold(get("/"), |ask, tag| ask.with("if-none-match", tag));
        let first = send(&cache, ask).await;
        assert_eq!((first.status, first.all("set-cookie")), (status, vec!["id=7".to_owned(), "a=b".to_owned()]));
        let second = send(&cache, get("/")).await;
        assert_eq!((second.is_hit(), second.text(), second.one("set-cookie")), (true, "one", String::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_on_a_304_that_is_for_all_is_stored() {
    let told = same().with("cache-control", "public, max-age=60").with("set-cookie", "id=7");
    let origin = Origin::says([page(1), told]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    for _ in 0..2 {
        assert_eq!(send(&cache, get("/")).await.one("set-cookie"), "id=7");
    }
}

/// It is used while it is fresh; of a stale one the origin would be asked whether *another* has changed.
#[tokio::test(start_paused = true)]
async fn what_a_client_would_only_like_as_well_is_asked_about_by_a_strong_tag_and_nothing_else() {
    for (name, value, asked) in
        [("last-modified", "Sun, 31 Dec 2023 00:00:00 GMT", vec![]), ("etag", "\"e\"", vec!["\"e\""])]
    {
        let page = move |text: &str| {
            let page = fresh(1).with("vary", "accept-language").with("content-language", text);
            page.with(name, value).body(text)
        };
        let origin = Origin::new(move |_, nth| page(if nth == 0 { "de" } else { "en" }));
        let cache = rfc(&origin);
        send(&cache, get("/").with("accept-language", "de")).await;
        let ask = || get("/").with("accept-language", "de, en");
        assert!(send(&cache, ask()).await.is_hit());
        pass(2).await;
        assert_eq!(send(&cache, ask()).await.text(), "en");
        assert_eq!(origin.was_told("if-none-match"), asked);
        assert_eq!(origin.was_told("if-modified-since"), [""; 0]);
    }
}
