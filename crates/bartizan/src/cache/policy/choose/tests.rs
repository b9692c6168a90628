use super::super::{Vary, support::head};
use super::*;
use std::time::Duration;

const STRICT: Normalise = Normalise { encoding: false, languages: false };
const ALL: Normalise = Normalise { encoding: true, languages: true };
const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const LATE: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

/// Stores responses to requests, one a second, and chooses one of them.
fn chosen(stored: &[(HeaderMap, HeaderMap)], request: &HeaderMap, normalise: Normalise) -> Option<usize> {
    let start = Instant::now();
    let selecting: Vec<_> = stored
        .iter()
        .map(|(request, response)| Selecting::of(&Vary::read(response), request, normalise).unwrap())
        .collect();
    let stored = stored.iter().zip(&selecting).zip(0..).map(|(((_, headers), selecting), nth)| Stored {
        selecting,
        headers,
        asked: start + Duration::from_secs(nth),
    });
    choose(stored, request, normalise)
}

#[test]
fn only_what_matches_is_chosen() {
    let vary = |value| (head([("a", value)]), head([("vary", "a")]));
    let stored = [vary("1"), vary("2")];
    assert_eq!(chosen(&stored, &head([("a", "1")]), STRICT), Some(0));
    assert_eq!(chosen(&stored, &head([("a", "2")]), STRICT), Some(1));
    assert_eq!(chosen(&stored, &head([("a", "3")]), ALL), None);
    assert_eq!(chosen(&[], &head([]), ALL), None);
}

#[test]
fn of_several_that_match_the_most_recent_by_date_is_chosen() {
    let made = |date| (head([]), head([("date", date)]));
    assert_eq!(chosen(&[made(LATE), made(EARLY)], &head([]), STRICT), Some(0));
    assert_eq!(chosen(&[made(EARLY), made(LATE)], &head([]), STRICT), Some(1));
}

#[test]
fn of_those_of_one_second_that_which_was_asked_for_last_is_chosen() {
    let made = |date| (head([]), head([("date", date)]));
    assert_eq!(chosen(&[made(EARLY), made(EARLY)], &head([]), STRICT), Some(1));
    assert_eq!(chosen(&[made(LATE), made("never")], &head([]), STRICT), Some(1));
}

#[test]
fn one_that_varies_is_chosen_before_one_whose_origin_forgot_to_say_so() {
    let varies = (head([("a", "1")]), head([("vary", "a"), ("date", EARLY)]));
    let forgot = (head([]), head([("date", LATE)]));
    assert_eq!(chosen(&[varies.clone(), forgot.clone()], &head([("a", "1")]), STRICT), Some(0));
    assert_eq!(chosen(&[varies, forgot], &head([("a", "2")]), STRICT), Some(1));
}

#[test]
fn a_stored_language_is_chosen_if_the_client_wants_none_more() {
    let german =
        (head([("accept-language", "en, de")]), head([("vary", "accept-language"), ("content-language", "de")]));
    let ask = |accepted| head([("accept-language", accepted)]);
    assert_eq!(chosen(std::slice::from_ref(&german), &ask("fr;q=0.5, de;q=1.0"), ALL), Some(0));
    assert_eq!(chosen(std::slice::from_ref(&german), &ask("fr;q=0.5, de;q=1.0"), STRICT), None);
    assert_eq!(chosen(std::slice::from_ref(&german), &ask("fr, de;q=0.5"), ALL), None);
    assert_eq!(chosen(std::slice::from_ref(&german), &head([]), ALL), None);
}

#[test]
fn a_stored_language_is_not_chosen_if_another_field_differs() {
    let stored = (
        head([("accept-language", "en"), ("cookie", "a")]),
        head([("vary", "accept-language, cookie"), ("content-language", "de")]),
    );
    let ask = |cookie| head([("accept-language", "de"), ("cookie", cookie)]);
    assert_eq!(chosen(std::slice::from_ref(&stored), &ask("a"), ALL), Some(0));
    assert_eq!(chosen(std::slice::from_ref(&stored), &ask("b"), ALL), None);
}

#[test]
fn a_stored_coding_is_chosen_if_the_client_wants_none_more() {
    let gzip = (head([("accept-encoding", "gzip")]), head([("vary", "accept-encoding"), ("content-encoding", "gzip")]));
    let ask = |accepted| head([("accept-encoding", accepted)]);
    assert_eq!(chosen(std::slice::from_ref(&gzip), &ask("gzip, br"), ALL), Some(0));
    assert_eq!(chosen(std::slice::from_ref(&gzip), &ask("br"), ALL), None);
}
