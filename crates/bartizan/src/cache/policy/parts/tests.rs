use super::super::support::{head, lines};
use super::*;
use proptest::prelude::*;

const CONTENT: &str = "0123456789";

fn part_head(range: &str) -> HeaderMap {
    head([("etag", r#""a""#), ("content-range", range)])
}

/// Bytes of the content, as a 206.
fn part(range: Range<usize>) -> (Parts, HeaderMap) {
    let head = part_head(&format!("bytes {}-{}/10", range.start, range.end - 1));
    (Parts::of(&head, Bytes::from_static(&CONTENT.as_bytes()[range])).unwrap(), head)
}

fn both(one: Range<usize>, other: Range<usize>) -> Parts {
    let ((one, head), (other, other_head)) = (part(one), part(other));
    one.and(&head, &other, &other_head).unwrap()
}

fn bytes(parts: &Parts, range: Range<u64>) -> Option<String> {
    let mut pieces = Vec::new();
    parts.slice(&range, &mut pieces)?;
    Some(String::from_utf8(pieces.concat()).unwrap())
}

#[test]
fn a_part_that_is_not_as_long_as_it_says_is_none() {
    assert_eq!(Parts::of(&part_head("bytes 0-4/10"), Bytes::from("0123")), None);
    assert_eq!(Parts::of(&head([("content-type", "multipart/byteranges; boundary=B")]), Bytes::from("0123")), None);
}

#[test]
fn parts_are_combined_only_if_they_have_the_same_strong_validator() {
    let ((one, one_head), (other, _)) = (part(0..5), part(5..10));
    let combine = |head: HeaderMap, other_head: HeaderMap| one.and(&head, &other, &other_head).is_some();
    assert!(combine(one_head.clone(), one_head.clone()));
    assert!(!combine(one_head.clone(), head([("etag", r#""b""#)])));
    assert!(!combine(one_head.clone(), head([("etag", r#"W/"a""#)])));
    assert!(!combine(head([("etag", r#"W/"a""#)]), head([("etag", r#"W/"a""#)])));
    assert!(!combine(head([]), head([])));
}

#[test]
fn parts_of_different_lengths_are_not_of_one_whole() {
    let (one, head) = part(0..5);
    let of = |range| Parts::of(&part_head(range), Bytes::from("56")).unwrap();
    assert_eq!(one.and(&head, &of("bytes 5-6/11"), &head), None);
    assert_eq!(one.and(&head, &of("bytes 10-11/*"), &head), None);
    assert_eq!(one.and(&head, &of("bytes 5-6/*"), &head).unwrap().complete(), Some(10));
}

/// Otherwise a byte that counts as one would keep a whole answer alive.
#[test]
fn what_a_part_adds_keeps_nothing_alive_but_itself() {
    let large = Bytes::from(CONTENT.as_bytes().to_vec());
    let (one, head) = part(0..9);
    let other_head = part_head("bytes 0-9/10");
    let other = Parts::of(&other_head, large.clone()).unwrap();
    let both = one.and(&head, &other, &other_head).unwrap();
    drop(other);
    assert_eq!(both.whole().as_deref(), Some(CONTENT.as_bytes()));
    assert!(large.is_unique(), "the tenth byte keeps all ten");
}

#[test]
fn a_part_answers_no_more_than_itself() {
    let parts = both(0..3, 5..8);
    assert_eq!(bytes(&parts, 5..8).as_deref(), Some("567"));
    assert_eq!(bytes(&parts, 1..2).as_deref(), Some("1"));
    assert_eq!(bytes(&parts, 2..6), None);
    assert_eq!(parts.whole(), None);
    let ask = |value| RangeAsk::read(&head([("range", value)])).unwrap();
    assert_eq!(parts.resolve(&ask("bytes=6-7")), Some(Resolved::One(6..8)));
    assert!(matches!(parts.resolve(&ask("bytes=6-7,0-1")), Some(Resolved::Many(_))));
    assert_eq!(parts.resolve(&ask("bytes=6-")), None);
    assert_eq!(parts.resolve(&ask("bytes=-3")), None);
    assert_eq!(parts.resolve(&ask("bytes=10-")), Some(Resolved::Unsatisfiable));
    let (last, _) = part(7..10);
    assert_eq!(last.resolve(&ask("bytes=-3")), Some(Resolved::One(7..10)));
}

#[test]
fn of_a_whole_of_unknown_length_only_a_closed_range_is_answered() {
    let parts = Parts::of(&part_head("bytes 0-4/*"), Bytes::from("01234")).unwrap();
    let resolve = |value| parts.resolve(&RangeAsk::read(&head([("range", value)])).unwrap());
    assert_eq!(resolve("bytes=1-2"), Some(Resolved::One(1..3)));
    assert_eq!((resolve("bytes=1-"), resolve("bytes=-1"), resolve("bytes=1-9")), (None, None, None));
    assert_eq!(parts.whole(), None);
}

#[test]
fn when_all_is_there_it_is_whole() {
    assert_eq!(both(0..6, 4..10).whole().unwrap(), CONTENT);
    assert_eq!(both(5..10, 0..5).whole().unwrap(), CONTENT);
}

#[test]
fn what_is_missing_is_asked_for_under_the_condition_that_nothing_has_changed() {
    let (one, stored) = part(0..5);
    let ask = |parts: &Parts, wanted: Option<Range<u64>>| {
        let mut request = head([("range", "bytes=0-")]);
        parts.ask_for_missing(&stored, wanted.as_ref(), &mut request).then(|| {
            assert_eq!(lines(&request, "if-range"), [r#""a""#]);
            lines(&request, "range").concat()
        })
    };
    assert_eq!(ask(&one, None).as_deref(), Some("bytes=5-"));
    assert_eq!(ask(&one, Some(3..8)).as_deref(), Some("bytes=5-7"));
    assert_eq!(ask(&one, Some(3..10)).as_deref(), Some("bytes=5-"));
    assert_eq!(ask(&one, Some(3..5)), None);
    assert_eq!(ask(&both(2..3, 5..8), None).as_deref(), Some("bytes=0-"));
    assert_eq!(ask(&both(0..3, 8..10), None).as_deref(), Some("bytes=3-7"));
    assert!(!one.ask_for_missing(&head([("etag", r#"W/"a""#)]), None, &mut HeaderMap::new()));
}

#[test]
fn a_200_that_broke_off_is_a_part_if_the_rest_can_be_asked_for() {
    let broken = |head: HeaderMap| Parts::broken_off(&head, Bytes::from("0123"));
    let parts = broken(head([("etag", r#""a""#), ("content-length", "10")])).unwrap();
    assert_eq!((parts.complete(), parts.len()), (Some(10), 4));
    assert_eq!(broken(head([("etag", r#"W/"a""#), ("content-length", "10")])), None);
    assert_eq!(broken(head([("etag", r#""a""#)])), None);
    assert_eq!(broken(head([("etag", r#""a""#), ("content-length", "4")])), None);
}

#[test]
fn more_pieces_than_are_kept_are_refused_and_those_that_touch_count_as_one() {
    let head = part_head("bytes 0-0/1000");
    let piece = |at: usize| Parts { complete: Some(1000), parts: vec![(at as u64, Bytes::from("x"))] };
    let apart = (1..PIECES).fold(piece(0), |parts, nth| parts.and(&head, &piece(nth * 2), &head).unwrap());
    assert_eq!(apart.and(&head, &piece(900), &head), None);
    assert!(apart.and(&head, &piece(1), &head).is_some());
    let touching = (1..1000).fold(piece(0), |parts, nth| parts.and(&head, &piece(nth), &head).unwrap());
    assert_eq!(touching.whole().unwrap().len(), 1000);
}

#[test]
fn what_is_kept_with_parts_does_not_say_which_they_were() {
    assert_eq!(
        without_range(head([("content-range", "bytes 0-4/10"), ("content-length", "5"), ("x", "1")])),
        head([("x", "1")])
    );
}

proptest! {
    /// The model: a place for each byte.
    #[test]
    fn parts_are_the_bytes_that_came(came in prop::collection::vec((0..10_usize, 1..11_usize), 1..8), wanted in (0..10_u64, 1..11_u64)) {
        let mut model = [None; 10];
        let mut parts: Option<Parts> = None;
        for (start, length) in came {
            let range = start..(start + length).min(10);
            model[range.clone()].copy_from_slice(&CONTENT.as_bytes()[range.clone()].iter().copied().map(Some).collect::<Vec<_>>());
            let (new, head) = part(range);
            parts = Some(match parts {
                None => new,
                Some(parts) => parts.and(&head, &new, &head).unwrap(),
            });
        }
        let parts = parts.unwrap();
        let expected = |range: Range<u64>| {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            model[range].iter().copied().collect::<Option<Vec<u8>>>().map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let range = wanted.0..(wanted.0 + wanted.1).min(10);
        prop_assert_eq!(bytes(&parts, range.clone()), expected(range.clone()));
        prop_assert_eq!(parts.whole().map(|whole| String::from_utf8(whole.to_vec()).unwrap()), expected(0..10));
        let missing: Vec<u64> = parts.missing(&range).into_iter().flatten().collect();
        let holes: Vec<u64> = range.filter(|at| model[usize::try_from(*at).unwrap()].is_none()).collect();
        prop_assert_eq!(missing, holes);
        prop_assert_eq!(parts.len(), model.iter().flatten().count() as u64);
    }
}
