//! Where a body stands, and who reads it: what happens next is decided here, with no clock, no lock and no waiting.

use super::{broken::BrokenOff, chunks::Chunks, origin::Origin, stream::Done};
use bytes::Bytes;
use http::HeaderMap;
use std::time::Duration;
use tokio::time::Instant;

/// So far, or as far as the limit, may the fastest be ahead of the slowest when not all is kept.
const WINDOW: u64 = 256 * 1024;
/// So long do others wait for the slowest, and as long again as they would have taken by themselves, going by how fast they
/// were until then. Then it is broken off. It is alone the next time: by then it is known that the body is too long to be
/// shared.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct State {
    pub(super) source: Source,
    pub(super) chunks: Chunks,
    /// Taken by the one who calls it.
    pub(super) done: Option<Done>,
    window: u64,
    /// Over the limit: what all have read is freed.
    is_passing: bool,
    places: Vec<Place>,
    began: Instant,
    /// How long it took to read how much before anybody had to wait for the slowest.
    pace: Option<(Duration, u64)>,
}

pub(super) enum Source {
    /// Without the body, somebody polls it; another who came meanwhile is to be woken when that is over.
    Open {
        origin: Option<Origin>,
        missed: bool,
    },
    Over {
        trailers: Option<HeaderMap>,
    },
    Broken(BrokenOff),
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Free,
    /// The task that reads to the end for nobody.
    Driver,
    /// Reads on from here.
    At(u64),
    /// Has read what it wants, or failed.
    Over,
    /// Was too slow.
    Cut,
}

/// What comes for one who asks.
pub(super) enum Next {
    Data {
        data: Bytes,
        /// Others need no longer wait for this one.
        lifts: bool,
    },
    Over {
        trailers: Option<HeaderMap>,
    },
    Broken(BrokenOff),
    /// Another polls the body.
    Wait,
    /// Others have to read on first.
    Held,
    /// The one who asked polls the body.
    Turn(Origin),
}

// ===== impl State =====

impl State {
    /// So much may be kept of it.
    pub(super) fn new(origin: Origin, done: Done, limit: u64, now: Instant) -> Self {
        Self {
            source: Source::Open { origin: Some(origin), missed: false },
            chunks: Chunks::default(),
            done: Some(done),
            window: limit.max(WINDOW),
            is_passing: false,
            places: Vec::with_capacity(1),
            began: now,
            pace: None,
        }
    }

    /// A place for one who reads from here on, unless that is gone, will never come, or is what others wait for already.
    pub(super) fn open(&mut self, at: u64) -> Option<usize> {
        let is_there = at >= self.chunks.start() && !matches!(self.source, Source::Broken(_));
        (is_there && !self.is_held()).then(|| self.open_at(at))
    }

    pub(super) fn open_at(&mut self, at: u64) -> usize {
        self.seat(Place::At(at))
    }

    pub(super) fn open_driver(&mut self) -> usize {
        self.seat(Place::Driver)
    }

    fn seat(&mut self, place: Place) -> usize {
        if let Some(slot) = self.places.iter().position(|place| *place == Place::Free) {
            self.places[slot] = place;
            return slot;
        }
        self.places.push(place);
        self.places.len() - 1
    }

    /// What comes for the one in this slot, who is at `at` and wants no more than what is before `end`.
    pub(super) fn next(&mut self, slot: usize, at: u64, end: u64) -> Next {
        if self.places[slot] == Place::Cut {
            return Next::Broken(BrokenOff::TOO_SLOW);
        }
        if let Some(data) = self.chunks.read(at, end) {
            let to = at + data.len() as u64;
            let lifts = self.move_to(slot, if to == end { Place::Over } else { Place::At(to) });
            return Next::Data { data, lifts };
        }
        let is_held = self.is_held();
        match &mut self.source {
            Source::Over { trailers } => Next::Over { trailers: trailers.clone() },
            Source::Broken(error) => Next::Broken(error.clone()),
            Source::Open { .. } if is_held => Next::Held,
            Source::Open { origin, missed } => origin.take().map_or_else(
                || {
                    *missed = true;
                    Next::Wait
                },
                Next::Turn,
            ),
        }
    }

    pub(super) fn push(&mut self, data: Bytes) {
        self.chunks.push(data);
        if self.is_passing {
            self.chunks.forget_before(self.slowest());
        }
    }

    /// The body is back, with nothing new. Whether somebody asked for it meanwhile.
    pub(super) fn rest(&mut self, back: Origin) -> bool {
        match &mut self.source {
            Source::Open { origin, missed } => {
                *origin = Some(back);
                std::mem::take(missed)
            }
            Source::Over { .. } | Source::Broken(_) => false,
        }
    }

    /// Nothing is stored any more.
    pub(super) fn pass(&mut self) {
        self.is_passing = true;
        self.chunks.forget_before(self.slowest());
    }

    pub(super) fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// The body has ended, and this is all of it, if it was kept.
    pub(super) fn end(&mut self, whole: Option<Bytes>, trailers: Option<HeaderMap>) {
        if let Some(whole) = whole {
            self.chunks.replace(whole);
        }
        self.source = Source::Over { trailers };
    }

    /// The one in this slot has gone. Whether others need no longer wait for it.
    pub(super) fn leave(&mut self, slot: usize) -> bool {
        self.move_to(slot, Place::Free)
    }

    /// The one in this slot wants nothing more. Whether others need no longer wait for it.
    pub(super) fn finish(&mut self, slot: usize) -> bool {
        self.move_to(slot, Place::Over)
    }

    fn move_to(&mut self, slot: usize, place: Place) -> bool {
        if !self.is_passing {
            self.places[slot] = place;
            return false;
        }
        let was_held = self.is_held();
        self.places[slot] = place;
        self.chunks.forget_before(self.slowest());
        was_held && !self.is_held()
    }

    pub(super) fn readers(&self) -> usize {
        self.places.iter().filter(|place| !matches!(place, Place::Free | Place::Driver)).count()
    }

    pub(super) fn has_driver(&self) -> bool {
        self.places.contains(&Place::Driver)
    }

    /// Where the slowest reads on. One that waits for what is still to come is not slow.
    fn slowest(&self) -> u64 {
        let at = |place: &Place| if let Place::At(at) = place { Some(*at) } else { None };
        self.places.iter().filter_map(at).min().unwrap_or(u64::MAX).min(self.chunks.len())
    }

    fn is_held(&self) -> bool {
        self.is_passing && self.chunks.len() - self.slowest() >= self.window
    }

    /// Somebody has to wait for the slowest: until then.
    pub(super) fn hold(&mut self, now: Instant) -> Instant {
        let there = self.chunks.len();
        let (took, read) = *self.pace.get_or_insert((now.duration_since(self.began), there));
        let alone = took.as_nanos() * u128::from(there) / u128::from(read.max(1));
        self.began + PATIENCE + 2 * Duration::from_nanos(u64::try_from(alone).unwrap_or(u64::MAX / 4))
    }

    /// Breaks off who let others wait for too long. Whether nobody waits any more.
    pub(super) fn cut(&mut self, now: Instant) -> bool {
        if !self.is_held() {
            return true;
        }
        if now < self.hold(now) {
            return false;
        }
        let behind = self.chunks.len().saturating_sub(self.window);
        for place in &mut self.places {
            if matches!(place, Place::At(at) if *at <= behind) {
                *place = Place::Cut;
            }
        }
        self.chunks.forget_before(self.slowest());
        true
    }
}
