//! How the body of a request goes on its way to the service.

use crate::Cause;
use bartizan::{Deadline, End, Watch};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How the body of a request goes: a service has its time from the last byte on, and answers for none that never came.
#[derive(Clone, Debug)]
pub(super) struct Upload(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    /// When the last byte was taken.
    last: Instant,
    /// Whether the client broke off, or sent what is no body.
    failed: bool,
}

impl Upload {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Taken { last: Instant::now(), failed: false })))
    }

    /// Whether it is the client's fault that the body has no end.
    pub(super) fn failed(&self) -> bool {
        self.lock().failed
    }

    /// Ends when there has been no progress for `limit`, or at the deadline, and says which.
    pub(super) async fn stalls(self, limit: Duration, deadline: Option<Deadline>) -> Cause {
        let deadline = deadline.map(Deadline::instant);
        loop {
            let last = self.lock().last;
            let stalled = last.checked_add(limit).unwrap_or_else(|| Deadline::after(limit).instant());
            sleep_until(deadline.map_or(stalled, |deadline| deadline.min(stalled))).await;
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Cause::Deadline;
            }
            if self.lock().last.checked_add(limit).is_some_and(|stalled| stalled <= Instant::now()) {
                return Cause::Timeout;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Upload {
    fn data(&mut self, _: usize) {
        self.lock().last = Instant::now();
    }

    fn end(self, end: End) {
        *self.lock() = Taken { last: Instant::now(), failed: end == End::Failed };
    }
}
