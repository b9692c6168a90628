//! What a client says that it has already (RFC 9110 §13, RFC 9111 §4.3.2).

use super::support::*;
use http::StatusCode;

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NOT_MODIFIED: StatusCode = StatusCode::NOT_MODIFIED;

fn page() -> Reply {
    fresh(60).with("etag", "\"e\"").with("last-modified", OLD).with("vary", "x-kind").with("x-else", "1").body("one")
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_answered_from_what_is_stored() {
    let origin = Origin::says([page()]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    for (name, value) in [
        ("if-none-match", "\"e\""),
        ("if-none-match", "\"x\", W/\"e\""),
        ("if-none-match", "*"),
        ("if-modified-since", OLD),
        ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"),
        ("if-modified-since", "Sun Nov  6 08:49:38 1994"),
    ] {
        let told = send(&cache, get("/").with(name, value)).await;
        assert_eq!((told.status, told.text()), (NOT_MODIFIED, ""), "{name}: {value}");
        assert_eq!((told.one("etag").as_str(), told.one("vary").as_str()), ("\"e\"", "x-kind"));
        assert_eq!((told.one("cache-control").as_str(), told.one("x-else").as_str()), ("max-age=60", ""));
        assert!(told.headers.contains_key("date") && told.headers.contains_key("age"));
        assert_eq!(told.said(), "hit; ttl=60");
    }
    for (name, value) in [
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("if-modified-since", "yesterday"),
    ] {
        assert_eq!(send(&cache, get("/").with(name, value)).await.text(), "one", "{name}: {value}");
    }
    let both = get("/").with("if-none-match", "\"x\"").with("if-modified-since", OLD);
    assert_eq!(send(&cache, both).await.text(), "one");
    assert_eq!(origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_miss_asks_for_the_whole_and_answers_the_condition_from_what_came() {
    let origin = Origin::says([page()]);
    let cache = cache(&origin);
    let told = send(&cache, get("/").with("if-none-match", "\"e\"").with("if-modified-since", OLD)).await;
    assert_eq!((told.status, told.said().as_str()), (NOT_MODIFIED, "fwd=uri-miss; fwd-status=200; stored; ttl=60"));
    assert_eq!(origin.was_told("if-none-match"), [""; 0]);
    assert_eq!(origin.was_told("if-modified-since"), [""; 0]);
    settle().await;
    assert_eq!(send(&cache, get("/")).await.text(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_on_a_miss_gets_the_whole() {
    let origin = Origin::says([page()]);
    let cache = cache(&origin);
    assert_eq!(send(&cache, get("/").with("if-none-match", "\"x\"")).await.text(), "one");
    assert!(send(&cache, get("/")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_could_be_stored_a_condition_goes_to_the_origin() {
    let origin = Origin::says([ok().with("cache-control", "private").body("one"), status(304).with("etag", "\"e\"")]);
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let told = send(&cache, get("/").with("if-none-match", "\"e\"")).await;
    assert_eq!((told.status, origin.was_told("if-none-match")), (NOT_MODIFIED, vec!["\"e\"".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn conditions_that_only_the_origin_can_judge_go_there() {
    for name in ["if-match", "if-unmodified-since"] {
        let origin = Origin::says([page(), status(412)]);
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        let told = send(&cache, get("/").with(name, "\"x\"")).await;
        assert_eq!((told.status.as_u16(), told.said().as_str()), (412, "fwd=bypass"));
        assert!(send(&cache, get("/")).await.is_hit(), "a 412 takes nothing away");
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_means_nothing_where_the_answer_is_no_success() {
    let origin = Origin::says([status(404).with("cache-control", "max-age=60").with("etag", "\"e\"")]);
    let cache = cache(&origin);
    for _ in 0..2 {
        assert_eq!(send(&cache, get("/").with("if-none-match", "\"e\"")).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(start_paused = true)]
async fn the_condition_of_a_client_is_answered_after_a_validation() {
    for (has, gets) in [("\"e\"", 304), ("\"x\"", 200)] {
        let origin = Origin::says([fresh(1).with("etag", "\"e\"").body("one"), status(304).with("etag", "\"e\"")]);
        let cache = cache(&origin);
        send(&cache, get("/")).await;
        pass(2).await;
        let told = send(&cache, get("/").with("if-none-match", has)).await;
        assert_eq!((told.status.as_u16(), origin.was_told("if-none-match")), (gets, vec!["\"e\"".to_owned()]));
        assert_eq!(told.said(), "fwd=stale; fwd-status=304; ttl=1");
    }
}

/// The condition of a request that changes something is a precondition, and the origin's to judge.
#[tokio::test(start_paused = true)]
async fn a_post_with_a_condition_gets_its_own_answer() {
    for condition in ["*", "\"e\""] {
        let reply = fresh(60).with("content-location", "/").with("etag", "\"e\"").body("made");
        let origin = Origin::says([reply]);
        let cache = rfc(&origin);
        let told = send(&cache, request("POST", "/").with("if-none-match", condition)).await;
        assert_eq!((told.status, told.text()), (StatusCode::OK, "made"), "{condition}");
        assert_eq!(origin.was_told("if-none-match"), [condition]);
        assert_eq!(send(&cache, get("/")).await.text(), "made");
    }
}

/// No client who shows who it is would otherwise ever be told that it has the answer already.
#[tokio::test(start_paused = true)]
async fn a_condition_of_an_authorised_request_goes_to_the_origin() {
    let origin = Origin::new(|head, _| match head.headers.get("if-none-match") {
        Some(tag) if tag == "\"e\"" => status(304).with("etag", "\"e\""),
        _ => page(),
    });
    let cache = cache(&origin);
    for _ in 0..2 {
        let told = send(&cache, get("/").with("authorization", "Basic YTpi").with("if-none-match", "\"e\"")).await;
        assert_eq!((told.status, told.text()), (NOT_MODIFIED, ""));
        assert_eq!(origin.was_told("if-none-match"), ["\"e\""]);
    }
}
