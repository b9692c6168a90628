use super::super::support::{DATE, head, lines, values, with};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn answer(request: &HeaderMap, stored: &HeaderMap) -> bool {
    is_not_modified(&Method::GET, request, StatusCode::OK, stored, || SystemTime::UNIX_EPOCH)
}

#[test]
fn if_none_match_is_answered_from_the_store() {
    let stored = head([("etag", r#"W/"a,b""#)]);
    assert!(answer(&head([("if-none-match", r#""x", "a,b""#)]), &stored));
    assert!(answer(&head([("if-none-match", r#""x""#), ("if-none-match", r#"W/"a,b""#)]), &stored));
    assert!(answer(&head([("if-none-match", "*")]), &head([])));
    assert!(!answer(&head([("if-none-match", r#""x""#)]), &stored));
    assert!(!answer(&head([]), &stored));
}

#[test]
fn if_none_match_wins_over_if_modified_since() {
    let stored = head([("etag", r#""a""#), ("last-modified", DATE)]);
    assert!(!answer(&head([("if-none-match", r#""x""#), ("if-modified-since", LATER)]), &stored));
    assert!(answer(&head([("if-none-match", r#""a""#), ("if-modified-since", EARLIER)]), &stored));
    assert!(!answer(&head([("if-none-match", "nonsense"), ("if-modified-since", LATER)]), &stored));
}

#[test]
fn if_modified_since_is_read_in_all_three_forms() {
    let stored = head([("last-modified", DATE)]);
    for same in [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", LATER] {
        assert!(answer(&head([("if-modified-since", same)]), &stored), "{same}");
    }
    assert!(!answer(&head([("if-modified-since", EARLIER)]), &stored));
}

#[test]
fn if_modified_since_is_compared_with_date_if_nothing_was_said_of_the_last_change() {
    let since = head([("if-modified-since", DATE)]);
    assert!(answer(&since, &head([("date", DATE)])));
    assert!(!answer(&since, &head([("date", LATER)])));
    assert!(!answer(&since, &head([("date", EARLIER), ("last-modified", LATER)])));
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_778);
    assert!(!is_not_modified(&Method::GET, &since, StatusCode::OK, &head([]), || received));
}

#[test]
fn a_date_that_is_none_and_two_dates_are_ignored() {
    let stored = head([("last-modified", EARLIER)]);
    for ignored in ["", "0", "yesterday", "Sun, 06 Nov 1994 08:49:37 +0000"] {
        assert!(!answer(&head([("if-modified-since", ignored)]), &stored), "{ignored}");
    }
    assert!(!answer(&head([("if-modified-since", DATE), ("if-modified-since", DATE)]), &stored));
}

#[test]
fn conditions_count_for_get_and_head_of_what_succeeded() {
    let (asked, stored) = (head([("if-none-match", "*")]), head([]));
    let answer = |method, status| is_not_modified(&method, &asked, status, &stored, || SystemTime::UNIX_EPOCH);
    assert!(answer(Method::HEAD, StatusCode::OK));
    assert!(answer(Method::GET, StatusCode::NON_AUTHORITATIVE_INFORMATION));
    assert!(!answer(Method::POST, StatusCode::OK));
    assert!(!answer(Method::GET, StatusCode::NOT_FOUND));
    assert!(!answer(Method::GET, StatusCode::MOVED_PERMANENTLY));
}

#[test]
fn a_304_says_what_other_caches_need_and_no_more() {
    let said = [
        ("cache-control", "max-age=1"),
        ("cache-control", "public"),
        ("content-location", "/a"),
        ("date", DATE),
        ("etag", r#""a""#),
        ("expires", LATER),
        ("vary", "a"),
        ("vary", "b"),
        ("cdn-cache-control", "max-age=2"),
    ];
    let rest =
        [("last-modified", DATE), ("content-type", "a/b"), ("content-length", "3"), ("set-cookie", "a=1"), ("x", "1")];
    let also = [HeaderName::from_static("cdn-cache-control"), header::CACHE_CONTROL];
    assert_eq!(not_modified_head(&head(said.into_iter().chain(rest)), &also), head(said));
}

#[test]
fn a_304_says_when_the_last_change_was_only_without_an_entity_tag() {
    let head = not_modified_head(&head([("last-modified", DATE), ("date", DATE)]), &[]);
    assert_eq!(lines(&head, "last-modified"), [DATE]);
}

proptest! {
    #[test]
    fn no_condition_makes_it_panic(condition in values(), stored in values()) {
        for (name, validator) in [(header::IF_NONE_MATCH, header::ETAG), (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED)] {
            let _ = answer(&with(&name, &condition), &with(&validator, &stored));
        }
    }
}
