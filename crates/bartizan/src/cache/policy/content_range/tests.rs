use super::super::support::{head, values, with};
use super::*;
use proptest::prelude::*;

#[test]
fn content_range_is_valid_or_it_is_none() {
    let read = |value| ContentRange::read(&head([("content-range", value)]));
    assert_eq!(read("bytes 0-4/10"), Some(ContentRange { range: 0..5, complete: Some(10) }));
    assert_eq!(read("Bytes 4-4/*"), Some(ContentRange { range: 4..5, complete: None }));
    for invalid in [
        "",
        "bytes */10",
        "bytes 0-4",
        "bytes 4-0/10",
        "bytes 0-10/10",
        "bytes 0-4/",
        "bytes=0-4/10",
        "items 0-4/10",
        "bytes -4/10",
        "bytes 0-/10",
        "bytes  0-4/10",
        "bytes 0-18446744073709551615/*",
        "é",
    ] {
        assert_eq!(read(invalid), None, "{invalid}");
    }
    assert_eq!(ContentRange::read(&head([("content-range", "bytes 0-4/10"), ("content-range", "bytes 0-4/10")])), None);
}

#[test]
fn a_part_of_what_may_still_grow_does_not_say_how_long_that_is() {
    assert_eq!(content_range(&(0..1), Some(1)), "bytes 0-0/1");
    assert_eq!(content_range(&(0..1), None), "bytes 0-0/*");
}

proptest! {
    #[test]
    fn no_value_of_content_range_makes_it_panic(values in values()) {
        let _ = ContentRange::read(&with(&header::CONTENT_RANGE, &values));
    }

    #[test]
    fn what_is_written_is_read(start in any::<u64>(), length in 1..9_u64, more in prop::option::of(0..9_u64)) {
        let range = start.min(u64::MAX - 20)..start.min(u64::MAX - 20) + length;
        let said = ContentRange { complete: more.map(|more| range.end + more), range };
        let head = with(&header::CONTENT_RANGE, &[content_range(&said.range, said.complete)]);
        prop_assert_eq!(ContentRange::read(&head), Some(said));
    }
}
