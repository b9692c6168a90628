//! Charging what a request really cost, once that is known.

use super::{limiter::Limiter, rules::Dues};
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
pub struct Settlement<T: Throttle>(Option<Box<Open<T>>>);

struct Open<T> {
    limiter: Arc<Limiter<T>>,
    dues: Dues,
    stamps: SmallVec<[Stamp; 2]>,
    response: Option<response::Parts>,
    bytes: u64,
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
    pub(super) fn open(limiter: &Arc<Limiter<T>>, dues: Dues, decision: &Decision) -> Self {
        let stamps = decision.standings().iter().map(Standing::stamp).collect();
        Self(Some(Box::new(Open { limiter: Arc::clone(limiter), dues, stamps, response: None, bytes: 0 })))
    }

    /// The head is there; the body follows.
    pub(super) fn respond(mut self, head: response::Parts) -> Self {
        if let Some(open) = &mut self.0 {
            open.response = Some(head);
        }
        self
    }

    fn settle(&mut self, end: End) {
        let Some(open) = self.0.take() else { return };
        let Some(settle) = &open.limiter.rules.settle else { return };
        let actual = settle(&Outcome { response: open.response.as_ref(), bytes: open.bytes, end });
        for (due, stamp) in open.dues.iter().zip(&open.stamps) {
            open.limiter.store.settle(&open.limiter.rules.charge(due), *stamp, actual);
        }
    }
}

impl<T: Throttle> Watch for Settlement<T> {
    fn data(&mut self, bytes: usize) {
        if let Some(open) = &mut self.0 {
            open.bytes += bytes as u64;
        }
    }

    fn end(mut self, end: End) {
        self.settle(end);
    }
}

impl<T: Throttle> Drop for Settlement<T> {
    fn drop(&mut self) {
        self.settle(End::Dropped);
    }
}

impl<T: Throttle> fmt::Debug for Settlement<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settlement").field("is_open", &self.0.is_some()).finish()
    }
}
