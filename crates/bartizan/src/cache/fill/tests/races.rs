//! Two threads, many times.

use super::{super::*, support::*};
use bytes::Bytes;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(out) => return out,
            Poll::Pending => thread::park(),
        }
    }
}

/// A test that stalls is one that has lost a wake-up.
#[test]
fn readers_on_two_threads_read_all_while_a_third_leaves() {
    for round in 0..2_000_usize {
        let feed = Feed::new();
        let expected = round.is_multiple_of(2).then_some(40);
        let (fill, mut first, told) = start(&feed, plan(expected, 100, Abandoned::Drop));
        let mut second = Reading::new(fill.reader(None).unwrap());
        let mut third = Reading::new(fill.reader(None).unwrap());
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..10 {
                    feed.feed(data("four"));
                }
                feed.feed(Step::End);
            });
            let reads = scope.spawn(move || block_on(second.drained()).to_vec());
            scope.spawn(move || {
                for _ in 0..round % 12 {
                    third.poll();
                }
            });
            assert_eq!(block_on(first.drained()), b"four".repeat(10));
            assert_eq!(reads.join().unwrap(), b"four".repeat(10));
        });
        assert!(matches!(told.once(), Some(Outcome::Whole { bytes, .. }) if bytes == b"four".repeat(10)));
    }
}

#[test]
fn readers_on_two_threads_keep_together_over_the_limit() {
    let chunk = Bytes::from(vec![7; 100_000]);
    for _ in 0..50 {
        let feed = Feed::of((0..40).map(|_| Step::Data(chunk.clone())).chain([Step::End]));
        let (fill, mut first, told) = start(&feed, plan(None, 1000, Abandoned::Drop));
        let mut second = Reading::new(fill.reader(None).unwrap());
        let reads = thread::spawn(move || block_on(second.drained()).len());
        assert_eq!(block_on(first.drained()).len(), 4_000_000);
        assert_eq!(reads.join().unwrap(), 4_000_000);
        assert_eq!(told.once(), Some(Outcome::TooLarge));
    }
}

#[test]
fn the_last_two_leave_at_once_and_the_outcome_is_told_once() {
    for _ in 0..2_000 {
        let feed = Feed::of([data("one")]);
        let (fill, first, told) = start(&feed, plan(None, 100, Abandoned::Drop));
        let second = fill.reader(None).unwrap();
        let left = thread::spawn(move || drop(second));
        drop(first);
        left.join().unwrap();
        assert!(feed.is_dropped() && told.once().is_some());
    }
}

#[test]
fn what_crosses_threads_may() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Fill>();
    crosses::<Reader>();
    let _: fn(Pin<&mut Reader>, &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, _>>> =
        http_body::Body::poll_frame;
}
