use super::super::support::{DATE, head, lines};
use super::*;

fn validators(stored: &[HeaderMap]) -> (bool, HeaderMap) {
    let mut request = HeaderMap::new();
    let could = add_validators(&mut request, stored);
    (could, request)
}

#[test]
fn the_tags_of_all_variants_are_asked_about() {
    let stored = [
        head([("etag", r#"W/"a""#), ("last-modified", DATE)]),
        head([("etag", r#""a""#)]),
        head([("etag", "nonsense")]),
        head([("etag", r#""b,c""#)]),
    ];
    assert_eq!(validators(&stored), (true, head([("if-none-match", r#"W/"a", "a", "b,c""#)])));
}

#[test]
fn the_last_change_of_a_single_response_goes_back_as_it_came() {
    let old_form = "Sunday, 06-Nov-94 08:49:37 GMT";
    let stored = head([("etag", r#""a""#), ("last-modified", old_form), ("date", DATE)]);
    assert_eq!(validators(&[stored]), (true, head([("if-none-match", r#""a""#), ("if-modified-since", old_form)])));
}

#[test]
fn without_a_validator_nothing_is_asked() {
    assert_eq!(validators(&[head([("date", DATE)])]), (false, head([])));
    assert_eq!(validators(&[head([("last-modified", "yesterday")])]), (false, head([])));
    assert_eq!(validators(&[]), (false, head([])));
}

#[test]
fn tags_beyond_what_a_request_should_say_are_left_out() {
    let long = |nth: u8| head([("etag", &*format!("\"{nth}{}\"", "x".repeat(1500)))]);
    let (could, request) = validators(&[long(1), long(2), long(3)]);
    assert!(could && request[header::IF_NONE_MATCH].len() < TAGS);
    assert_eq!(lines(&request, "if-none-match")[0].matches(", ").count(), 1);
}

#[test]
fn what_one_client_wants_of_an_answer_is_taken_away_on_all_its_lines() {
    let mut request = head([
        ("if-none-match", r#""a""#),
        ("if-none-match", r#""b""#),
        ("if-modified-since", DATE),
        ("range", "bytes=0-1"),
        ("if-range", r#""a""#),
        ("cache-control", "no-cache"),
        ("cache-control", "only-if-cached"),
        ("pragma", "no-cache"),
        ("x", "1"),
        ("x", "2"),
    ]);
    take_conditions(&mut request);
    assert_eq!(
        request.get_all("if-none-match").iter().count() + request.get_all("if-modified-since").iter().count(),
        0
    );
    take_wishes(&mut request);
    assert_eq!(request, head([("x", "1"), ("x", "2")]));
}
