//! Every order of a few steps, and random orders of many: who stays reads the bytes, and nobody waits in vain.

use super::{super::*, support::*};
use bytes::Bytes;
use proptest::prelude::*;
use std::ops::Range;

/// Whoever is there is polled, woken or not.
fn poll(reading: &mut Option<Reading>) {
    if let Some(reading) = reading {
        reading.poll();
    }
}

/// Two readers, of which one leaves at some point; all orders of eight steps. Who was not woken is not polled at the end.
#[test]
fn one_that_leaves_at_any_point_strands_nobody() {
    const STEPS: u32 = 8;
    for order in 0..4_u32.pow(STEPS) {
        let feed = Feed::new();
        let (fill, first, told) = start(&feed, plan(None, 100, Abandoned::Drop));
        let mut readings = [Some(first), Some(Reading::new(fill.reader(None).unwrap()))];
        let mut fed = 0;
        for step in 0..STEPS {
            match order / 4_u32.pow(step) % 4 {
                0 => {
                    feed.feed(data("ab"));
                    fed += 1;
                }
                1 => poll(&mut readings[0]),
                2 => poll(&mut readings[1]),
                _ => readings[0] = None,
            }
        }
        feed.feed(Step::End);
        settle(&mut readings);
        for reading in readings.iter().flatten() {
            assert!(reading.is_over, "order {order}: somebody waits in vain");
            assert_eq!(reading.bytes, b"ab".repeat(fed), "order {order}");
        }
        assert!(matches!(told.once(), Some(Outcome::Whole { bytes, .. }) if bytes.len() == 2 * fed), "order {order}");
    }
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
            // A body within the limit is held twice for a moment, in pieces and whole; and a chunk may be that of a frame.
            let held = fill.lock().chunks.held() as u64;
            prop_assert!(held <= limit.saturating_add(256 * 1024 + 120_000), "{held} are held");
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
