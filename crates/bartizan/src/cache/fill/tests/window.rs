//! A body over the limit: nothing is stored, memory stays bounded, and one who stalls is not waited for.

use super::{super::*, support::*};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LIMIT: u64 = 100 * 1024;
const WINDOW: usize = 256 * 1024;
const CHUNK: usize = 32 * 1024;

fn chunks(count: usize) -> Feed {
    let chunk = Bytes::from(vec![7; CHUNK]);
    Feed::of((0..count).map(|_| Step::Data(chunk.clone())).chain([Step::End]))
}

#[test]
fn one_who_reads_a_large_body_alone_holds_no_more_than_the_limit() {
    let (fill, mut reading, told) = start(&chunks(100), plan(None, LIMIT, Abandoned::Drop));
    let mut outcome_at = None;
    while reading.poll() {
        assert!(fill.lock().chunks.held() as u64 <= LIMIT);
        if told.once().is_some() {
            outcome_at.get_or_insert(reading.bytes.len());
        }
    }
    assert_eq!(reading.bytes.len(), 100 * CHUNK);
    assert_eq!(told.once(), Some(Outcome::TooLarge));
    assert_eq!(outcome_at, Some(4 * CHUNK), "it is told at once");
    assert!(fill.reader(None).is_none(), "its beginning is gone");
}

#[test]
fn what_is_announced_as_too_long_is_not_stored_from_the_start() {
    let feed = chunks(100);
    let (fill, mut reading, told) = start(&feed, plan(100 * CHUNK as u64, LIMIT, Abandoned::Finish));
    reading.poll();
    assert_eq!(told.once(), Some(Outcome::TooLarge));
    assert_eq!(fill.lock().chunks.held(), 0);
    assert_eq!(reading.drain().len(), 100 * CHUNK);
}

#[test]
fn the_fastest_waits_for_the_slowest_and_goes_on_with_it() {
    let feed = chunks(100);
    let (fill, mut fast, _told) = start(&feed, plan(None, LIMIT, Abandoned::Drop));
    let mut slow = Reading::new(fill.reader(None).unwrap());
    fast.drain();
    assert_eq!(fast.bytes.len(), WINDOW);
    assert!(!fast.is_woken());
    slow.poll();
    assert!(fast.is_woken(), "there is room in the window");
    fast.drain();
    assert_eq!(fast.bytes.len(), WINDOW + CHUNK);
    assert!(fill.lock().chunks.held() <= WINDOW + CHUNK);
    drop(slow);
    assert!(fast.is_woken());
    assert_eq!(fast.drain().len(), 100 * CHUNK);
}

#[test]
fn within_the_limit_nobody_waits_for_anybody() {
    let (fill, mut fast, told) = start(&chunks(100), plan(None, 1 << 30, Abandoned::Drop));
    let mut slow = Reading::new(fill.reader(None).unwrap());
    assert_eq!(fast.drain().len(), 100 * CHUNK);
    assert!(matches!(told.once(), Some(Outcome::Whole { .. })));
    drop(fast);
    assert_eq!(slow.drain().len(), 100 * CHUNK);
}

#[test]
fn one_that_waits_for_a_range_further_on_is_not_slow_and_holds_nothing() {
    let (fill, first, _told) = start(&chunks(100), plan(None, LIMIT, Abandoned::Drop));
    let mut range = Reading::new(fill.reader(Some(3_000_000..3_000_010)).unwrap());
    drop(first);
    assert!(range.poll());
    assert_eq!((range.bytes.len(), fill.lock().chunks.held()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_stalls_while_others_wait_is_broken_off_after_a_second() {
    let (fill, mut fast, _told) = start(&chunks(100), plan(None, LIMIT, Abandoned::Drop));
    let mut stalled = Reading::new(fill.reader(None).unwrap());
    stalled.poll();
    let began = Instant::now();
    assert_eq!(fast.drained().await.len(), 100 * CHUNK);
    assert_eq!(began.elapsed().as_secs(), 1);
    assert!(fast.error.is_none());
    stalled.drain();
    assert_eq!(stalled.bytes.len(), CHUNK);
    assert_eq!(stalled.error.as_deref(), Some("the response's body was read too slowly while others waited"),);
}

/// Reads a body that comes at a chunk in ten milliseconds beside one that takes so long for each: how long it took, and
/// how much the other got.
async fn beside_one_that_takes(pause: Duration, count: usize) -> (Duration, usize) {
    let feed = Feed::of([]);
    let (fill, mut fast, _told) = start(&feed, plan(None, LIMIT, Abandoned::Drop));
    let mut slow = Reading::new(fill.reader(None).unwrap());
    let began = Instant::now();
    tokio::spawn(async move {
        for _ in 0..count {
            feed.feed(Step::Data(Bytes::from(vec![7; CHUNK])));
            sleep(Duration::from_millis(10)).await;
        }
        feed.feed(Step::End);
    });
    let slow = tokio::spawn(async move {
        while !slow.is_over {
            sleep(pause).await;
            slow.poll();
        }
        slow.bytes.len()
    });
    assert_eq!(fast.drained().await.len(), count * CHUNK);
    (began.elapsed(), slow.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_less_than_twice_the_time_is_waited_for() {
    for pause in [5, 11, 19] {
        let (took, got) = beside_one_that_takes(Duration::from_millis(pause), 2_000).await;
        assert_eq!(got, 2_000 * CHUNK, "a chunk in {pause} ms");
        assert!(took <= Duration::from_millis(pause.max(10) * 2_000 + 10), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_much_more_than_twice_as_long_as_alone_however_slow_another_is() {
    for pause in [25, 100, 1_000] {
        let (took, got) = beside_one_that_takes(Duration::from_millis(pause), 300).await;
        assert!(got < 300 * CHUNK, "a chunk in {pause} ms");
        assert!(took <= Duration::from_secs(2 * 3 + 2), "{took:?} beside a chunk in {pause} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn one_for_whom_nobody_waits_is_not_broken_off_with_the_slowest() {
    let (fill, mut fast, _told) = start(&chunks(9), plan(None, LIMIT, Abandoned::Drop));
    let mut stalled = Reading::new(fill.reader(None).unwrap());
    let mut between = Reading::new(fill.reader(None).unwrap());
    fast.drain();
    for _ in 0..4 {
        between.poll();
    }
    fast.drained().await;
    assert_eq!(between.drain().len(), 9 * CHUNK);
    stalled.drain();
    assert!(stalled.error.is_some() && between.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_joins_those_for_whom_others_wait() {
    let (fill, mut fast, _told) = start(&chunks(40), plan(None, LIMIT, Abandoned::Drop));
    let stalled = fill.reader(None).unwrap();
    assert_eq!(fast.drain().len(), WINDOW);
    assert!(fill.reader(None).is_none(), "it asks the origin itself");
    drop(stalled);
    assert_eq!(fast.drain().len(), 40 * CHUNK);
}

#[test]
fn the_fastest_may_be_ahead_by_as_much_as_would_have_been_stored() {
    let (fill, mut fast, _told) = start(&chunks(100), plan(None, 1 << 20, Abandoned::Drop));
    let _slow = fill.reader(None).unwrap();
    assert_eq!(fast.drain().len(), (1 << 20) + CHUNK, "the last chunk is over the limit");
}

#[tokio::test(start_paused = true)]
async fn one_that_reads_alone_is_never_broken_off() {
    let (fill, mut reading, _told) = start(&chunks(100), plan(None, LIMIT, Abandoned::Drop));
    let other = fill.reader(None).unwrap();
    reading.poll();
    drop(other);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(reading.drain().len(), 100 * CHUNK);
    assert!(reading.error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_finds_it_longer_than_announced_lets_it_go() {
    let feed = Feed::of([]);
    let (fill, reading, told) = start(&feed, plan(LIMIT, LIMIT, Abandoned::Finish));
    drop(reading);
    tokio::task::yield_now().await;
    for _ in 0..4 {
        feed.feed(Step::Data(Bytes::from(vec![7; CHUNK])));
    }
    tokio::task::yield_now().await;
    assert!(feed.is_dropped());
    assert_eq!(told.once(), Some(Outcome::Broken { so_far: Vec::new() }));
    assert!(fill.reader(None).is_none());
}
