use super::super::support::{DATE, head, lines};
use super::*;

#[test]
fn a_part_says_all_that_the_whole_says() {
    let stored = head([
        ("etag", r#""a""#),
        ("vary", "a"),
        ("vary", "b"),
        ("date", DATE),
        ("content-type", "a/b"),
        ("content-length", "10"),
        ("x", "1"),
    ]);
    let part = partial_head(&stored, &(2..5), Some(10));
    assert_eq!(lines(&part, "content-range"), ["bytes 2-4/10"]);
    assert_eq!(lines(&part, "content-length"), ["3"]);
    for name in ["etag", "vary", "date", "content-type", "x"] {
        assert_eq!(lines(&part, name), lines(&stored, name));
    }
}

#[test]
fn a_refused_range_says_how_long_the_whole_is_and_is_nothing_to_store() {
    let stored = head([
        ("date", DATE),
        ("vary", "a"),
        ("etag", r#""a""#),
        ("cache-control", "max-age=9"),
        ("content-type", "a/b"),
        ("content-length", "10"),
        ("access-control-allow-origin", "*"),
        ("set-cookie", "a=1"),
    ]);
    let refused = unsatisfiable_head(&stored, 10);
    assert_eq!(
        refused,
        head([
            ("date", DATE),
            ("vary", "a"),
            ("access-control-allow-origin", "*"),
            ("content-range", "bytes */10"),
            ("content-length", "0")
        ])
    );
}

#[test]
fn many_parts_are_one_content_that_copies_nothing() {
    let content = Bytes::from("0123456789");
    let stored = head([
        ("content-type", "text/plain"),
        ("content-length", "10"),
        ("etag", r#""a""#),
        ("content-range", "bytes 0-9/10"),
    ]);
    let (head, pieces) = multipart(&stored, &[0..2, 8..10], 10, "B", |range, pieces| {
        pieces.push(slice(&content, range)?);
        Some(())
    })
    .unwrap();
    let text = "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
                --B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--B--\r\n";
    assert_eq!(pieces.concat(), text.as_bytes());
    assert_eq!(lines(&head, "content-length"), [text.len().to_string()]);
    assert_eq!(lines(&head, "content-type"), ["multipart/byteranges; boundary=B"]);
    assert_eq!(lines(&head, "etag"), [r#""a""#]);
    assert!(!head.contains_key("content-range"));
    assert_eq!(pieces[1].as_ptr(), content.as_ptr());
}

#[test]
fn what_is_not_there_is_not_sliced() {
    let content = Bytes::from("0123");
    assert_eq!(slice(&content, &(1..3)), Some(Bytes::from("12")));
    assert_eq!(slice(&content, &(1..5)), None);
    #[allow(clippy::reversed_empty_ranges, reason = "nobody may write this")]
    let reversed = 3..1;
    assert_eq!(slice(&content, &reversed), None);
    assert_eq!(slice(&content, &(u64::MAX - 1..u64::MAX)), None);
    assert!(multipart(&head([]), &[0..2, 8..12], 10, "B", |_, _| None).is_none());
}
