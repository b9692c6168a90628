//! The generic cell rate algorithm (ITU-T I.371), as `governor` computes it: pure functions of one number.
//!
//! The number is the theoretical arrival time: the instant at which the bucket is full again, in nanoseconds. Whatever
//! lies in the past is full, so a bucket that is full needs no memory. Admitting `cost` moves it by `cost` intervals;
//! a request conforms if it then lies no further ahead than the whole burst.

use crate::{Quota, throttle::Standing};

/// How long a request of `cost` has to wait; zero if it may pass now.
///
/// The caller has made sure that the cost is no more than the burst; a larger one would wait forever.
#[must_use]
pub(crate) fn wait(quota: &Quota, arrival: u64, cost: u64, now: u64) -> u64 {
    add(quota, arrival, cost, now).saturating_sub(furthest(quota, now))
}

/// The arrival time after `cost` has been taken, if it conforms.
#[must_use]
#[inline]
pub(crate) fn take(quota: &Quota, arrival: u64, cost: u64, now: u64) -> Option<u64> {
    let next = add(quota, arrival, cost, now);
    (next <= furthest(quota, now)).then_some(next)
}

/// The arrival time after `cost` has been taken, whether or not it conforms: a debt may go beyond the burst when a
/// request turns out to have cost more than it said.
#[must_use]
pub(crate) fn add(quota: &Quota, arrival: u64, cost: u64, now: u64) -> u64 {
    arrival.max(now).saturating_add(quota.interval_ns().saturating_mul(cost))
}

/// By how much the arrival time moves back when `amount` of what was once taken is given back. `end` is the arrival
/// time as it was after the taking, less what has been given back since.
///
/// What has been replenished is not given back once more: only that part of the amount counts which still lies ahead of
/// now, as if it had never been taken. So no burst is saved up by taking early and giving back late.
#[must_use]
pub(crate) fn refund(quota: &Quota, end: u64, amount: u64, now: u64) -> u64 {
    quota.interval_ns().saturating_mul(amount).min(end.saturating_sub(now))
}

/// What is left now, and when all of it will be there again.
#[must_use]
#[inline]
pub(crate) fn standing(quota: &Quota, arrival: u64, now: u64) -> Standing {
    let owed = arrival.saturating_sub(now);
    let next_in = wait(quota, arrival, 1, now);
    // Who has to wait for one has none left: a refusal takes no division.
    let left = if next_in > 0 { 0 } else { capacity(quota).saturating_sub(owed) / quota.interval_ns() };
    Standing { available: u32::try_from(left).unwrap_or(u32::MAX), next_in, full_in: owed, ..Standing::default() }
}

/// The latest arrival time that conforms.
fn furthest(quota: &Quota, now: u64) -> u64 {
    now.saturating_add(capacity(quota))
}

/// How far ahead of now the arrival time may lie: the whole burst, which a quota sees to be no more than a century.
fn capacity(quota: &Quota) -> u64 {
    quota.interval_ns() * u64::from(quota.burst_size())
}
