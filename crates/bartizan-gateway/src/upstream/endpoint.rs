//! One endpoint, and what is remembered of it.

use super::{
    choice::{Candidate, Standing},
    stack::Leaf,
    status::EndpointStatus,
};
use bartizan::{circuit_breaker::Breaker, concurrency_limit::ConcurrencyLimit};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// One endpoint of an upstream: where it is, how it does, and the service that sends to it.
#[derive(Debug)]
pub(super) struct Endpoint<S> {
    pub(super) state: EndpointState,
    pub(super) service: S,
}

/// What clones and changed copies of an upstream share of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct EndpointState {
    pub(super) url: Arc<str>,
    pub(super) breaker: Breaker,
    /// It counts even where it limits nothing.
    pub(super) limit: ConcurrencyLimit,
    pub(super) connection: Leaf,
}

// ===== impl EndpointState =====

impl EndpointState {
    pub(super) fn candidate(&self, tried: bool) -> Candidate {
        let in_flight = self.limit.in_flight();
        let standing = match self.refuses_for() {
            Some(time) => Standing::Open(time),
            None if in_flight >= self.limit.limit() => Standing::Full,
            None => Standing::Takes,
        };
        Candidate { standing, tried, in_flight }
    }

    pub(super) fn status(&self) -> EndpointStatus {
        // Asked first: it may be that the breaker has been open for long enough.
        let refuses_for = self.refuses_for();
        let Self { url, breaker, limit, .. } = self;
        EndpointStatus {
            url: Arc::clone(url),
            breaker: breaker.state(),
            mode: breaker.mode(),
            refuses_for,
            in_flight: limit.in_flight(),
            calls: breaker.metrics(),
        }
    }

    fn refuses_for(&self) -> Option<Duration> {
        let until = self.breaker.would_pass().err()?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}
