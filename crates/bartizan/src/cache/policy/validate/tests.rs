use super::super::support::{DATE, head, lines};
use super::*;

/// The first is that which the request selects.
fn validators(stored: &[HeaderMap]) -> (AskedAbout, HeaderMap) {
    let mut request = HeaderMap::new();
    let about = add_validators(&mut request, stored.first(), stored.iter().skip(1));
    (about, request)
}

#[test]
fn the_tags_of_all_variants_are_asked_about() {
    let stored = [
        head([("etag", r#"W/"a""#), ("last-modified", DATE)]),
        head([("etag", r#""a""#)]),
        head([("etag", "nonsense")]),
        head([("etag", r#""b,c""#)]),
    ];
    assert_eq!(validators(&stored), (AskedAbout::All, head([("if-none-match", r#"W/"a", "a", "b,c""#)])));
}

#[test]
fn what_the_request_does_not_select_is_asked_about_by_a_strong_tag_and_nothing_else() {
    let others = [head([("etag", r#"W/"a""#)]), head([("last-modified", DATE)]), head([("etag", r#""b""#)])];
    for (stored, about) in [(&others[..2], AskedAbout::Nothing), (&others, AskedAbout::Others)] {
        let mut request = HeaderMap::new();
        assert_eq!(add_validators(&mut request, None, stored), about);
        let asked = if about == AskedAbout::Nothing { head([]) } else { head([("if-none-match", r#""b""#)]) };
        assert_eq!(request, asked);
    }
    assert_eq!(validators(&[head([]), others[2].clone()]).0, AskedAbout::Others);
}

#[test]
fn what_has_only_a_date_is_asked_about_alone() {
    let stored = [head([("last-modified", DATE)]), head([("etag", r#""b""#)])];
    assert_eq!(validators(&stored), (AskedAbout::Selected, head([("if-modified-since", DATE)])));
}

#[test]
fn variants_of_one_tag_are_asked_about_as_one() {
    let stored = [head([("etag", r#""a""#), ("last-modified", DATE)]), head([("etag", r#""a""#)])];
    let asked = head([("if-none-match", r#""a""#), ("if-modified-since", DATE)]);
    assert_eq!(validators(&stored), (AskedAbout::Selected, asked));
}

#[test]
fn the_last_change_of_a_single_response_goes_back_as_it_came() {
    let old_form = "Sunday, 06-Nov-94 08:49:37 GMT";
    let stored = head([("etag", r#""a""#), ("last-modified", old_form), ("date", DATE)]);
    let asked = head([("if-none-match", r#""a""#), ("if-modified-since", old_form)]);
    assert_eq!(validators(&[stored]), (AskedAbout::Selected, asked));
}

#[test]
fn without_a_validator_nothing_is_asked() {
    let nothing = (AskedAbout::Nothing, head([]));
    assert_eq!(validators(&[head([("date", DATE)])]), nothing);
    assert_eq!(validators(&[head([("last-modified", "yesterday")])]), nothing);
    assert_eq!(validators(&[]), nothing);
}

#[test]
fn tags_beyond_what_a_request_should_say_are_left_out() {
    let long = |nth: u8| head([("etag", &*format!("\"{nth}{}\"", "x".repeat(1500)))]);
    let (about, request) = validators(&[long(1), long(2), long(3)]);
    assert!(about == AskedAbout::All && request[header::IF_NONE_MATCH].len() < TAGS);
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
