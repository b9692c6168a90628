use super::super::support::{head, values, with};
use super::*;
use proptest::prelude::*;

const STRICT: Normalise = Normalise { encoding: false, languages: false };
const ALL: Normalise = Normalise { encoding: true, languages: true };

fn vary(lines: &[&str]) -> Vary {
    Vary::read(&head(lines.iter().map(|line| ("vary", *line))))
}

fn same(name: &str, stored: &[&str], asked: &[&str], normalise: Normalise) -> bool {
    let request = |lines: &[&str]| head(lines.iter().map(|line| (name, *line)).collect::<Vec<_>>());
    let of = |lines| Selecting::of(&vary(&[name]), &request(lines), normalise).unwrap();
    let matches = of(stored).matches(&request(asked), normalise);
    assert_eq!(matches, of(stored) == of(asked), "{name} {stored:?} {asked:?}");
    assert!(!matches || of(stored).fingerprint() == of(asked).fingerprint());
    matches
}

#[test]
fn vary_is_one_list_over_all_its_lines() {
    let fields =
        |names: &[&'static str]| Vary::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect());
    for (lines, meant) in [
        (&[][..], Vary::Nothing),
        (&[""], Vary::Nothing),
        (&[" , ,"], Vary::Nothing),
        (&["Cookie"], fields(&["cookie"])),
        (&[" b ,\ta,,A", "b,c"], fields(&["a", "b", "c"])),
        (&["*"], Vary::Everything),
        (&["a", "*"], Vary::Everything),
        (&["*", "a"], Vary::Everything),
        (&["a, * ,b"], Vary::Everything),
        // What cannot be a name might stand for one.
        (&["a b"], Vary::Everything),
        (&["a, \"b\""], Vary::Everything),
        (&["**"], fields(&["**"])),
    ] {
        assert_eq!(vary(lines), meant, "{lines:?}");
    }
}

#[test]
fn what_varies_by_too_much_selects_nothing() {
    let many: Vec<_> = (0..17).map(|nth| format!("x-{nth}")).collect();
    assert!(matches!(vary(&[&many[..16].join(",")]), Vary::Fields(_)));
    assert_eq!(vary(&[&many.join(",")]), Vary::Everything);
    let long = "x".repeat(BYTES + 1);
    assert!(Selecting::of(&vary(&["x"]), &head([("x", &*long)]), STRICT).is_none());
    assert!(Selecting::of(&vary(&["x"]), &head([("x", &long[1..])]), STRICT).is_some());
    assert!(Selecting::of(&Vary::Everything, &head([]), STRICT).is_none());
}

#[test]
fn without_vary_every_request_matches() {
    let selecting = Selecting::of(&Vary::Nothing, &head([("a", "1")]), STRICT).unwrap();
    assert!(selecting.matches(&head([("a", "2"), ("cookie", "x")]), STRICT));
    assert_eq!(selecting.fingerprint(), 0);
}

#[test]
fn all_fields_have_to_match() {
    let selecting = Selecting::of(&vary(&["a, b"]), &head([("a", "1"), ("b", "2")]), STRICT).unwrap();
    assert!(selecting.matches(&head([("b", "2"), ("a", "1"), ("c", "3")]), STRICT));
    assert!(!selecting.matches(&head([("a", "1"), ("b", "3")]), STRICT));
    assert!(!selecting.matches(&head([("a", "1")]), STRICT));
}

#[test]
fn a_field_that_is_absent_is_not_one_that_is_empty() {
    for normalise in [STRICT, ALL] {
        for name in ["x", "accept-encoding", "accept-language", "cookie", "authorization"] {
            assert!(same(name, &[], &[], normalise));
            assert!(same(name, &[""], &[""], normalise));
            assert!(!same(name, &[], &[""], normalise), "{name}");
            assert!(!same(name, &[""], &[], normalise), "{name}");
        }
    }
}

#[test]
fn lines_are_combined_and_space_round_them_does_not_count() {
    assert!(same("x", &["1, 2"], &["1", "2"], STRICT));
    assert!(same("x", &["1"], &["1 "], STRICT));
    assert!(!same("x", &["1"], &["1", "2"], STRICT));
    assert!(!same("x", &["1, 2"], &["2", "1"], STRICT));
    assert!(!same("x", &["1,2"], &["1, 2"], STRICT));
    assert!(same("x", &["1,2"], &["1 ,\t2", ""], ALL));
    assert!(!same("x", &["1,2"], &["2,1"], ALL));
    assert!(!same("x", &["a"], &["A"], ALL));
    assert!(!same("x", &["\"a,b\""], &["\"a, b\""], ALL));
}

#[test]
fn an_empty_line_at_the_end_is_a_comma_at_the_end_both_ways() {
    for (name, one) in [("x", "1, "), ("cookie", "1; ")] {
        assert!(same(name, &["1", ""], &[one], STRICT), "{name}");
        assert!(same(name, &[one], &["1", ""], STRICT), "{name}");
        assert!(!same(name, &["1"], &["1", ""], STRICT), "{name}");
    }
}

#[test]
fn who_the_client_is_is_compared_but_not_kept() {
    for name in ["cookie", "authorization", "proxy-authorization"] {
        assert!(same(name, &["id=tell-nobody"], &["id=tell-nobody"], ALL));
        assert!(!same(name, &["id=tell-nobody"], &["id=tell-somebody"], ALL));
        let kept = Selecting::of(&vary(&[name]), &head([(name, "id=tell-nobody")]), ALL).unwrap();
        assert!(!format!("{kept:?}").contains("nobody"));
    }
    // HTTP/2 cuts it in pieces.
    assert!(same("cookie", &["a=1; b=2"], &["a=1", "b=2"], STRICT));
    assert!(!same("cookie", &["a=1; b=2"], &["b=2", "a=1"], STRICT));
}

#[test]
fn the_codings_that_are_accepted_are_a_set() {
    for (one, other, are_same) in [
        ("gzip, br", "br;q=0.5,GZIP", true),
        ("gzip", "x-gzip", true),
        ("gzip", "gzip, identity", true),
        ("gzip", "gzip, br;q=0", true),
        ("gzip", "gzip, br", false),
        ("gzip", "gzip;q=0", false),
        ("gzip", "gzip, identity;q=0", false),
        ("gzip, identity;q=0", "gzip, *;q=0", true),
        ("*", "*, br;q=0", false),
        ("", "identity", true),
        ("", "gzip", false),
    ] {
        assert_eq!(same("accept-encoding", &[one], &[other], ALL), are_same, "{one} | {other}");
        assert!(!same("accept-encoding", &[one], &[other], STRICT));
    }
}

#[test]
fn the_order_and_case_of_languages_do_not_count_but_their_weights_do() {
    for (one, other, are_same) in [
        ("en, de", "DE ,en;q=1.0", true),
        ("en;q=0.5", "en;q=0.50", true),
        ("en;q=0.5", "en;q=0.4", false),
        ("en-GB", "en", false),
        ("en, de", "en", false),
    ] {
        assert_eq!(same("accept-language", &[one], &[other], ALL), are_same, "{one} | {other}");
        assert!(!same("accept-language", &[one], &[other], STRICT));
    }
    let accept = "text/html, a/b;v=1;q=0.1";
    assert!(same("accept", &[accept], &["A/b; v=1 ;q=0.1, Text/HTML", ""], ALL));
    // A weight has a digit before its dot; this is none.
    assert!(!same("accept", &[accept], &["A/b; v=1 ;q=.1, Text/HTML"], ALL));
    assert!(!same("accept", &["a/b;v=x"], &["a/b;v=X"], ALL));
}

proptest! {
    #[test]
    fn a_request_matches_itself_whatever_it_says(values in values(), name in 0..5_usize) {
        let name = [header::ACCEPT, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE, header::COOKIE, header::HOST][name].clone();
        let request = with(&name, &values);
        for normalise in [STRICT, ALL] {
            let selecting = Selecting::of(&Vary::Fields(Box::new([name.clone()])), &request, normalise).unwrap();
            prop_assert!(selecting.matches(&request, normalise));
        }
    }

    #[test]
    fn no_value_of_vary_makes_it_panic(values in values()) {
        let _ = Vary::read(&with(&header::VARY, &values));
    }

    #[test]
    fn matching_is_being_equal(one in values(), other in values(), name in 0..5_usize) {
        let name = [header::ACCEPT, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE, header::COOKIE, header::HOST][name].clone();
        let vary = Vary::Fields(Box::new([name.clone()]));
        for normalise in [STRICT, ALL] {
            let of = |values| Selecting::of(&vary, &with(&name, values), normalise).unwrap();
            prop_assert_eq!(of(&one).matches(&with(&name, &other), normalise), of(&one) == of(&other));
        }
    }
}
