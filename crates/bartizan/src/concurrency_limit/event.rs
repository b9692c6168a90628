//! What a limit tells whoever watches it, and whom it refuses.

use std::time::Duration;

/// What a limit did, for [`ConcurrencyLimitLayer::observe`](super::ConcurrencyLimitLayer::observe).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A request has its permit, and goes on to the service.
    Admitted,
    /// A request waited this long for a permit, and for the service to be ready; what became of it follows, unless the
    /// service has failed.
    Waited(Duration),
    /// A request was refused.
    Refused(Refused),
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// There is no permit, and no queue to wait in.
    Full,
    /// There is no permit, and no place in the queue.
    QueueFull,
    /// No permit came in time, or the service was not ready.
    WaitedTooLong,
}
