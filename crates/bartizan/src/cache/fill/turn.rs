//! One turn of polling the body for all.

use super::{
    broken::BrokenOff,
    chunks::joined,
    origin::Origin,
    stream::{Fill, Outcome},
};
use bytes::Bytes;
use http::HeaderMap;
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// What came of polling the body.
pub(super) enum Drove {
    /// There is something new for somebody.
    On,
    /// The waker is registered.
    Pending,
    /// An empty frame: to be polled again, after others had their turn.
    Again,
}

/// The body while it is polled, outside of the lock. A panic leaves no reader waiting.
pub(super) struct Turn<'a> {
    fill: &'a Fill,
    slot: usize,
    origin: Option<Origin>,
}

// ===== impl Turn =====

impl<'a> Turn<'a> {
    /// On behalf of the one in this slot, whose waker is registered.
    pub(super) fn new(fill: &'a Fill, slot: usize, origin: Origin) -> Self {
        Self { fill, slot, origin: Some(origin) }
    }

    pub(super) fn poll(mut self) -> Drove {
        let waker = Waker::from(Arc::clone(&self.fill.waiting));
        let mut context = Context::from_waker(&waker);
        let mut came = false;
        loop {
            let Some(origin) = &mut self.origin else { return Drove::On };
            let Poll::Ready(polled) = origin.as_mut().poll_frame(&mut context) else { return self.rest(came) };
            match polled {
                None => return self.end(None),
                Some(Err(error)) => return self.break_off(BrokenOff::origin(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() && !origin.is_end_stream() => {
                        self.rest(came);
                        return if came { Drove::On } else { Drove::Again };
                    }
                    Ok(data) => {
                        let is_over = origin.is_end_stream();
                        let Some(len) = self.push(data) else { return self.break_off(BrokenOff::TOO_LONG) };
                        came = true;
                        if is_over {
                            return self.end(None);
                        }
                        // All that was announced is there, and a server that has sent it may not ask for the end.
                        if self.fill.plan.expected != Some(len) {
                            return self.rest(came);
                        }
                    }
                    Err(frame) => return self.end(frame.into_trailers().ok()),
                },
            }
        }
    }

    /// How much there is with this, unless it is more than was announced.
    fn push(&self, data: Bytes) -> Option<u64> {
        let plan = &self.fill.plan;
        let mut state = self.fill.lock();
        let len = state.chunks.len() + data.len() as u64;
        if plan.expected.is_some_and(|expected| len > expected) {
            return None;
        }
        if !state.is_passing() && (len > plan.limit || plan.expected.is_some_and(|expected| expected > plan.limit)) {
            state.pass();
            let done = state.done.take();
            drop(state);
            if let Some(done) = done {
                done(Outcome::TooLarge);
            }
            state = self.fill.lock();
        }
        let is_alone = state.is_passing() && state.readers() < 2;
        drop(state);
        // Copied, so that it holds no more than its own bytes: what it came in may be a large buffer. Not for one who
        // will have read it before anything else happens.
        let data = if is_alone { data } else { Bytes::copy_from_slice(&data) };
        if !data.is_empty() {
            self.fill.lock().push(data);
        }
        Some(len)
    }

    /// The body waits for who polls it next.
    fn rest(&mut self, came: bool) -> Drove {
        let Some(origin) = self.origin.take() else { return Drove::On };
        let missed = self.fill.lock().rest(origin);
        if came || missed {
            self.fill.waiting.wake_but(Some(self.slot));
        }
        if came { Drove::On } else { Drove::Pending }
    }

    /// What is stored is stored before anybody sees the end: who asks then, finds it.
    pub(super) fn end(&mut self, trailers: Option<HeaderMap>) -> Drove {
        let mut state = self.fill.lock();
        if self.fill.plan.expected.is_some_and(|expected| expected != state.chunks.len()) {
            drop(state);
            return self.break_off(BrokenOff::TOO_SHORT);
        }
        let done = state.done.take();
        let pieces = if done.is_some() { state.chunks.pieces() } else { Vec::new() };
        drop(state);
        let whole = done.map(|done| {
            let bytes = joined(&pieces);
            done(Outcome::Whole { bytes: bytes.clone(), trailers: trailers.clone() });
            bytes
        });
        self.fill.lock().end(whole, trailers);
        drop(self.origin.take());
        self.fill.waiting.wake_but(Some(self.slot));
        Drove::On
    }

    fn break_off(&mut self, error: BrokenOff) -> Drove {
        let origin = self.origin.take();
        self.fill.break_off(self.fill.lock(), origin, error, self.slot);
        Drove::On
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.origin.is_some() {
            self.break_off(BrokenOff::LET_GO);
        }
    }
}
