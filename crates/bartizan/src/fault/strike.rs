//! What befalls one request: drawn by dice that fall the same way for the same seed and number.

use super::kinds::{Fault, Kind};
use http::StatusCode;
use std::{num::NonZeroU32, time::Duration};

/// All that goes wrong with one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Strike {
    pub(super) latency: Duration,
    /// What is answered instead of calling the service.
    pub(super) instead: Option<Instead>,
    pub(super) truncated: Option<u64>,
    pub(super) bandwidth: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    Status(StatusCode),
    Grpc(u8),
    Reset,
}

/// Random numbers, the same ones for the same seed and the same number of a request: splitmix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

/// Those of the faults aimed at a request that strike it, each with a random number from 0 to 1 of its own.
///
/// One throw decides whether the request may be harmed at all, so that several faults harm no more than `at_most`
/// together. A fault then strikes as much more often as there are fewer to strike, which makes its share what it says.
pub(super) fn strikes<'a>(
    aimed: impl Iterator<Item = &'a Fault>,
    at_most: f64,
    mut dice: Dice,
) -> impl Iterator<Item = (&'a Fault, f64)> {
    let may_be_harmed = dice.throw() < at_most;
    aimed.filter_map(move |fault| {
        let (chance, where_in_range) = (dice.throw() * at_most, dice.throw());
        (may_be_harmed && chance < fault.share).then_some((fault, where_in_range))
    })
}

// ===== impl Strike =====

impl Strike {
    /// Latencies add up; of two answers the first is given; the shorter body and the slower line prevail.
    pub(super) fn add(&mut self, fault: &Fault, where_in_range: f64) {
        match &fault.kind {
            Kind::Latency(range) => {
                let spread = (*range.end() - *range.start()).mul_f64(where_in_range);
                self.latency = self.latency.saturating_add(*range.start() + spread);
            }
            Kind::Status(status) => self.instead = self.instead.or(Some(Instead::Status(*status))),
            Kind::Grpc(code) => self.instead = self.instead.or(Some(Instead::Grpc(*code))),
            Kind::Reset => self.instead = self.instead.or(Some(Instead::Reset)),
            Kind::Truncated(after) => self.truncated = Some(self.truncated.map_or(*after, |other| other.min(*after))),
            Kind::Bandwidth(rate) => self.bandwidth = Some(self.bandwidth.map_or(*rate, |other| other.min(*rate))),
        }
    }
}

// ===== impl Dice =====

impl Dice {
    pub(super) fn of(seed: u64, number: u64) -> Self {
        Self(Self(seed).next() ^ Self(number).next())
    }

    /// A number from 0 on, and less than 1.
    fn throw(&mut self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        #[allow(clippy::cast_precision_loss, reason = "so many bits fit exactly")]
        let (drawn, all) = ((self.next() >> (64 - BITS)) as f64, (1u64 << BITS) as f64);
        drawn / all
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
