//! What goes wrong, for whom, and for how long.

use http::{StatusCode, request::Parts};
use std::{fmt, num::NonZeroU32, ops::RangeInclusive, sync::Arc, time::Duration};

/// Something that goes wrong, for [`Faults::inject`](super::Faults::inject).
///
/// Without further words it meets every request that the layer sees, as far as [`Faults::at_most`] lets it, until it is
/// healed.
///
/// [`Faults::at_most`]: super::Faults::at_most
#[derive(Clone)]
pub struct Fault {
    pub(super) kind: Kind,
    pub(super) share: f64,
    pub(super) lasting: Option<Duration>,
    pub(super) only: Option<Arc<Aim>>,
}

pub(super) type Aim = dyn Fn(&Parts) -> bool + Send + Sync;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Latency(RangeInclusive<Duration>),
    Status(StatusCode),
    Grpc(u8),
    Reset,
    Truncated(u64),
    Bandwidth(NonZeroU32),
}

/// How long an answer is held back: a duration, or any one in a range.
///
/// It is what [`Fault::latency`] takes, and has no use of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency(RangeInclusive<Duration>);

// ===== impl Fault =====

impl Fault {
    /// The answer comes this much later; with a range, by a random time in it. The service has been called, and what it
    /// was asked to do is done: a client that times out can't know.
    #[must_use]
    pub fn latency(latency: impl Into<Latency>) -> Self {
        Self::of(Kind::Latency(latency.into().0))
    }

    /// This status and nothing else is answered, and the service is not called.
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self::of(Kind::Status(status))
    }

    /// This status of gRPC (`google.rpc.Code`) is answered, as trailers only, and the service is not called.
    ///
    /// # Panics
    /// If there is no such status: the last one is 16.
    #[must_use]
    pub const fn grpc_status(code: u8) -> Self {
        assert!(code <= 16, "a status of gRPC is a number from 0 to 16");
        Self::of(Kind::Grpc(code))
    }

    /// The connection breaks before the answer, and the service is not called.
    ///
    /// A layer can't close a connection, but it can answer with a body that fails at once. hyper then closes a connection
    /// of HTTP/1.1 before it has sent the head, and resets a stream of HTTP/2. Where nobody writes the answer to a socket,
    /// as in a client's own stack, there is a head, and it says 502. So it does to `HEAD`: its answer has no body, and a 502
    /// is all that a layer can make of it.
    #[must_use]
    pub const fn reset() -> Self {
        Self::of(Kind::Reset)
    }

    /// The body breaks off after this many bytes, if it has more: its head has promised the whole.
    #[must_use]
    pub const fn truncated(after: u64) -> Self {
        Self::of(Kind::Truncated(after))
    }

    /// The body comes at this many bytes per second, ten times a second.
    #[must_use]
    pub const fn bandwidth(bytes_per_second: NonZeroU32) -> Self {
        Self::of(Kind::Bandwidth(bytes_per_second))
    }

    /// For this share of the requests it aims at: 0.5 is every other one, at random. By default all, and never more than
    /// [`Faults::at_most`](super::Faults::at_most).
    ///
    /// # Panics
    /// If it is not a number from 0 to 1.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        assert_share(share);
        self.share = share;
        self
    }

    /// For this long after it was injected. By default until it is healed.
    #[must_use]
    pub const fn lasting(mut self, time: Duration) -> Self {
        self.lasting = Some(time);
        self
    }

    /// Aims at the requests for which this is true. By default at all of them.
    #[must_use]
    pub fn only(mut self, aim: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.only = Some(Arc::new(aim));
        self
    }

    /// What goes wrong, in a word: `latency`, `status`, `grpc-status`, `reset`, `truncated` or `bandwidth`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Latency(_) => "latency",
            Kind::Status(_) => "status",
            Kind::Grpc(_) => "grpc-status",
            Kind::Reset => "reset",
            Kind::Truncated(_) => "truncated",
            Kind::Bandwidth(_) => "bandwidth",
        }
    }

    pub(super) fn aims_at(&self, head: &Parts) -> bool {
        self.only.as_ref().is_none_or(|aim| aim(head))
    }

    const fn of(kind: Kind) -> Self {
        Self { kind, share: 1.0, lasting: None, only: None }
    }
}

pub(super) const fn assert_share(share: f64) {
    assert!(0.0 <= share && share <= 1.0, "a share is a number from 0 to 1");
}

/// One fault will do where several can be.
impl From<Fault> for Vec<Fault> {
    fn from(fault: Fault) -> Self {
        vec![fault]
    }
}

/// What a person reads: `latency 200ms to 800ms, 30 % of requests`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &self.kind {
            Kind::Latency(range) if range.start() == range.end() => write!(f, " {:?}", range.start())?,
            Kind::Latency(range) => write!(f, " {:?} to {:?}", range.start(), range.end())?,
            Kind::Status(status) => write!(f, " {}", status.as_u16())?,
            Kind::Grpc(code) => write!(f, " {code}")?,
            Kind::Reset => {}
            Kind::Truncated(after) => write!(f, " after {after} bytes")?,
            Kind::Bandwidth(rate) => write!(f, " {rate} bytes per second")?,
        }
        if self.share < 1.0 {
            write!(f, ", {} % of requests", (self.share * 1000.0).round() / 10.0)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, share, lasting, only } = self;
        f.debug_struct("Fault")
            .field("kind", kind)
            .field("share", share)
            .field("lasting", lasting)
            .field("aims", &only.is_some())
            .finish()
    }
}

// ===== impl Latency =====

impl From<Duration> for Latency {
    fn from(latency: Duration) -> Self {
        Self(latency..=latency)
    }
}

impl From<RangeInclusive<Duration>> for Latency {
    /// # Panics
    /// If the range is empty.
    fn from(range: RangeInclusive<Duration>) -> Self {
        assert!(!range.is_empty(), "an empty range holds no latency");
        Self(range)
    }
}
