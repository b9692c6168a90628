use super::super::{
    Normalise, Selecting, Vary,
    support::{DATE, head, lines, values, with},
};
use super::*;
use proptest::prelude::*;
use std::time::Duration;
use tokio::time::Instant;

const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn told(stored: &[HeaderMap], from_304: &HeaderMap) -> Vec<usize> {
    let anything =
        Selecting::of(&Vary::Nothing, &HeaderMap::new(), Normalise { encoding: false, languages: false }).unwrap();
    let start = Instant::now();
    let stored = stored.iter().zip(0..).map(|(headers, nth)| Stored {
        selecting: &anything,
        headers,
        asked: start + Duration::from_secs(nth),
    });
    validated(stored.clone(), from_304, stored.count() == 1).to_vec()
}

#[test]
fn a_strong_tag_tells_all_that_have_it() {
    let stored = [
        head([("etag", r#""a""#)]),
        head([("etag", r#""b""#)]),
        head([("etag", r#""a""#)]),
        head([("etag", r#"W/"a""#)]),
    ];
    assert_eq!(told(&stored, &head([("etag", r#""a""#)])), [0, 2]);
}

#[test]
fn a_strong_tag_that_nothing_has_tells_nothing() {
    assert!(told(&[head([("etag", r#""b""#)])], &head([("etag", r#""a""#), ("last-modified", DATE)])).is_empty());
    assert!(told(&[head([("last-modified", DATE)])], &head([("etag", r#""a""#), ("last-modified", DATE)])).is_empty());
}

#[test]
fn a_weak_tag_tells_the_most_recent_that_has_it() {
    let stored = [
        head([("etag", r#"W/"a""#), ("date", LATER)]),
        head([("etag", r#""a""#), ("date", DATE)]),
        head([("etag", r#""b""#)]),
    ];
    assert_eq!(told(&stored, &head([("etag", r#"W/"a""#)])), [0]);
    assert!(told(&stored, &head([("etag", r#"W/"x""#)])).is_empty());
}

#[test]
fn a_last_change_tells_the_most_recent_that_has_it() {
    let stored = [
        head([("last-modified", DATE)]),
        head([("last-modified", "Sun Nov  6 08:49:37 1994")]),
        head([("last-modified", LATER)]),
    ];
    assert_eq!(told(&stored, &head([("last-modified", DATE)])), [1]);
}

#[test]
fn a_304_without_a_validator_tells_the_only_one_that_it_can() {
    assert_eq!(told(&[head([])], &head([])), [0]);
    assert_eq!(told(&[head([("etag", r#""a""#)])], &head([])), [0]);
    assert!(told(&[head([]), head([])], &head([])).is_empty());
    assert!(told(&[], &head([])).is_empty());
}

/// `http-cache-semantics` drops fields that only the 304 has, keeps the old `Age`, and loses lines.
#[test]
fn a_304_replaces_all_lines_of_its_fields_and_adds_those_that_are_new() {
    let stored = head([
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
        ("b", "2"),
        ("age", "9"),
        ("date", DATE),
        ("cache-control", "max-age=1"),
    ]);
    let from_304 =
        head([("a", "3"), ("a", "4"), ("new", "1"), ("new", "2"), ("date", LATER), ("cache-control", "max-age=9")]);
    let fresh = freshen(&stored, &from_304, &[]);
    assert_eq!(
        fresh,
        head([
            ("a", "3"),
            ("a", "4"),
            ("b", "1"),
            ("b", "2"),
            ("date", LATER),
            ("cache-control", "max-age=9"),
            ("new", "1"),
            ("new", "2")
        ])
    );
    let order: Vec<_> = fresh.keys().map(HeaderName::as_str).collect();
    assert_eq!(order, ["a", "b", "date", "cache-control", "new"]);
}

#[test]
fn the_age_of_a_304_is_the_age_from_now_on() {
    assert_eq!(lines(&freshen(&head([("age", "9")]), &head([("age", "2")]), &[]), "age"), ["2"]);
}

#[test]
fn a_304_does_not_change_what_the_content_is() {
    let stored = head([("content-type", "text/css"), ("content-length", "5"), ("content-encoding", "br")]);
    let from_304 = head([
        ("content-type", "text/html"),
        ("content-length", "0"),
        ("content-encoding", "gzip"),
        ("content-range", "bytes 0-1/2"),
    ]);
    assert_eq!(freshen(&stored, &from_304, &[]), stored);
    let location = freshen(&stored, &head([("content-location", "/b")]), &[]);
    assert_eq!(lines(&location, "content-location"), ["/b"]);
}

#[test]
fn a_304_brings_nothing_that_would_not_be_stored() {
    let from_304 = head([
        ("connection", "x-hop, cache-control"),
        ("x-hop", "1"),
        ("keep-alive", "1"),
        ("set-cookie", "a=1"),
        ("cache-control", "no-store"),
    ]);
    let fresh = freshen(&head([("x-hop", "0")]), &from_304, &[header::SET_COOKIE]);
    assert_eq!(fresh, head([("x-hop", "0"), ("cache-control", "no-store")]));
}

#[test]
fn a_weak_tag_does_not_make_the_tag_of_the_content_weak() {
    assert_eq!(lines(&freshen(&head([("etag", r#""a""#)]), &head([("etag", r#"W/"a""#)]), &[]), "etag"), [r#""a""#]);
    assert_eq!(lines(&freshen(&head([]), &head([("etag", r#"W/"a""#)]), &[]), "etag"), [r#"W/"a""#]);
}

#[test]
fn another_part_says_of_the_content_what_it_knows() {
    let part = head([("content-type", "b/c"), ("content-range", "bytes 2-3/4"), ("content-length", "2"), ("x", "1")]);
    assert_eq!(combined(&head([("content-type", "a/b")]), &part, &[]), head([("content-type", "b/c"), ("x", "1")]));
}

#[test]
fn the_answer_to_a_head_is_about_what_has_the_same_validators_and_length() {
    let stored = head([("etag", r#""a""#), ("last-modified", DATE)]);
    for (from_head, same) in [
        (head([("etag", r#""a""#), ("last-modified", DATE), ("content-length", "5")]), true),
        (head([("etag", r#""a""#)]), true),
        (head([]), true),
        (head([("etag", r#""b""#), ("content-length", "5")]), false),
        (head([("last-modified", LATER)]), false),
        (head([("content-length", "6")]), false),
        (head([("content-length", "five")]), false),
    ] {
        assert_eq!(is_same_by_head(&stored, Some(5), &from_head), same, "{from_head:?}");
    }
    assert!(!is_same_by_head(&head([]), Some(5), &head([("etag", r#""a""#)])));
    assert!(!is_same_by_head(&head([]), None, &head([("content-length", "5")])));
}

proptest! {
    #[test]
    fn freshening_keeps_every_line_of_one_side_and_mixes_none(
        stored in prop::collection::vec((0..4_usize, "[a-z]{1,2}"), 0..10),
        new in prop::collection::vec((0..4_usize, "[a-z]{1,2}"), 0..10),
    ) {
        const NAMES: [&str; 4] = ["a", "b", "vary", "link"];
        let map = |lines: &[(usize, String)]| head(lines.iter().map(|(name, value)| (NAMES[*name], &**value)));
        let (stored, new) = (map(&stored), map(&new));
        let fresh = freshen(&stored, &new, &[]);
        for name in NAMES {
            let from = if new.contains_key(name) { &new } else { &stored };
            prop_assert_eq!(lines(&fresh, name), lines(from, name));
        }
    }

    #[test]
    fn no_304_makes_it_panic(stored in values(), new in values()) {
        for name in [header::ETAG, header::LAST_MODIFIED, header::CONNECTION, header::CONTENT_LENGTH] {
            let (stored, new) = (with(&name, &stored), with(&name, &new));
            let _ = (freshen(&stored, &new, &[]), told(std::slice::from_ref(&stored), &new), is_same_by_head(&stored, Some(1), &new));
        }
    }
}
