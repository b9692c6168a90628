//! Counting in windows, fixed and sliding, and by an exact log: pure functions of what has been counted.
//!
//! All of them remember amounts, each with the instant from which it no longer counts; they differ only in that
//! instant. Times are nanoseconds since 1970.

use crate::{Algorithm, Quota, throttle::Standing};
use std::collections::VecDeque;

/// What has been counted, by when it will be forgotten, soonest first.
///
/// Quotas of different shapes may count in one window (keys that share an overflow cell do): each amount keeps its own
/// end, and all of them count for everybody, which is too strict but never too kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    counted: VecDeque<Counted>,
    /// Some of what counts was counted for several keys together.
    shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    until: u64,
    amount: u64,
}

/// Whose a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// One key.
    One,
    /// Whatever keys found no place of their own.
    Shared,
}

impl Window {
    /// Nothing counts any more.
    pub(crate) fn is_fresh(&self, now: u64) -> bool {
        self.counted.back().is_none_or(|last| last.until <= now)
    }

    /// How long a request of `cost` has to wait; zero if it may pass now. The cost is no more than the limit.
    pub(crate) fn wait(&self, quota: &Quota, cost: u64, now: u64) -> u64 {
        let room = u64::from(quota.limit()).saturating_sub(cost);
        let mut used = self.used(now);
        if used <= room {
            return 0;
        }
        for counted in self.counting(now) {
            used = used.saturating_sub(counted.amount);
            if used <= room {
                return counted.until - now;
            }
        }
        0
    }

    /// Counts `cost`, whether or not it fits; returns the stamp by which it can be given back.
    pub(crate) fn add(&mut self, quota: &Quota, owner: Owner, cost: u64, now: u64) -> u64 {
        self.forget(now);
        self.shared = owner == Owner::Shared || (self.shared && !self.counted.is_empty());
        let until = self.until(quota, now);
        if self.shared && quota.algorithm() == Algorithm::FixedWindow
            || self.counted.len() >= Quota::LONGEST_LOG as usize
        {
            self.merge(until);
        }
        self.make_room();
        let at = self.counted.partition_point(|counted| counted.until < until);
        match self.counted.get_mut(at) {
            Some(counted) if counted.until == until => counted.amount = counted.amount.saturating_add(cost),
            _ => self.counted.insert(at, Counted { until, amount: cost }),
        }
        until
    }

    /// Gives back `amount` of what was counted under `stamp`, unless that no longer counts anyway.
    pub(crate) fn refund(&mut self, stamp: u64, amount: u64, now: u64) {
        self.forget(now);
        if let Ok(at) = self.counted.binary_search_by_key(&stamp, |counted| counted.until) {
            let counted = &mut self.counted[at];
            counted.amount = counted.amount.saturating_sub(amount);
            if counted.amount == 0 {
                self.counted.remove(at);
            }
        }
    }

    /// All of it that still counts, in one entry: it was counted for many, and may be long.
    pub(crate) fn heir(&self, now: u64) -> Self {
        let last = self.counted.back().filter(|last| last.until > now);
        let counted = last.map(|last| Counted { until: last.until, amount: self.used(now) });
        let mut heir = Self { counted: VecDeque::new(), shared: self.shared };
        if let Some(counted) = counted {
            heir.make_room();
            heir.counted.push_back(counted);
        }
        heir
    }

    /// What is left now, and when all of it will be there again.
    pub(crate) fn standing(&self, quota: &Quota, now: u64) -> Standing {
        let left = u64::from(quota.limit()).saturating_sub(self.used(now));
        Standing {
            available: u32::try_from(left).unwrap_or(u32::MAX),
            next_in: if left == 0 { self.wait(quota, 1, now) } else { 0 },
            full_in: self.counted.back().map_or(0, |last| last.until.saturating_sub(now)),
            ..Standing::default()
        }
    }

    /// From when on something that is counted now will no longer count.
    fn until(&self, quota: &Quota, now: u64) -> u64 {
        let period = quota.period_ns();
        match (quota.algorithm(), self.counted.back()) {
            // The window that the first request opened. Keys that shared one each opened theirs at another instant, so
            // what any of them adds keeps the common one open for a whole period.
            (Algorithm::FixedWindow, Some(open)) if !self.shared => open.until,
            (Algorithm::FixedWindow | Algorithm::SlidingLog | Algorithm::Gcra, _) => now.saturating_add(period),
            (Algorithm::CalendarWindow, _) => (now / period + 1).saturating_mul(period),
            // Forgotten with the end of its segment, not before: one segment more than the window has.
            (Algorithm::SlidingWindow(segments), _) => {
                let segment = period.div_ceil(u64::from(segments));
                (now / segment + u64::from(segments) + 1).saturating_mul(segment)
            }
        }
    }

    fn used(&self, now: u64) -> u64 {
        self.counting(now).fold(0, |used, counted| used.saturating_add(counted.amount))
    }

    fn counting(&self, now: u64) -> impl Iterator<Item = &Counted> {
        self.counted.iter().filter(move |counted| counted.until > now)
    }

    fn forget(&mut self, now: u64) {
        let forgotten = self.counted.partition_point(|counted| counted.until <= now);
        self.counted.drain(..forgotten);
    }

    /// Room for one at first, which is all that most windows ever count; a deque by itself begins with four.
    fn make_room(&mut self) {
        if self.counted.capacity() == 0 {
            self.counted.reserve_exact(1);
        }
    }

    /// Lets everything count as long as what lasts longest, so that one entry holds it.
    fn merge(&mut self, until: u64) {
        let until = self.counted.back().map_or(until, |last| last.until.max(until));
        let amount = self.counted.iter().fold(0, |sum: u64, counted| sum.saturating_add(counted.amount));
        self.counted.clear();
        self.counted.push_back(Counted { until, amount });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_one_entry_has_room_for_one() {
        let quota = Quota::per_second(9).fixed_window();
        let mut window = Window::default();
        assert_eq!(window.counted.capacity(), 0, "nothing is kept for nothing");
        for _ in 0..9 {
            window.add(&quota, Owner::One, 1, 1);
        }
        assert_eq!(window.counted.capacity(), 1);
        assert_eq!(window.heir(1).counted.capacity(), 1);
        assert_eq!(window.heir(u64::MAX).counted.capacity(), 0);
    }
}
