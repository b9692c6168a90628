//! One who reads a body that is being stored.

use super::{
    broken::BrokenOff,
    state::{Next, Source},
    stream::Fill,
    turn::{Drove, Turn},
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    error::Error,
    fmt,
    future::Future,
    mem,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep};

/// The whole body, or a range of it, in slices of what is stored.
pub(in crate::cache) struct Reader {
    fill: Arc<Fill>,
    slot: usize,
    at: u64,
    /// Where the range ends. `u64::MAX` reads the trailers too.
    end: u64,
    is_over: bool,
    /// While the others have to read on first.
    patience: Option<Pin<Box<Sleep>>>,
}

// ===== impl Reader =====

impl Reader {
    pub(super) fn new(fill: Arc<Fill>, slot: usize, range: Option<Range<u64>>) -> Self {
        let Range { start: at, end } = range.unwrap_or(0..u64::MAX);
        Self { fill, slot, at, end, is_over: false, patience: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if self.is_over || self.at >= self.end {
                return Poll::Ready(self.finish(None));
            }
            let mut state = self.fill.lock();
            let next = state.next(self.slot, self.at, self.end);
            let said = match next {
                Next::Wait | Next::Held | Next::Turn(_) => self.fill.waiting.join(self.slot, cx.waker()),
                Next::Data { .. } | Next::Over { .. } | Next::Broken(_) => None,
            };
            let until = matches!(next, Next::Held).then(|| state.hold(Instant::now()));
            drop(state);
            drop(said);
            if until.is_none() {
                self.patience = None;
            }
            match next {
                Next::Data { data, lifts } => {
                    self.at += data.len() as u64;
                    if lifts {
                        self.fill.lift(Some(self.slot));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Next::Over { trailers } => {
                    let trailers = trailers.filter(|_| self.end == u64::MAX);
                    return Poll::Ready(self.finish(trailers.map(|trailers| Ok(Frame::trailers(trailers)))));
                }
                Next::Broken(error) => return Poll::Ready(self.finish(Some(Err(error)))),
                Next::Wait => return Poll::Pending,
                Next::Held => ready!(self.poll_patience(until, cx)),
                Next::Turn(origin) => match Turn::new(&self.fill, self.slot, origin).poll() {
                    Drove::On => {}
                    Drove::Pending => return Poll::Pending,
                    Drove::Again => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    /// Waits until those who are behind have had their time, and breaks them off. Without a runtime there is no time:
    /// then it waits until they have read, or gone.
    fn poll_patience(&mut self, until: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = until.filter(|_| tokio::runtime::Handle::try_current().is_ok()) else {
            return Poll::Pending;
        };
        let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if patience.deadline() != until {
            patience.as_mut().reset(until);
        }
        ready!(patience.as_mut().poll(cx));
        if self.fill.lock().cut(Instant::now()) {
            self.fill.waiting.wake_but(Some(self.slot));
        }
        Poll::Ready(())
    }

    /// The last frame, if any. From here on nobody waits for this reader.
    fn finish(&mut self, last: Option<Result<Frame<Bytes>, BrokenOff>>) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        if !mem::replace(&mut self.is_over, true) && self.fill.lock().finish(self.slot) {
            self.fill.lift(Some(self.slot));
        }
        last
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(ready!(self.poll_next(cx)).map(|came| came.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.at >= self.end || {
            let state = self.fill.lock();
            match &state.source {
                Source::Over { trailers } => {
                    self.at >= state.chunks.len() && (trailers.is_none() || self.end != u64::MAX)
                }
                Source::Open { .. } | Source::Broken(_) => false,
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = |end: u64| self.end.min(end).saturating_sub(self.at);
        if let Some(expected) = self.fill.expected() {
            return SizeHint::with_exact(rest(expected));
        }
        let state = self.fill.lock();
        let there = rest(state.chunks.len());
        // Trailers take a body without `Content-Length`, in HTTP/1.1.
        if matches!(&state.source, Source::Over { trailers } if trailers.is_none() || self.end != u64::MAX) {
            return SizeHint::with_exact(there);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(there);
        if self.end != u64::MAX {
            hint.set_upper(rest(u64::MAX));
        }
        hint
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.fill.leave(self.slot, false);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).finish_non_exhaustive()
    }
}
