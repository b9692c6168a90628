use super::*;

#[test]
fn the_language_that_is_wanted_most_is_preferred() {
    for (accepted, language, preferred) in [
        ("en, de", "de", true),
        ("fr;q=0.5, de", "de", true),
        ("fr;q=0.5, de", "fr", false),
        ("de", "de-AT", true),
        ("de-AT", "de", false),
        ("DE", "de", true),
        ("de", "den", false),
        ("*", "de", true),
        ("*, de;q=0", "de", false),
        ("de;q=0, *", "de-AT", false),
        ("*, de;q=0", "en", true),
        ("de-AT;q=0, de", "de-AT", false),
        ("*;q=0.5, de", "de", true),
        ("de;q=0", "de", false),
        ("", "de", false),
    ] {
        assert_eq!(prefers_language(accepted.as_bytes(), language.as_bytes()), preferred, "{accepted} {language}");
    }
}

#[test]
fn the_coding_that_is_wanted_most_is_preferred() {
    for (accepted, coding, preferred) in [
        ("gzip, br", "br", true),
        ("gzip;q=0.5, br", "gzip", false),
        ("x-gzip", "GZIP", true),
        ("*", "gzip", false),
        ("gzip;q=0", "gzip", false),
    ] {
        assert_eq!(prefers_coding(accepted.as_bytes(), coding.as_bytes()), preferred, "{accepted} {coding}");
    }
}

#[test]
fn a_weight_is_read_to_the_thousandth() {
    for (digits, weight) in [
        ("1", Some(1000)),
        ("0", Some(0)),
        ("0.", Some(0)),
        ("0.5", Some(500)),
        ("0.123", Some(123)),
        ("1.000", Some(1000)),
        ("1.001", None),
        ("0.1234", None),
        ("2", None),
        (".5", None),
        ("", None),
        ("0,5", None),
        ("-0", None),
    ] {
        assert_eq!(thousandths(digits.as_bytes()), weight, "{digits}");
    }
}

#[test]
fn a_comma_in_quotes_ends_no_member() {
    let members: Vec<_> = list(br#"a;p="x,\"y", ,b"#).collect();
    assert_eq!(members, [&br#"a;p="x,\"y""#[..], b"b"]);
}
