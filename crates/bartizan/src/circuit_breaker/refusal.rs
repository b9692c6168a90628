//! What a refused client gets.

use super::breaker::State;
use crate::shared::{GrpcStatus, OnRefusal, PreparedRefusal, Problem, Refusal, with_head};
use bartizan_store::Key;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use std::time::Duration;

/// Why a call was refused, and when it makes sense to come back.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub(super) key: Option<Key>,
    pub(super) state: State,
    /// In nanoseconds.
    pub(super) after: u64,
}

/// The answer, rendered once.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    prepared: PreparedRefusal,
    pub(super) instead: Option<OnRefusal<Refused>>,
}

pub(super) const ERROR_TYPE: &str = "breaker_open";

// ===== impl Refused =====

impl Refused {
    /// Whose breaker refuses, if there is one for each key.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Open; half-open, with all probes under way; or closed a moment ago, and not admitting all yet.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The time after which a retry makes sense, as `Retry-After` tells it: at least a second.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    fn seconds(&self) -> u64 {
        self.after.div_ceil(1_000_000_000).max(1)
    }
}

// ===== impl Answer =====

impl Answer {
    pub(super) fn new() -> Self {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("The service behind this one fails, and is left alone for a while. Send the request again later.");
        let refusal = Refusal::new(ERROR_TYPE);
        let prepared = PreparedRefusal::new(refusal, problem, GrpcStatus::UNAVAILABLE, "the service behind fails");
        Self { prepared, instead: None }
    }

    /// To this request, from which its fields and extensions are taken.
    pub(super) fn respond<B>(&self, refused: &Refused, request: &mut Request<B>) -> Box<Response<Bytes>> {
        let seconds = Some(refused.seconds());
        match &self.instead {
            None => self.prepared.respond(request, seconds),
            Some(instead) => {
                let response = with_head(request, |head| instead.answer(refused, head));
                Box::new(self.prepared.mark(response, seconds))
            }
        }
    }
}
