use super::super::support::{head, values, with};
use super::*;
use proptest::prelude::*;

fn wanted<'a>(lines: &[&'a str], tag: &'a str) -> bool {
    let asked = head(lines.iter().map(|line| ("if-none-match", *line)));
    let stored = head([("etag", tag)]);
    Wanted::read(&asked, &header::IF_NONE_MATCH).unwrap().matches(EntityTag::of(&stored))
}

#[test]
fn a_tag_is_valid_or_it_is_none() {
    for valid in [r#""a""#, r#"W/"a""#, r#""""#, r#""a,b""#, r#""a\""#, "\"\u{e9}\"", r#" "a" "#] {
        assert!(EntityTag::of(&head([("etag", valid)])).is_some(), "{valid}");
    }
    for invalid in
        ["", "a", "\"", r#""a"#, r#"a""#, r#"w/"a""#, r#"W"a""#, r#"W/a"#, r#""a b""#, r#""a" "b""#, r#""a","b""#, "*"]
    {
        assert!(EntityTag::of(&head([("etag", invalid)])).is_none(), "{invalid}");
    }
}

#[test]
fn a_response_with_two_tags_has_none() {
    assert!(EntityTag::of(&head([("etag", r#""a""#), ("etag", r#""a""#)])).is_none());
}

/// The table of RFC 9110 §8.8.3.2.
#[test]
fn tags_match_strongly_and_weakly_as_the_rfc_says() {
    for (one, other, strongly, weakly) in [
        (r#"W/"1""#, r#"W/"1""#, false, true),
        (r#"W/"1""#, r#"W/"2""#, false, false),
        (r#"W/"1""#, r#""1""#, false, true),
        (r#""1""#, r#""1""#, true, true),
    ] {
        let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).unwrap();
        assert_eq!(tag(one).matches_strongly(&tag(other)), strongly);
        assert_eq!(tag(one).matches_weakly(&tag(other)), weakly);
    }
}

#[test]
fn a_list_of_tags_goes_over_lines_and_holds_commas_and_mistakes() {
    for (lines, tag, matches) in [
        (&[r#""a""#][..], r#""a""#, true),
        (&[r#"W/"a""#], r#""a""#, true),
        (&[r#""a""#], r#"W/"a""#, true),
        (&[r#""x", "a""#], r#""a""#, true),
        (&[r#""x","a","y""#], r#""a""#, true),
        (&[r#""x""#, r#""a""#], r#""a""#, true),
        (&[",, ", r#", "a",,"#], r#""a""#, true),
        // A comma inside a tag ends nothing.
        (&[r#""a,b""#], r#""a,b""#, true),
        (&[r#""a,b""#], r#""a""#, false),
        (&[r#""x,"a","y""#], r#""y""#, true),
        // What is no tag matches nothing, and what follows it counts.
        (&["a"], r#""a""#, false),
        (&[r#"w/"a""#], r#""a""#, false),
        (&[r#"w/"a", "b""#], r#""b""#, true),
        (&[r#""a"x"#], r#""a""#, false),
        (&[r#""a""#], "a", false),
        (&["*"], r#""a""#, true),
        (&[" * "], "no tag", true),
        (&[r#"*, "b""#], r#""a""#, false),
        (&["*", "*"], r#""a""#, false),
        (&[r#""*""#], r#""a""#, false),
        (&[""], r#""a""#, false),
    ] {
        assert_eq!(wanted(lines, tag), matches, "{lines:?} {tag}");
    }
}

proptest! {
    #[test]
    fn no_value_of_a_tag_makes_it_panic(values in values(), stored in values()) {
        let asked = with(&header::IF_NONE_MATCH, &values);
        let stored = with(&header::ETAG, &stored);
        let wanted = Wanted::read(&asked, &header::IF_NONE_MATCH).unwrap();
        let _ = wanted.matches(EntityTag::of(&stored));
    }

    /// The model: build the list from what the tags are.
    #[test]
    fn weak_comparison_is_that_of_the_characters(
        tags in prop::collection::vec((any::<bool>(), "[a-c,]{0,2}"), 1..5),
        stored in (any::<bool>(), "[a-c,]{0,2}"),
        several in any::<bool>(),
    ) {
        let write = |(weak, opaque): &(bool, String)| format!("{}\"{opaque}\"", if *weak { "W/" } else { "" });
        let written: Vec<_> = tags.iter().map(write).collect();
        let lines = if several { written } else { vec![written.join(" ,\t")] };
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        prop_assert_eq!(wanted(&lines, &write(&stored)), tags.iter().any(|(_, opaque)| *opaque == stored.1));
    }
}
