//! Charging what a request really cost, once that is known.

use super::{
    limiter::Limiter,
    rules::{Due, Dues},
};
use crate::shared::{End, Sends, Watch};
use bartizan_store::{Decision, Stamp, Standing, Throttle};
use http::{Method, Response, StatusCode, response};
use http_body::Body;
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
    method: Method,
    response: Option<response::Parts>,
    sends: Sends,
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

    /// How it ended. A body of which all was sent that a client is to get is complete, though nobody asked for its end: that of
    /// an answer to `HEAD`, say, or one whose `Content-Length` was reached.
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
        let (method, sends) = (Method::GET, Sends::UntilTheEnd);
        Self(Box::new(Open { limiter, dues, stamps, method, response: None, sends, bytes: 0, end: End::Dropped }))
    }

    /// The request goes on; what is sent of its response depends on the method.
    pub(super) fn request(&mut self, method: &Method) {
        self.0.method.clone_from(method);
    }

    /// The head is there; the body follows.
    pub(super) fn respond<B: Body>(mut self, response: Response<B>) -> (Response<B>, Self) {
        self.0.sends = Sends::of(&self.0.method, &response);
        let (head, body) = response.into_parts();
        self.0.response = Some(head.clone());
        (Response::from_parts(head, body), self)
    }
}

impl<T: Throttle> Watch for Settlement<T> {
    fn data(&mut self, bytes: usize) {
        self.0.bytes += bytes as u64;
    }

    fn end(mut self, end: End) {
        let is_all_sent = end == End::Dropped && self.0.sends.are_over(self.0.bytes);
        self.0.end = if is_all_sent { End::Complete } else { end };
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
