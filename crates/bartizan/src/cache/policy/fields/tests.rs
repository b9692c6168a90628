use super::super::support::{DATE, head, lines, values, with};
use super::*;
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn what_is_for_one_hop_is_not_kept() {
    let hop = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
    ];
    let kept = kept(&head(hop.map(|name| (name, "x"))), &[]).unwrap();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn what_connection_names_is_not_kept() {
    let head = head([
        ("connection", "X-A,, close"),
        ("connection", " x-b , (nonsense)"),
        ("x-a", "1"),
        ("x-b", "1"),
        ("x-c", "1"),
    ]);
    let kept = kept(&head, &[]).unwrap();
    assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-c"]);
}

#[test]
fn a_connection_that_names_what_a_cache_decides_by_keeps_a_response_from_being_stored() {
    for name in [
        "Cache-Control",
        "vary",
        "ETag",
        "Date",
        "expires",
        "Age",
        "Content-Encoding",
        "CDN-Cache-Control",
        "Set-Cookie",
    ] {
        assert!(kept(&head([("connection", name), ("vary", "cookie")]), &[]).is_none(), "{name}");
    }
}

/// `http-cache-semantics` keeps the last line of each field.
#[test]
fn lines_of_one_field_stay_apart_and_in_their_order() {
    let kept = kept(
        &head([("link", "<a>"), ("set-cookie", "a=1"), ("link", "<b>"), ("set-cookie", "b=2, x"), ("trailer", "x")]),
        &[],
    )
    .unwrap();
    assert_eq!(lines(&kept, "link"), ["<a>", "<b>"]);
    assert_eq!(lines(&kept, "set-cookie"), ["a=1", "b=2, x"]);
    assert_eq!(lines(&kept, "trailer"), ["x"]);
}

#[test]
fn what_no_cache_and_private_name_is_not_kept() {
    let kept = kept(&head([("set-cookie", "a"), ("set-cookie", "b"), ("x", "1")]), &[header::SET_COOKIE]).unwrap();
    assert_eq!(kept.len(), 1);
}

#[test]
fn trailers_are_kept_by_the_same_rules() {
    let trailers = head([("x-a", "1"), ("te", "1"), ("x-b", "1"), ("x-b", "2")]);
    let kept = kept_trailers(&head([("connection", "x-a")]), &trailers, &[]);
    assert_eq!(kept, head([("x-b", "1"), ("x-b", "2")]));
}

#[test]
fn a_response_without_a_date_gets_the_time_it_came() {
    let received = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let mut without = head([]);
    date_if_missing(&mut without, received);
    assert_eq!(lines(&without, "date"), [DATE]);
    let mut with = head([("date", "Sunday, 06-Nov-94 08:49:37 GMT")]);
    date_if_missing(&mut with, received);
    assert_eq!(lines(&with, "date"), ["Sunday, 06-Nov-94 08:49:37 GMT"]);
}

proptest! {
    #[test]
    fn no_value_of_connection_makes_it_panic(values in values()) {
        let _ = kept(&with(&header::CONNECTION, &values), &[]);
    }
}
