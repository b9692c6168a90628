//! How a body ends, for those who read it and for the memory.

use super::{super::*, support::*};
use bytes::Bytes;
use std::{panic, pin::Pin, sync::Arc};

const DROP: Abandoned = Abandoned::Drop;

#[test]
fn a_body_is_stored_in_one_piece_when_its_reader_has_its_end() {
    let feed = Feed::of([data("one "), data("two"), Step::End]);
    let (fill, mut reading, told) = start(&feed, plan(7, 100, DROP));
    assert_eq!(reading.size().exact(), Some(7));
    assert_eq!(reading.drain(), b"one two");
    assert!(reading.is_over && reading.error.is_none());
    assert_eq!(told.once(), whole("one two"));
    assert!(feed.is_dropped(), "nothing more is asked of the origin");
    let mut late = Reading::new(fill.reader(None).unwrap());
    assert_eq!(late.next().unwrap(), "one two", "it is one piece for who comes later");
}

/// A server that knows the length asks for no more than that.
#[test]
fn with_the_last_announced_byte_the_end_is_known() {
    let feed = Feed::of([data("one "), data("two"), Step::End]);
    let (_fill, mut reading, told) = start(&feed, plan(7, 100, DROP));
    assert!(reading.poll() && !reading.ends());
    assert!(reading.poll() && reading.ends());
    drop(reading);
    assert_eq!(told.once(), whole("one two"));
}

#[test]
fn a_body_that_tells_its_end_needs_no_more_polls() {
    let feed = Feed { tells_end: true, ..Feed::of([data("all"), Step::End]) };
    let (_fill, mut reading, told) = start(&feed, plan(None, 100, DROP));
    assert!(reading.poll() && reading.ends());
    assert_eq!((told.once(), feed.polls()), (whole("all"), 1));
}

#[test]
fn an_empty_body_is_stored_though_nobody_asks_for_a_frame() {
    let feed = Feed { tells_end: true, ..Feed::of([Step::End]) };
    let (fill, reading, told) = start(&feed, plan(None, 100, DROP));
    assert!(reading.ends());
    assert_eq!(told.once(), whole(""));
    drop(reading);
    assert!(Reading::new(fill.reader(None).unwrap()).ends());
    assert_eq!(told.once(), whole(""));
}

/// axum's bodies are so, and a server makes the `Content-Length` of it.
#[test]
fn the_length_that_a_body_knows_of_itself_is_kept() {
    let feed = Feed { exact: Some(3), ..Feed::of([data("all"), Step::End]) };
    let (_fill, reading, _told) = start(&feed, plan(None, 100, DROP));
    assert_eq!(reading.size().exact(), Some(3));
}

#[test]
fn trailers_reach_every_whole_reader_and_no_range() {
    let feed = Feed::of([data("one "), data("two"), Step::Trailers]);
    let (fill, mut first, told) = start(&feed, plan(None, 100, DROP));
    let mut second = Reading::new(fill.reader(None).unwrap());
    let mut range = Reading::new(fill.reader(Some(2..100)).unwrap());
    for reading in [&mut first, &mut second] {
        assert_eq!(reading.drain(), b"one two");
        assert_eq!(reading.trailers, Some(trailers()));
    }
    assert_eq!(range.drain(), b"e two");
    assert!(range.is_over && range.trailers.is_none());
    let bytes = Bytes::from_static(b"one two");
    assert_eq!(told.once(), Some(Outcome::Whole { bytes, trailers: Some(trailers()) }));
}

#[test]
fn a_body_that_breaks_off_is_an_error_for_every_reader_after_what_came() {
    let feed = Feed::of([data("one "), data("two"), Step::Fail]);
    let (fill, mut first, told) = start(&feed, plan(100, 100, DROP));
    let mut second = Reading::new(fill.reader(None).unwrap());
    for reading in [&mut first, &mut second] {
        assert_eq!(reading.drain(), b"one two");
        assert_eq!(reading.error.as_deref(), Some("the response's body broke off: cut"));
    }
    let Some(Outcome::Broken { so_far }) = told.once() else { panic!("{:?}", told.once()) };
    assert_eq!(joined(&so_far), "one two");
    assert!(fill.reader(None).is_none(), "there is nothing to be had any more");
}

#[test]
fn a_body_shorter_than_announced_is_not_stored() {
    let (_fill, mut reading, told) = start(&Feed::of([data("one"), Step::End]), plan(4, 100, DROP));
    assert_eq!(reading.drain(), b"one");
    assert_eq!(reading.error.as_deref(), Some("the response's body is shorter than announced"));
    assert!(matches!(told.once(), Some(Outcome::Broken { so_far }) if joined(&so_far) == "one"));
}

#[test]
fn a_body_longer_than_announced_is_not_stored_nor_believed() {
    for steps in [vec![data("four!")], vec![data("four"), data("!")], vec![data("fo"), data("ur!")]] {
        let (_fill, mut reading, told) = start(&Feed::of(steps), plan(4, 100, DROP));
        reading.drain();
        assert!(b"four".starts_with(&reading.bytes));
        assert_eq!(reading.error.as_deref(), Some("the response's body is longer than announced"));
        assert_eq!(told.once(), Some(Outcome::Broken { so_far: Vec::new() }));
    }
}

#[test]
fn a_body_that_panics_is_an_error_for_those_who_wait() {
    let feed = Feed::of([data("one"), Step::Panic]);
    let (fill, mut first, told) = start(&feed, plan(None, 100, DROP));
    let mut second = Reading::new(fill.reader(None).unwrap());
    first.poll();
    second.poll();
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| first.poll()));
    assert!(panicked.is_err());
    drop(first);
    assert!(second.is_woken());
    second.drain();
    assert_eq!(second.error.as_deref(), Some("the response's body was let go"));
    assert!(matches!(told.once(), Some(Outcome::Broken { .. })));
}

#[test]
fn an_empty_frame_is_no_end_and_no_frame() {
    let feed = Feed::of([data(""), data("one"), data(""), Step::End]);
    let (_fill, reading, told) = start(&feed, plan(None, 100, DROP));
    let mut readings = [Some(reading)];
    settle(&mut readings);
    let [Some(reading)] = readings else { unreachable!() };
    assert_eq!((reading.bytes.as_slice(), reading.is_over), (b"one".as_slice(), true));
    assert_eq!(told.once(), whole("one"));
}

#[test]
fn a_range_comes_as_soon_as_its_bytes_are_there() {
    let feed = Feed::new();
    let (fill, mut first, _told) = start(&feed, plan(10, 100, DROP));
    let mut range = Reading::new(fill.reader(Some(2..6)).unwrap());
    let mut beyond = Reading::new(fill.reader(Some(8..90)).unwrap());
    assert_eq!((range.size().exact(), beyond.size().exact()), (Some(4), Some(2)));
    assert!(!first.poll() && !range.poll());
    feed.feed(data("01"));
    feed.feed(data("2345"));
    assert!(range.is_woken());
    assert!(range.poll() && range.ends(), "the body is still on its way");
    assert_eq!(range.bytes, b"2345");
    drop(range);
    feed.feed(data("6789"));
    feed.feed(Step::End);
    assert_eq!(beyond.drain(), b"89");
    assert_eq!(first.drain(), b"0123456789");
}

#[test]
fn frames_are_slices_and_nothing_is_copied_for_a_reader() {
    let large = Bytes::from(vec![7; 10_000]);
    let feed = Feed::of([Step::Data(large.clone()), Step::End]);
    let (fill, mut first, told) = start(&feed, plan(None, 100_000, DROP));
    let mut second = Reading::new(fill.reader(None).unwrap());
    let (one, two) = (first.next().unwrap(), second.next().unwrap());
    assert_eq!(one.as_ptr(), two.as_ptr());
    assert_ne!(one.as_ptr(), large.as_ptr(), "what it came in may be a large buffer");
    first.drain();
    let Some(Outcome::Whole { bytes, .. }) = told.once() else { panic!("it is whole") };
    assert_eq!(bytes.as_ptr(), one.as_ptr(), "a single chunk is taken as it is");
}

#[test]
fn a_body_that_trickles_takes_few_pieces() {
    let feed = Feed::of((0..10_000).map(|_| data("x")).chain([Step::Fail]));
    let (_fill, mut reading, told) = start(&feed, plan(None, 100_000, DROP));
    reading.drain();
    let Some(Outcome::Broken { so_far }) = told.once() else { panic!("it broke off") };
    assert!(so_far.len() < 10, "{}", so_far.len());
}

#[test]
fn what_is_stored_is_stored_before_any_reader_sees_the_end() {
    let feed = Feed::of([data("all"), Step::End]);
    let ends = Arc::new(std::sync::Mutex::new(None::<Arc<Fill>>));
    let seen = Arc::clone(&ends);
    let (fill, reader) = Fill::start(feed.body(), plan(None, 100, DROP), move |_| {
        let fill = seen.lock().unwrap().take().unwrap();
        let mut other = fill.reader(None).unwrap();
        assert!(!http_body::Body::is_end_stream(&other));
        let waker = std::task::Waker::noop();
        let polled = http_body::Body::poll_frame(Pin::new(&mut other), &mut std::task::Context::from_waker(waker));
        assert!(polled.is_ready(), "its bytes are there, and no lock is held");
        assert!(!http_body::Body::is_end_stream(&other));
    });
    *ends.lock().unwrap() = Some(fill);
    let mut reading = Reading::new(reader);
    assert_eq!(reading.drain(), b"all");
    assert!(ends.lock().unwrap().is_none());
}
