//! Every order of a few steps, and random orders of many: who stays reads the bytes, and nobody waits in vain.

use super::{super::*, support::*};
use bytes::Bytes;
use http_body::{Body, Frame};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

/// Whoever is there is polled, woken or not.
fn poll(reading: &mut Option<Reading>) {
    if let Some(reading) = reading {
        reading.poll();
    }
}

/// Two readers that may leave at some point; all orders of seven steps. Who was not woken is not polled at the end.
#[test]
fn one_that_leaves_at_any_point_strands_nobody() {
    const STEPS: u32 = 7;
    for order in 0..5_u32.pow(STEPS) {
        let feed = Feed::new();
        let (fill, first, told) = start(&feed, plan(None, 100, Abandoned::Drop));
        let mut readings = [Some(first), Some(Reading::new(fill.reader(None).unwrap()))];
        let mut fed = 0;
        for step in 0..STEPS {
            match order / 5_u32.pow(step) % 5 {
                0 => {
                    feed.feed(data("ab"));
                    fed += 1;
                }
                1 => poll(&mut readings[0]),
                2 => poll(&mut readings[1]),
                3 => readings[0] = None,
                _ => readings[1] = None,
            }
        }
        feed.feed(Step::End);
        settle(&mut readings);
        for reading in readings.iter().flatten() {
            assert!(reading.is_over, "order {order}: somebody waits in vain");
            assert_eq!(reading.bytes, b"ab".repeat(fed), "order {order}");
        }
        match told.once() {
            Some(Outcome::Whole { bytes, .. }) => assert_eq!(bytes.len(), 2 * fed, "order {order}"),
            Some(Outcome::Broken { .. }) => assert!(readings.iter().all(Option::is_none), "order {order}"),
            other => panic!("order {order}: {other:?}"),
        }
    }
}

/// Waits at first, and then has something though it woke nobody: so is one that looks at a clock.
struct Silent {
    polls: usize,
}

impl Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.polls += 1;
        if self.polls == 2 { Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"it"))))) } else { Poll::Pending }
    }
}

#[test]
fn what_one_was_given_the_others_are_told_of() {
    let (fill, reader) = Fill::start(Silent { polls: 0 }, plan(None, 100, Abandoned::Drop), |_| {});
    let (mut first, mut second) = (Reading::new(reader), Reading::new(fill.reader(None).unwrap()));
    assert!(!first.poll() && !first.is_woken());
    assert!(second.poll());
    assert!(first.is_woken() && first.poll());
}

/// Is ready the moment it has been polled, and while it still is, another reader comes.
struct Met(Arc<Mutex<Option<Reading>>>);

impl Body for Met {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Ok(mut other) = self.0.try_lock() else { return Poll::Pending };
        cx.waker().wake_by_ref();
        poll(&mut other);
        Poll::Pending
    }
}

#[test]
fn one_that_came_while_another_polled_is_woken_though_that_leaves() {
    let met = Arc::new(Mutex::new(None));
    let (fill, reader) = Fill::start(Met(Arc::clone(&met)), plan(None, 100, Abandoned::Drop), |_| {});
    *met.lock().unwrap() = Some(Reading::new(fill.reader(None).unwrap()));
    let mut first = Reading::new(reader);
    first.poll();
    drop(first);
    assert!(met.lock().unwrap().as_ref().unwrap().is_woken());
}

#[derive(Clone, Debug)]
enum Move {
    Feed(usize),
    Poll(usize),
    Open(Option<Range<u64>>),
    Leave(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let size = prop_oneof![4 => 0..50_usize, 2 => 4_000..5_000_usize, 3 => 60_000..120_000_usize];
    let range = prop::option::of((0..300_000_u64, 1..200_000_u64).prop_map(|(start, len)| start..start + len));
    let a_move = prop_oneof![
        4 => size.prop_map(Move::Feed),
        6 => (0..6_usize).prop_map(Move::Poll),
        1 => range.prop_map(Move::Open),
        1 => (0..6_usize).prop_map(Move::Leave),
    ];
    prop::collection::vec(a_move, 0..60)
}

const ALL: Range<u64> = 0..u64::MAX;

/// The bytes of a body from its place on.
fn bytes(place: usize, len: usize) -> Vec<u8> {
    (0..=250).cycle().skip(place % 251).take(len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn who_stays_reads_exactly_the_bytes(
        moves in moves(),
        limit in prop_oneof![Just(0_u64), Just(5_000), Just(200_000), Just(u64::MAX)],
        is_announced in any::<bool>(),
        fails in any::<bool>(),
        has_trailers in any::<bool>(),
        tells_end in any::<bool>(),
    ) {
        let total: usize = moves.iter().map(|step| if let Move::Feed(len) = step { *len } else { 0 }).sum();
        let feed = Feed { tells_end, ..Feed::new() };
        let (fill, first, told) =
            start(&feed, plan(is_announced.then_some(total as u64), limit, Abandoned::Drop));
        let mut readings = vec![Some(first)];
        let mut wants = Vec::from([ALL]);
        let mut fed = 0;
        for step in moves {
            match step {
                Move::Feed(len) => {
                    feed.feed(Step::Data(Bytes::from(bytes(fed, len))));
                    fed += len;
                }
                Move::Poll(at) => {
                    let at = at % readings.len();
                    poll(&mut readings[at]);
                }
                Move::Open(range) => if let Some(reader) = fill.reader(range.clone()) {
                    readings.push(Some(Reading::new(reader)));
                    wants.push(range.unwrap_or(ALL));
                },
                Move::Leave(at) => {
                    let at = at % readings.len();
                    readings[at] = None;
                }
            }
            // Beyond the limit and the window, there is the frame that came last, and that in which the slowest reads: a
            // chunk is freed when all of it has been read.
            let held = fill.lock().chunks.held() as u64;
            prop_assert!(held <= limit.saturating_add(256 * 1024 + 2 * 120_000), "{held} are held");
        }
        let was_left = told.once();
        feed.feed(if fails { Step::Fail } else if has_trailers { Step::Trailers } else { Step::End });
        settle(&mut readings);
        for (reading, want) in readings.iter().zip(&wants) {
            let Some(reading) = reading else { continue };
            prop_assert!(reading.is_over, "somebody waits in vain");
            let all = bytes(0, total);
            let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(total);
            prop_assert_eq!(&reading.bytes, &all[at(want.start)..at(want.end)]);
            let has_all = want.end <= total as u64;
            // With the last announced byte the end is asked for, though not by a range that has what it wants.
            prop_assert_eq!(reading.error.is_some(), fails && !has_all);
            prop_assert_eq!(reading.trailers.is_some(), has_trailers && !fails && want.end == u64::MAX);
        }
        readings.clear();
        let outcome = told.once();
        prop_assert!(outcome.is_some());
        prop_assert!(was_left.is_none() || was_left == outcome);
        if let Some(Outcome::Whole { bytes: stored, trailers }) = outcome {
            prop_assert_eq!(stored, bytes(0, total));
            prop_assert_eq!(trailers.is_some(), has_trailers);
            prop_assert!(total as u64 <= limit && !fails);
        }
    }
}
