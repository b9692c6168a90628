//! Charging what a request really cost, once that is known.

use super::{
    limiter::Limiter,
    rules::{Due, Dues},
};
use crate::shared::{End, Watch};
use bartizan_store::{Decision, Stamp, Standing, Throttle};
use http::{StatusCode, response};
use smallvec::SmallVec;
use std::{fmt, sync::Arc};

/// How a request came out, for [`settle_by`](super::RateLimitLayer::settle_by).
#[derive(Debug)]
pub struct Outcome<'a> {
    response: Option<&'a response::Parts>,
    bytes: u64,
    end: End,
}

/// The open charge of a request, settled when the response's body ends, or when the request is given up.
pub(super) struct Settlement<T: Throttle>(Box<Open<T>>);

/// What is settled when it is dropped.
struct Open<T: Throttle> {
    limiter: Arc<Limiter<T>>,
    dues: Dues,
    stamps: SmallVec<[Stamp; 2]>,
    response: Option<response::Parts>,
    bytes: u64,
    end: End,
}

// ===== impl Outcome =====

impl Outcome<'_> {
    /// The head of the response; `None` if the service failed or the client left before there was one.
    #[must_use]
    pub fn response(&self) -> Option<&response::Parts> {
        self.response
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response.map(|response| response.status)
    }

    /// The bytes of body that were sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How it ended.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }
}

// ===== impl Settlement =====

impl<T: Throttle> Settlement<T> {
    pub(super) fn open(limiter: &Arc<Limiter<T>>, dues: &[Due], decision: &Decision) -> Self {
        let stamps = decision.standings().iter().map(Standing::stamp).collect();
        let (limiter, dues) = (Arc::clone(limiter), Dues::from_slice(dues));
        Self(Box::new(Open { limiter, dues, stamps, response: None, bytes: 0, end: End::Dropped }))
    }

    /// The head is there; the body follows.
    pub(super) fn respond(mut self, head: response::Parts) -> Self {
        self.0.response = Some(head);
        self
    }
}

impl<T: Throttle> Watch for Settlement<T> {
    fn data(&mut self, bytes: usize) {
        self.0.bytes += bytes as u64;
    }

    fn end(mut self, end: End) {
        self.0.end = end;
    }
}

impl<T: Throttle> Drop for Open<T> {
    fn drop(&mut self) {
        let outcome = Outcome { response: self.response.as_ref(), bytes: self.bytes, end: self.end };
        for (due, stamp) in self.dues.iter().zip(&self.stamps) {
            if let Some(settle) = self.limiter.rules.settle(due.policy) {
                self.limiter.store.settle(&self.limiter.rules.charge(due), *stamp, settle(&outcome));
            }
        }
    }
}

impl<T: Throttle> fmt::Debug for Settlement<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement").field("dues", &self.0.dues).finish_non_exhaustive()
    }
}
