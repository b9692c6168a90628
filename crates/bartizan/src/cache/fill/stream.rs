//! The body, and what is to become of it.

use super::{
    abandoned::{Abandoned, Drive, Spawn},
    broken::BrokenOff,
    origin::{Origin, erased},
    reader::Reader,
    state::{Next, Source, State},
    turn::Turn,
    waiting::Waiting,
};
use crate::shared::sync::{Mutex, MutexGuard};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use std::{
    error::Error,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError},
};
use tokio::time::Instant;

/// A body that is stored while any number of readers read it.
pub(in crate::cache) struct Fill {
    state: Mutex<State>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) plan: Plan,
}

/// How a body is stored.
#[derive(Clone)]
pub(in crate::cache) struct Plan {
    /// How long the body is, by its `Content-Length`. Otherwise what the body says of itself counts.
    pub(in crate::cache) expected: Option<u64>,
    /// How long a body may be that is stored.
    pub(in crate::cache) limit: u64,
    pub(in crate::cache) abandoned: Abandoned,
    pub(in crate::cache) spawn: Spawn,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Outcome {
    Whole {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
    /// It is over the limit, and may still be on its way.
    TooLarge,
    /// The pieces that came, from the first byte on; [`joined`](super::joined) makes one of them. There are none where the framing is
    /// not to be believed.
    Broken {
        so_far: Vec<Bytes>,
    },
}

pub(super) type Done = Box<dyn FnOnce(Outcome) + Send>;

// ===== impl Fill =====

impl Fill {
    /// Begins to store a body, and reads it. There is a reader from the start, so `done` is called whatever happens:
    /// exactly once, under no lock, before any reader sees the end, from within a poll or a drop of a reader. Of an
    /// empty body nobody may ever ask for a frame, so for that it is called here.
    pub(in crate::cache) fn start<B>(
        body: B,
        mut plan: Plan,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> (Arc<Self>, Reader)
    where
        B: Body<Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        plan.expected = plan.expected.or_else(|| body.size_hint().exact());
        let is_empty = body.is_end_stream();
        let mut state = State::new(erased(body), Box::new(done), plan.limit, Instant::now());
        let slot = state.open_at(0);
        let fill = Arc::new(Self { state: Mutex::new(state), waiting: Arc::new(Waiting::new()), plan });
        let reader = Reader::new(Arc::clone(&fill), slot, None);
        if is_empty {
            fill.end_empty(slot);
        }
        (fill, reader)
    }

    /// Reads the whole body, or a range of it that lies within: each byte as soon as it is there. `None` if that cannot
    /// come any more: the body broke off, or it is over the limit and its beginning is gone.
    pub(in crate::cache) fn reader(self: &Arc<Self>, range: Option<Range<u64>>) -> Option<Reader> {
        let slot = self.lock().open(range.as_ref().map_or(0, |range| range.start))?;
        Some(Reader::new(Arc::clone(self), slot, range))
    }

    /// How long the body is, or is said to be.
    pub(in crate::cache) fn expected(&self) -> Option<u64> {
        self.plan.expected
    }

    fn end_empty(&self, slot: usize) {
        let next = self.lock().next(slot, 0, u64::MAX);
        if let Next::Turn(origin) = next {
            Turn::new(self, slot, origin).end(None);
        }
    }

    /// One that read, or the task, has gone.
    pub(super) fn leave(self: &Arc<Self>, slot: usize, was_driver: bool) {
        // Dropped after the lock is given back.
        let _said = self.waiting.leave(slot);
        let mut state = self.lock();
        let lifts = state.leave(slot);
        if state.readers() > 0 {
            drop(state);
            if lifts {
                self.waiting.wake_but(None);
            }
        } else if state.has_driver() {
            // It goes on: what it reads is within the limit.
        } else if !was_driver && self.is_worth_finishing(&state) {
            let slot = state.open_driver();
            drop(state);
            (self.plan.spawn)(Box::pin(Drive::new(Arc::clone(self), slot)));
        } else if let Source::Open { origin, .. } = &mut state.source {
            let origin = origin.take();
            self.break_off(state, origin, BrokenOff::LET_GO, slot);
        }
    }

    /// Without a length it may never end: nobody waits for that.
    fn is_worth_finishing(&self, state: &State) -> bool {
        matches!(self.plan.abandoned, Abandoned::Finish)
            && matches!(state.source, Source::Open { .. })
            && self.plan.expected.is_some_and(|expected| expected <= self.plan.limit)
            && !state.is_passing()
    }

    /// The body has no end, and `origin` is it, if it was not let go before.
    pub(super) fn break_off(
        &self,
        mut state: MutexGuard<'_, State>,
        origin: Option<Origin>,
        error: BrokenOff,
        slot: usize,
    ) {
        let is_believed = !error.is_of_framing();
        state.source = Source::Broken(error);
        let done = state.done.take();
        let so_far = if is_believed && done.is_some() { state.chunks.pieces() } else { Vec::new() };
        drop(state);
        self.waiting.wake_but(Some(slot));
        drop(origin);
        if let Some(done) = done {
            done(Outcome::Broken { so_far });
        }
    }

    /// No foreign code runs under the lock, and nothing is left half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fill")
    }
}
