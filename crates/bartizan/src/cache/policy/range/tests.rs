use super::super::support::{DATE, head, values, with};
use super::*;
use proptest::prelude::*;

fn ask(value: &str) -> Option<RangeAsk> {
    RangeAsk::read(&head([("range", value)]))
}

#[test]
fn ranges_are_single_open_and_last_ones() {
    use Resolved::{Full, One, Unsatisfiable};
    for (value, complete, resolved) in [
        ("bytes=0-4", 10, One(0..5)),
        ("BYTES=0-4", 10, One(0..5)),
        ("bytes= 0-4 ,", 10, One(0..5)),
        ("bytes=3-", 10, One(3..10)),
        ("bytes=-3", 10, One(7..10)),
        ("bytes=-30", 10, One(0..10)),
        ("bytes=5-99", 10, One(5..10)),
        ("bytes=5-99999999999999999999999", 10, One(5..10)),
        ("bytes=9-9", 10, One(9..10)),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, Unsatisfiable),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-1", 0, Full),
        ("bytes=0-1,20-30", 10, One(0..2)),
        ("bytes=0-1,4-5", 10, Resolved::Many([0..2, 4..6].into_iter().collect())),
        ("bytes=8-,0-1", 10, Resolved::Many([8..10, 0..2].into_iter().collect())),
        // More than everything.
        ("bytes=0-,0-", 10, Full),
        ("bytes=0-5,5-9", 10, Full),
        ("bytes=0-4,5-9", 10, Resolved::Many([0..5, 5..10].into_iter().collect())),
    ] {
        assert_eq!(ask(value).unwrap().resolve(complete), resolved, "{value} of {complete}");
    }
}

#[test]
fn a_range_that_is_not_valid_is_ignored() {
    for invalid in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=0-1,5-4",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=0 -1",
        "bytes =0-1",
        "items=0-1",
        "0-1",
        "bytes=0x1-2",
        "bytes=1",
        "bytes:0-1",
    ] {
        assert_eq!(ask(invalid), None, "{invalid}");
    }
    assert_eq!(RangeAsk::read(&head([("range", "bytes=0-1"), ("range", "bytes=0-1")])), None);
    assert_eq!(RangeAsk::read(&head([])), None);
}

#[test]
fn more_ranges_than_a_client_needs_are_ignored() {
    let many: Vec<_> = (0..17).map(|nth| format!("{nth}-{nth}")).collect();
    assert!(ask(&format!("bytes={}", many[..16].join(","))).is_some());
    assert!(ask(&format!("bytes={}", many.join(","))).is_none());
}

#[test]
fn ranges_are_for_a_get_that_would_be_200() {
    assert!(has_ranges(&Method::GET, StatusCode::OK));
    assert!(!has_ranges(&Method::HEAD, StatusCode::OK));
    assert!(!has_ranges(&Method::GET, StatusCode::NOT_FOUND));
}

#[test]
fn if_range_holds_for_the_very_same_and_strong_validator() {
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    let stored = head([("etag", r#""a""#), ("last-modified", DATE), ("date", LATER)]);
    for (value, holds) in [
        (r#""a""#, true),
        (r#"W/"a""#, false),
        (r#""b""#, false),
        ("a", false),
        (r#""a", "b""#, false),
        (DATE, true),
        ("Sunday, 06-Nov-94 08:49:37 GMT", true),
        (LATER, false),
    ] {
        assert_eq!(if_range_holds(&head([("if-range", value)]), &stored), holds, "{value}");
    }
    assert!(if_range_holds(&head([]), &stored));
    assert!(!if_range_holds(&head([("if-range", r#""a""#), ("if-range", r#""a""#)]), &stored));
    assert!(!if_range_holds(&head([("if-range", r#"W/"a""#)]), &head([("etag", r#"W/"a""#)])));
    // Within the same second it may have changed twice, and without a date nobody knows.
    assert!(!if_range_holds(&head([("if-range", DATE)]), &head([("last-modified", DATE), ("date", DATE)])));
    assert!(!if_range_holds(&head([("if-range", DATE)]), &head([("last-modified", DATE)])));
}

proptest! {
    #[test]
    fn no_value_of_a_range_makes_it_panic(values in values(), complete in any::<u64>()) {
        let _ = RangeAsk::read(&with(&header::RANGE, &values)).map(|ask| ask.resolve(complete));
        let _ = if_range_holds(&with(&header::IF_RANGE, &values), &with(&header::ETAG, &values));
    }

    /// The model: which of the bytes does each range name?
    #[test]
    fn ranges_are_the_bytes_that_they_name(
        asked in prop::collection::vec((0..3_u8, 0..12_u64, 0..12_u64), 1..4),
        complete in 0..10_u64,
    ) {
        let written: Vec<_> = asked.iter().map(|&(kind, one, two)| match kind {
            0 => format!("{}-{}", one.min(two), one.max(two)),
            1 => format!("{one}-"),
            _ => format!("-{one}"),
        }).collect();
        let named: Vec<Vec<u64>> = asked.iter().map(|&(kind, one, two)| (0..complete).filter(|byte| match kind {
            0 => (one.min(two)..=one.max(two)).contains(byte),
            1 => *byte >= one,
            _ => byte + one >= complete,
        }).collect()).filter(|bytes: &Vec<u64>| !bytes.is_empty()).collect();
        let given: Vec<Vec<u64>> = match ask(&format!("bytes={}", written.join(", "))).unwrap().resolve(complete) {
            Resolved::Full => {
                let more = named.iter().map(Vec::len).sum::<usize>() as u64 > complete;
                prop_assert!(complete == 0 || named.len() > 1 && more);
                return Ok(());
            }
            Resolved::One(range) => vec![range.collect()],
            Resolved::Many(ranges) => ranges.into_iter().map(Iterator::collect).collect(),
            Resolved::Unsatisfiable => vec![],
        };
        prop_assert_eq!(given, named);
    }
}
