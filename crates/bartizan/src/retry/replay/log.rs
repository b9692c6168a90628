//! What went by of a body, and the body itself, from which the next frame comes.

use super::{
    error::BodyError,
    memory::{ReplayMemory, Taken},
    waiting::Waiting,
};
use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tokio::time::Instant;

/// A body that several may read, each from its beginning.
///
/// Whoever comes to the end of what went by polls the body itself, and what comes of that is there for all. Bytes are
/// kept by reference, not copied. What is too long is no longer kept: then the one who is furthest goes on alone.
pub(super) struct Log<B> {
    state: Mutex<State<B>>,
    waiting: Arc<Waiting>,
}

struct State<B> {
    source: Source<B>,
    /// What went by, as long as all of it is there.
    frames: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    /// How many data frames went by, kept or not.
    passed: usize,
    /// How many bytes were in them.
    bytes: u64,
    keeping: Keeping,
    /// What comes next was asked for, and was not there.
    is_awaited: bool,
    /// When the last came of what was awaited.
    came: Option<Instant>,
    /// Where those stand who read it.
    readers: Vec<Place>,
    opened: u32,
    /// Nobody will begin to read it any more.
    closed: bool,
}

/// Which reader stands behind how many frames.
struct Place {
    reader: u32,
    frames: usize,
}

enum Source<B> {
    Open(Pin<Box<B>>),
    Over,
    Broken(BodyError),
}

/// Whether everything is kept: how many bytes, up to how many, and what they take.
enum Keeping {
    Whole { taken: Taken, kept: usize, most: usize },
    Nothing,
}

/// One who reads a body from its beginning.
pub(super) struct Reader<B> {
    log: Arc<Log<B>>,
    number: u32,
    frames: usize,
    bytes: u64,
    is_over: bool,
}

/// So much of what is taken for a frame is not its bytes.
const FRAME: usize = mem::size_of::<Bytes>();
/// And so much of what is taken for a field of the trailers.
const FIELD: usize = mem::size_of::<(HeaderName, HeaderValue)>();
/// For so many frames there is place from the first one on.
const FEW: usize = 4;

// ===== impl Log =====

impl<B: Body> Log<B> {
    /// Keeps up to `most` bytes of `body`, and as much as the memory has place for. What is known to be longer is not
    /// kept from the start: it can be sent again only while nothing of it was read.
    pub(super) fn new(body: B, most: usize, memory: &ReplayMemory) -> Self {
        let fits = usize::try_from(body.size_hint().lower()).is_ok_and(|lower| lower <= most);
        let keeping = if fits { Keeping::Whole { taken: memory.part(), kept: 0, most } } else { Keeping::Nothing };
        let state = State {
            source: Source::Open(Box::pin(body)),
            frames: Vec::new(),
            trailers: None,
            passed: 0,
            bytes: 0,
            keeping,
            is_awaited: false,
            came: None,
            readers: Vec::with_capacity(1),
            opened: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), waiting: Arc::default() }
    }

    /// Opens a reader at the beginning.
    pub(super) fn open(self: &Arc<Self>) -> Reader<B> {
        let mut state = self.lock();
        state.opened += 1;
        let number = state.opened;
        state.readers.push(Place { reader: number, frames: 0 });
        Reader { log: Arc::clone(self), number, frames: 0, bytes: 0, is_over: false }
    }

    /// Whether it can be read once more, after an answer or an error.
    pub(super) fn can_repeat(&self, is_answered: bool) -> bool {
        self.lock().can_repeat(is_answered)
    }

    pub(super) fn came(&self) -> Option<Instant> {
        self.lock().came
    }

    /// Gives up all readers that there are, if it can still be read once more: their attempts are over, though some may
    /// not know it yet.
    pub(super) fn take_over(&self, is_answered: bool) -> bool {
        let mut state = self.lock();
        if !state.can_repeat(is_answered) {
            return false;
        }
        state.readers.clear();
        drop(state);
        self.waiting.wake_but(None);
        true
    }
}

impl<B> Log<B> {
    /// Nobody will begin to read it any more: what the last one has read need not be kept.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.forget_if_unneeded();
    }

    /// Nothing in the state is ever left half done, so a body that panicked does no harm to it.
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl Reader =====

impl<B> Reader<B>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut state = self.log.lock();
        let came = ready!(state.next(self.number, self.frames, &self.log.waiting, cx));
        match came.as_ref().and_then(|came| came.as_ref().ok()?.data_ref()) {
            Some(data) => {
                self.frames += 1;
                self.bytes += data.len() as u64;
                state.moved(self.number, self.frames);
            }
            None => self.is_over = true,
        }
        drop(state);
        self.log.waiting.wake_but(Some(self.number));
        Poll::Ready(came)
    }
}

impl<B: Body> Reader<B> {
    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.log.lock();
        self.is_over
            || self.frames == state.passed
                && match &state.source {
                    Source::Open(body) => body.is_end_stream(),
                    Source::Over => state.trailers.is_none(),
                    Source::Broken(_) => false,
                }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = self.log.lock();
        let kept = state.bytes - self.bytes;
        let Source::Open(body) = &state.source else { return SizeHint::with_exact(kept) };
        let rest = body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(kept.saturating_add(upper));
        }
        hint.set_lower(kept.saturating_add(rest.lower()));
        hint
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.readers.retain(|place| place.reader != self.number);
        state.forget_if_unneeded();
        drop(state);
        self.log.waiting.leave(self.number);
    }
}

// ===== impl State =====

impl<B: Body> State<B> {
    /// If an answer came while it was half read, the two belong together. If it was not begun, the answer waited for
    /// nothing of it.
    fn can_repeat(&self, is_answered: bool) -> bool {
        self.is_untouched() || self.is_whole() && (!is_answered || self.is_read())
    }

    /// Nothing was read: another attempt costs nothing.
    fn is_untouched(&self) -> bool {
        self.passed == 0 && matches!(self.source, Source::Open(_))
    }

    /// Everything that was read so far can be read once more.
    fn is_whole(&self) -> bool {
        match self.source {
            Source::Broken(_) => false,
            Source::Open(_) | Source::Over => matches!(self.keeping, Keeping::Whole { .. }) || self.passed == 0,
        }
    }

    /// It was read to its end.
    fn is_read(&self) -> bool {
        match &self.source {
            Source::Open(body) => body.is_end_stream() || body.size_hint().exact() == Some(0),
            Source::Over => true,
            Source::Broken(_) => false,
        }
    }
}

impl<B> State<B>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    /// What comes for a reader that stands here.
    fn next(
        &mut self,
        reader: u32,
        frames: usize,
        waiting: &Arc<Waiting>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.readers.iter().any(|place| place.reader == reader) {
            return Poll::Ready(Some(Err(BodyError::ABANDONED)));
        }
        if frames < self.passed {
            let kept = self.frames.get(frames).cloned();
            return Poll::Ready(Some(kept.map(Frame::data).ok_or(BodyError::OUTRUN)));
        }
        let body = match &mut self.source {
            Source::Over => return Poll::Ready(self.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers)))),
            Source::Broken(error) => return Poll::Ready(Some(Err(error.clone()))),
            Source::Open(body) => body,
        };
        waiting.join(reader, cx.waker());
        let waker = Waker::from(Arc::clone(waiting));
        let came = body.as_mut().poll_frame(&mut Context::from_waker(&waker));
        if mem::replace(&mut self.is_awaited, came.is_pending()) && came.is_ready() && !self.closed {
            self.came = Some(Instant::now());
        }
        let came = ready!(came);
        let is_over = came.is_none() || body.is_end_stream();
        let out = match came.map(|came| came.map(Frame::into_data)) {
            Some(Ok(Ok(mut data))) => {
                let data = data.copy_to_bytes(data.remaining());
                self.keep(&data);
                Some(Ok(Frame::data(data)))
            }
            Some(Ok(Err(frame))) => frame.into_trailers().ok().map(|trailers| {
                self.keep_trailers(trailers.clone());
                Ok(Frame::trailers(trailers))
            }),
            Some(Err(error)) => {
                let error = BodyError::source(error);
                self.source = Source::Broken(error.clone());
                self.forget();
                return Poll::Ready(Some(Err(error)));
            }
            None => None,
        };
        if is_over || out.is_none() || self.trailers.is_some() {
            self.source = Source::Over;
        }
        Poll::Ready(out)
    }

    fn keep(&mut self, data: &Bytes) {
        self.passed += 1;
        self.bytes += data.len() as u64;
        if self.takes_frame(data.len()) {
            self.frames.push(data.clone());
        } else {
            self.forget();
        }
    }

    /// Whether a frame of so many bytes more can be kept. Tiny ones are limited in their number too: what holds them
    /// takes more than their bytes.
    fn takes_frame(&mut self, bytes: usize) -> bool {
        let Keeping::Whole { most, .. } = self.keeping else { return false };
        if self.frames.len() >= 16 + most / (2 * FRAME) {
            return false;
        }
        if self.frames.len() < self.frames.capacity() {
            return self.takes(bytes, 0);
        }
        // Grown by hand, so that no more is there than was taken.
        let more = self.frames.capacity().max(FEW);
        let takes = self.takes(bytes, more * FRAME);
        if takes {
            self.frames.reserve_exact(more);
        }
        takes
    }

    /// Trailers end the body, so they are there for whoever has read all that came before.
    fn keep_trailers(&mut self, trailers: HeaderMap) {
        let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if !self.takes(bytes, trailers.len() * FIELD) {
            self.forget();
        }
        self.trailers = Some(trailers);
    }

    /// Whether so many bytes more can be kept, in what takes so many besides.
    fn takes(&mut self, bytes: usize, besides: usize) -> bool {
        let Keeping::Whole { taken, kept, most } = &mut self.keeping else { return false };
        let takes = *most - *kept >= bytes && taken.grow(bytes + besides);
        if takes {
            *kept += bytes;
        }
        takes
    }
}

impl<B> State<B> {
    fn moved(&mut self, reader: u32, frames: usize) {
        if let Some(place) = self.readers.iter_mut().find(|place| place.reader == reader) {
            place.frames = frames;
        }
        self.forget_if_unneeded();
    }

    /// Of two who stand side by side, one goes on first.
    fn forget_if_unneeded(&mut self) {
        if self.closed && self.readers.len() <= 1 && self.readers.iter().all(|place| place.frames == self.passed) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.keeping = Keeping::Nothing;
        self.frames = Vec::new();
    }
}
