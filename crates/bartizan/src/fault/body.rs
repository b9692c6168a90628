//! A body that may break.

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    error::Error,
    fmt,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

type BoxError = Box<dyn Error + Send + Sync>;

pin_project! {
    /// The response body of [`Faulty`](super::Faulty): that of the service untouched, or harmed, or none.
    #[derive(Debug)]
    pub struct FaultyBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        /// Of these there are so many that they carry no room for the others.
        Whole { #[pin] body: B },
        /// `None` is empty.
        Other { body: Option<Pin<Box<Harmed<B>>>> },
    }
}

pin_project! {
    #[derive(Debug)]
    struct Harmed<B> {
        // `None` when it has broken off.
        #[pin]
        body: Option<B>,
        harm: Harm,
    }
}

/// The error of a body that broke because somebody wanted it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(());

/// How a body is harmed.
#[derive(Debug)]
struct Harm {
    /// How many bytes may still pass.
    passing: Option<u64>,
    pace: Option<Pace>,
    /// What has come and was not handed over yet.
    held: Option<Bytes>,
    end: BadEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BadEnd {
    /// It has not come to that.
    No,
    /// The error is next, when a server has had the time to send what came before: at an error it drops that unsent.
    Soon,
    /// The error is next.
    Next,
    /// The error was handed over.
    Over,
}

/// So many bytes per second.
#[derive(Debug)]
struct Pace {
    bytes_per_second: NonZeroU32,
    /// When what was handed over has used up its time; `None` if the service has said nothing for a while.
    free_at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

// ===== impl FaultyBody =====

impl<B> FaultyBody<B> {
    /// The body of the service, untouched.
    #[inline]
    pub(super) fn whole(body: B) -> Self {
        Self { kind: Kind::Whole { body } }
    }

    /// The body of the service, cut off after so many bytes, or slowed.
    pub(super) fn harmed(body: B, truncated: Option<u64>, bandwidth: Option<NonZeroU32>) -> Self {
        if truncated.is_none() && bandwidth.is_none() {
            return Self::whole(body);
        }
        let pace = bandwidth.map(|bytes_per_second| Pace { bytes_per_second, free_at: None, sleep: None });
        Self::other(Some(body), Harm { passing: truncated, pace, held: None, end: BadEnd::No })
    }

    pub(super) fn empty() -> Self {
        Self { kind: Kind::Other { body: None } }
    }

    /// Fails at once.
    pub(super) fn broken() -> Self {
        Self::other(None, Harm { passing: None, pace: None, held: None, end: BadEnd::Next })
    }

    fn other(body: Option<B>, harm: Harm) -> Self {
        Self { kind: Kind::Other { body: Some(Box::pin(Harmed { body, harm })) } }
    }
}

/// Empty: what a layer further out answers with when it makes a response of its own, as tower-http's CORS does.
impl<B> Default for FaultyBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> Body for FaultyBody<B>
where
    B: Body<Error: Into<BoxError>>,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = BoxError;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Whole { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Other { body: Some(body) } => body.as_mut().poll_frame(cx),
            KindProj::Other { body: None } => Poll::Ready(None),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole { body } => body.is_end_stream(),
            Kind::Other { body } => body.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole { body } => body.size_hint(),
            Kind::Other { body } => body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint),
        }
    }
}

// ===== impl Harmed =====

impl<B> Body for Harmed<B>
where
    B: Body<Error: Into<BoxError>>,
    B::Data: From<Bytes>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        let harm = this.harm;
        loop {
            if let Some(data) = ready!(harm.poll_held(cx)) {
                return Poll::Ready(Some(Ok(Frame::data(data.into()))));
            }
            if harm.end == BadEnd::Soon {
                harm.end = BadEnd::Next;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if harm.end == BadEnd::Next {
                harm.end = BadEnd::Over;
                this.body.set(None);
                return Poll::Ready(Some(Err(Broken(()).into())));
            }
            let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
            let Poll::Ready(frame) = body.poll_frame(cx) else {
                harm.rest();
                return Poll::Pending;
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(mut data) => harm.hold(data.copy_to_bytes(data.remaining())),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !self.harm.has_more() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// What the whole body would have: a body that breaks off does not tell before.
    fn size_hint(&self) -> SizeHint {
        let Some(body) = &self.body else { return SizeHint::default() };
        let held = self.harm.held.as_ref().map_or(0, |held| held.len() as u64);
        let inner = body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

// ===== impl Harm =====

impl Harm {
    /// Takes what has come, as far as it may pass. The first byte beyond breaks the body.
    fn hold(&mut self, mut data: Bytes) {
        if let Some(passing) = &mut self.passing {
            match usize::try_from(*passing) {
                Ok(left) if data.len() > left => {
                    data.truncate(left);
                    self.end = BadEnd::Soon;
                    *passing = 0;
                }
                _ => *passing -= data.len() as u64,
            }
        }
        self.held = Some(data).filter(|data| !data.is_empty() || self.end == BadEnd::No);
    }

    /// The next bytes of those that are held, when it is time for them.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(held) = &mut self.held else { return Poll::Ready(None) };
        let Some(pace) = &mut self.pace else { return Poll::Ready(self.held.take()) };
        let slice = pace.slice().min(held.len());
        if pace.sleep.is_none() {
            pace.sleep = Some(Box::pin(sleep_until(pace.take(Instant::now(), slice))));
        }
        ready!(pace.sleep.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx)));
        pace.sleep = None;
        let data = held.split_to(slice);
        if held.is_empty() {
            self.held = None;
        }
        Poll::Ready(Some(data))
    }

    fn has_more(&self) -> bool {
        self.held.is_some() || matches!(self.end, BadEnd::Soon | BadEnd::Next)
    }

    /// The service itself is slow: time that nobody used is not made up for.
    fn rest(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.free_at = None;
        }
    }
}

// ===== impl Pace =====

impl Pace {
    /// What a tenth of a second carries, and a byte at least.
    fn slice(&self) -> usize {
        usize::try_from(self.bytes_per_second.get() / 10).unwrap_or(usize::MAX).max(1)
    }

    /// Takes the time for so many bytes: until when they are on their way.
    fn take(&mut self, now: Instant, bytes: usize) -> Instant {
        let earliest = now.checked_sub(MADE_UP_FOR).unwrap_or(now);
        let from = self.free_at.map_or(now, |free_at| free_at.max(earliest));
        *self.free_at.insert(from + time_for(bytes, self.bytes_per_second))
    }
}

/// What a reader or a timer that comes late may make up for: what a tenth of a second carries, so that a line of many
/// small pieces is not slower than it says, and no reader that has rested finds it faster.
const MADE_UP_FOR: Duration = Duration::from_millis(100);

fn time_for(bytes: usize, bytes_per_second: NonZeroU32) -> Duration {
    // A slice is small: no more than a tenth of what fits into 32 bits, or one byte.
    Duration::from_nanos(bytes as u64 * 1_000_000_000 / u64::from(bytes_per_second.get()))
}

// ===== impl Broken =====

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fault was injected: the body breaks off here")
    }
}

impl Error for Broken {}
