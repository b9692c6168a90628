//! When something was last taken back.

use super::{
    form::millis,
    key::{CacheKey, Resource},
    tags::{self, Label},
};
use crate::shared::wall_now;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire},
        },
    },
};
use tokio::time::Instant;

/// A point in the order of all purges of one cache, taken when the origin is asked: what is purged later than that is
/// nothing that the response could still bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) purges: u64,
    pub(super) at: Instant,
}

/// When each tag, group and URL was last purged.
///
/// Purges are counted, and an entry knows how many there had been when it was asked for. So nothing has to be looked up
/// by tag, and nothing grows with the number of tags: they share a table by their hashes. Two that share a place are
/// purged together, which costs a request to the origin and is never wrong.
pub(super) struct Generations {
    purges: AtomicU64,
    /// The last purge that may have been of anything.
    floor: AtomicU64,
    /// When there was the last purge of a prefix or of all, by the wall.
    swept: AtomicU64,
    /// Made when something is purged for the first time.
    slots: OnceLock<Box<[Slot]>>,
    prefixes: Mutex<Prefixes>,
    last_prefix: AtomicU64,
    /// In their order, the last of them.
    softenings: Mutex<Softenings>,
    born: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    hard: AtomicU64,
    soft: AtomicU64,
    /// When either was, by the wall.
    wall: AtomicU64,
}

#[derive(Default)]
struct Prefixes {
    log: VecDeque<Prefix>,
    /// The last that is not in the log any more.
    forgotten: u64,
}

#[derive(Default)]
struct Softenings {
    log: VecDeque<Softening>,
    /// The last that is not in the log any more.
    forgotten: u64,
}

/// A soft purge of a place, and when it was.
#[derive(Debug)]
struct Softening {
    purge: u64,
    slot: u32,
    at: Instant,
}

struct Prefix {
    purge: u64,
    partition: Box<[u8]>,
    target: Box<[u8]>,
}

/// What is left of an entry after the purges since it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Current,
    /// It went stale then, if it was not stale already.
    Stale(Instant),
    Gone,
}

/// How many places there are for tags, groups and URLs together: 512 KiB.
const SLOTS: u64 = 16 * 1024;
const LOGGED: usize = 1024;

// ===== impl Generations =====

impl Generations {
    pub(super) fn new() -> Self {
        Self {
            purges: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            slots: OnceLock::new(),
            prefixes: Mutex::default(),
            last_prefix: AtomicU64::new(0),
            softenings: Mutex::default(),
            born: Instant::now(),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket { purges: self.purges(), at: Instant::now() }
    }

    /// How many purges there have been.
    #[inline]
    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Acquire)
    }

    pub(super) fn slot_of(label: &Label<'_>) -> u32 {
        u32::try_from(label.hash() % SLOTS).unwrap_or_default()
    }

    pub(super) fn purge_slot(&self, slot: u32, soft: bool) {
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| Slot::default()).collect());
        let Some(place) = slots.get(slot as usize) else { return };
        place.wall.fetch_max(millis(wall_now()), AcqRel);
        if soft {
            place.soft.fetch_max(self.soften(slot), AcqRel);
        } else {
            place.hard.fetch_max(self.next(), AcqRel);
        }
    }

    /// Writes down when a place is purged softly, before anybody can see that it is.
    fn soften(&self, slot: u32) -> u64 {
        let mut softenings = self.softenings.lock();
        let (purge, at) = (self.next(), Instant::now());
        if softenings.log.len() == LOGGED
            && let Some(oldest) = softenings.log.pop_front()
        {
            softenings.forgotten = oldest.purge;
        }
        softenings.log.push_back(Softening { purge, slot, at });
        purge
    }

    /// From here on nothing is stored under these keys that was asked for before.
    pub(super) fn purge_prefix(&self, prefix: Resource<'_>) -> u64 {
        self.swept.fetch_max(millis(wall_now()), AcqRel);
        let mut prefixes = self.prefixes.lock();
        let purge = self.next();
        if prefixes.log.len() == LOGGED
            && let Some(oldest) = prefixes.log.pop_front()
        {
            prefixes.forgotten = prefixes.forgotten.max(oldest.purge);
        }
        let (partition, target) = (prefix.partition.into(), prefix.target.into());
        prefixes.log.push_back(Prefix { purge, partition, target });
        self.last_prefix.fetch_max(purge, AcqRel);
        purge
    }

    /// The same prefix once more. If it is not in the log any more, it counts as purge of anything.
    pub(super) fn renew_prefix(&self, purge: u64) {
        let mut prefixes = self.prefixes.lock();
        let renewed = self.next();
        match prefixes.log.iter().position(|prefix| prefix.purge == purge).and_then(|at| prefixes.log.remove(at)) {
            Some(prefix) => prefixes.log.push_back(Prefix { purge: renewed, ..prefix }),
            None => prefixes.forgotten = renewed,
        }
        self.last_prefix.fetch_max(renewed, AcqRel);
    }

    /// From here on nothing is stored that was asked for before.
    pub(super) fn purge_all(&self) {
        self.swept.fetch_max(millis(wall_now()), AcqRel);
        self.floor.fetch_max(self.next(), AcqRel);
    }

    /// Whether what was asked for with this ticket may still be stored.
    pub(super) fn allows(&self, ticket: Ticket, key: &CacheKey, slots: &[u32]) -> bool {
        let asked = ticket.purges;
        asked >= self.floor.load(Acquire)
            && (self.slots.get().is_none()
                || self.is_current(asked, slots)
                    && self.is_current(asked, &[Self::slot_of(&Label::Url(key.resource()))]))
            && (asked >= self.last_prefix.load(Acquire) || self.prefixes.lock().allow(asked, key.resource()))
    }

    /// Whether what was there when there had been so many purges has been deleted since, or may have been.
    pub(super) fn deletes(&self, asked: u64, key: &CacheKey, slots: &[u32]) -> bool {
        let url = [Self::slot_of(&Label::Url(key.resource()))];
        asked < self.floor.load(Acquire)
            || self.look_up(slots).chain(self.look_up(&url)).any(|slot| slot.hard.load(Acquire) > asked)
            || (asked < self.last_prefix.load(Acquire) && !self.prefixes.lock().allow(asked, key.resource()))
    }

    /// The last purge that may have been of something with this key, its tags left aside.
    pub(super) fn epoch(&self, key: &CacheKey) -> u64 {
        let url = [Self::slot_of(&Label::Url(key.resource()))];
        let purges = self.look_up(&url).map(|slot| slot.hard.load(Acquire).max(slot.soft.load(Acquire)));
        purges.chain([self.floor.load(Acquire), self.last_prefix.load(Acquire)]).max().unwrap_or_default()
    }

    /// What is left of an entry that has these tags.
    #[inline]
    pub(super) fn standing(&self, asked: u64, slots: &[u32]) -> Standing {
        if slots.is_empty() { Standing::Current } else { self.standing_of_tagged(asked, slots) }
    }

    /// The last purge that may have been of something with this key and these tags, in milliseconds by the wall.
    pub(super) fn last_purge(&self, key: &CacheKey, slots: &[u32]) -> u64 {
        let url = [Self::slot_of(&Label::Url(key.resource()))];
        let purges = self.look_up(slots).chain(self.look_up(&url)).map(|slot| slot.wall.load(Acquire));
        purges.chain([self.swept.load(Acquire)]).max().unwrap_or_default()
    }

    fn standing_of_tagged(&self, asked: u64, slots: &[u32]) -> Standing {
        let mut stale = None;
        for number in slots {
            let Some(slot) = self.slot(*number) else { continue };
            if slot.hard.load(Acquire) > asked {
                return Standing::Gone;
            }
            if slot.soft.load(Acquire) > asked {
                let since = self.softened(tags::place(*number), asked);
                stale = Some(stale.map_or(since, |earlier: Instant| earlier.min(since)));
            }
        }
        stale.map_or(Standing::Current, Standing::Stale)
    }

    /// When a place was purged softly for the first time since then. Another purge makes nothing usable that was not: what the
    /// log does not reach back to is as stale as can be.
    fn softened(&self, slot: u32, asked: u64) -> Instant {
        let softenings = self.softenings.lock();
        if asked < softenings.forgotten {
            return self.born;
        }
        let from = softenings.log.partition_point(|softening| softening.purge <= asked);
        let first = softenings.log.range(from..).find(|softening| softening.slot == slot);
        first.map_or(self.born, |softening| softening.at)
    }

    fn is_current(&self, asked: u64, slots: &[u32]) -> bool {
        self.look_up(slots).all(|slot| slot.hard.load(Acquire).max(slot.soft.load(Acquire)) <= asked)
    }

    fn look_up<'a>(&'a self, slots: &'a [u32]) -> impl Iterator<Item = &'a Slot> {
        slots.iter().filter_map(|slot| self.slot(*slot))
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get()?.get(tags::place(slot) as usize)
    }

    fn next(&self) -> u64 {
        self.purges.fetch_add(1, AcqRel) + 1
    }
}

// ===== impl Prefixes =====

impl Prefixes {
    fn allow(&self, asked: u64, key: Resource<'_>) -> bool {
        asked >= self.forgotten
            && !self.log.iter().rev().take_while(|prefix| prefix.purge > asked).any(|prefix| prefix.matches(key))
    }
}

impl Prefix {
    fn matches(&self, key: Resource<'_>) -> bool {
        *self.partition == *key.partition && key.target.starts_with(&self.target)
    }
}
