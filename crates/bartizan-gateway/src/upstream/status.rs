//! How the endpoints of an upstream do, for whoever shows it.

use bartizan::{
    circuit_breaker::{self, Metrics, Mode, State},
    fallback, retry, timeout,
};
use std::{fmt, sync::Arc, time::Duration};

/// How an endpoint does at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Where it is, such as `http://127.0.0.1:7102`.
    pub url: Arc<str>,
    /// What its breaker does with calls.
    pub breaker: State,
    /// Whether the breaker does so on its own, or was told to.
    pub mode: Mode,
    /// How long it is until the breaker would let a call pass; `None` if it would now.
    pub refuses_for: Option<Duration>,
    /// How many requests are under way, until the last bytes of their answers.
    pub in_flight: u32,
    /// How many calls there have been, and how they went.
    pub calls: Metrics,
}

/// What happens in an upstream, for [`Upstream::observe`](crate::Upstream::observe).
#[derive(Debug)]
#[non_exhaustive]
pub enum UpstreamEvent<'a> {
    /// Something was sent again, or was not.
    Retry(&'a retry::Event),
    /// The breaker of an endpoint has done something.
    Breaker {
        /// The endpoint, such as `http://127.0.0.1:7102`.
        endpoint: &'a str,
        /// What it has done.
        event: &'a circuit_breaker::Event<'a>,
    },
    /// An attempt was given up.
    AttemptTimeout {
        /// The endpoint, such as `http://127.0.0.1:7102`.
        endpoint: &'a str,
        /// Why.
        event: &'a timeout::Event,
    },
    /// A call was given up.
    TotalTimeout(&'a timeout::Event),
    /// The fallback has answered, or could not.
    Fallback(&'a fallback::Event),
}

/// Who watches, if anybody does.
#[derive(Clone, Default)]
pub(super) struct Observer(Option<Arc<Observe>>);

pub(super) type Observe = dyn Fn(&UpstreamEvent<'_>) + Send + Sync;

// ===== impl Observer =====

impl Observer {
    pub(super) fn new(observe: impl Fn(&UpstreamEvent<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    pub(super) fn get(&self) -> Option<Arc<Observe>> {
        self.0.clone()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "None" })
    }
}
