//! What a refused client gets.

use super::{
    breaker::State,
    machine::{Nanos, SECOND},
};
use crate::shared::{Context, Flag, GrpcStatus, OnRefusal, PreparedRefusal, Problem, Refusal, Said, with_head};
use bartizan_store::Key;
use http::{Request, Response, StatusCode};
use std::time::Duration;

/// Why a call was refused, and when it makes sense to come back.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    pub(super) key: Option<Key>,
    pub(super) state: State,
    pub(super) after: Nanos,
}

/// The answer, rendered once.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    prepared: PreparedRefusal,
    pub(super) instead: Option<OnRefusal<Refused>>,
}

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
        Duration::from_secs(seconds(self.after))
    }
}

fn seconds(after: Nanos) -> u64 {
    after.div_ceil(SECOND).max(1)
}

// ===== impl Answer =====

impl Answer {
    pub(super) fn new() -> Self {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("The service behind this one fails, and is left alone for a while. Send the request again later.");
        let refusal = Refusal::new("breaker_open");
        let prepared = PreparedRefusal::new(refusal, problem, GrpcStatus::UNAVAILABLE, "the service behind fails");
        Self { prepared: prepared.flagged(Flag::UpstreamOverflow), instead: None }
    }

    /// Ours, to this request, from which its fields and extensions are taken.
    #[inline]
    pub(super) fn prepared<B>(&self, after: Nanos, request: &mut Request<B>) -> Response<Said> {
        self.prepared.respond(request, Some(seconds(after)))
    }

    /// Ours, or what a user says instead.
    pub(super) fn respond<B>(
        &self,
        refused: impl FnOnce() -> Refused,
        after: Nanos,
        request: &mut Request<B>,
    ) -> Response<Said> {
        let Some(instead) = &self.instead else { return self.prepared(after, request) };
        self.prepared.note(Context::of(request.extensions()));
        let response = with_head(request, |head| instead.answer(&refused(), head));
        self.prepared.mark(response, Some(seconds(after)))
    }
}
