//! How the body of a request goes on its way to the service, at the pace of a client.

use crate::Cause;
use bartizan::{Deadline, End, Watch};
use http::request;
use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How the body of a request goes: a service has its time from the last byte on, and answers for none that never came.
///
/// In the extensions of a request it says that its body comes as fast as a client sends it, and that its sender watches
/// that it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Upload(Arc<Course>);

#[derive(Debug)]
struct Course {
    taken: Mutex<Taken>,
    ended: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    /// When the last byte was taken.
    last: Instant,
    end: Option<End>,
}

/// How long a request may take in all whose body comes at the pace of a client.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl Upload {
    pub(crate) fn new() -> Self {
        let taken = Mutex::new(Taken { last: Instant::now(), end: None });
        Self(Arc::new(Course { taken, ended: Notify::new() }))
    }

    /// The limit of a request with this head, in the place of the usual one, if it has an upload.
    pub(crate) fn limit(head: &request::Parts) -> Option<Duration> {
        head.extensions.get::<Self>().map(|_| LONGEST)
    }

    /// Whether it is the client's fault that the body has no end.
    pub(crate) fn failed(&self) -> bool {
        self.lock().end == Some(End::Failed)
    }

    /// Ends when the service has all of the body, or wants no more of it; never, if the client breaks off.
    pub(crate) async fn handed_over(&self) {
        loop {
            let ended = self.0.ended.notified();
            let end = self.lock().end;
            match end {
                None => ended.await,
                Some(End::Failed) => pending().await,
                Some(End::Complete | End::Dropped) => return,
            }
        }
    }

    /// Ends when there has been no progress for `limit`, or at the deadline, and says which.
    pub(crate) async fn stalls(self, limit: Duration, deadline: Option<Deadline>) -> Cause {
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
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Upload {
    fn data(&mut self, _: usize) {
        self.lock().last = Instant::now();
    }

    fn end(self, end: End) {
        *self.lock() = Taken { last: Instant::now(), end: Some(end) };
        self.0.ended.notify_waiters();
    }
}
