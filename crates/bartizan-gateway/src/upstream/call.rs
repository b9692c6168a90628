//! What becomes of one call, for whoever made it.

use super::stack::Stacked;
use crate::Cause;
use bartizan::circuit_breaker::State;
use http::Extensions;
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

/// How often one call was sent, to whom, and how they do.
///
/// Who calls an [`Upstream`](crate::Upstream) may put it into the request's extensions, and ask it afterwards:
///
/// ```
/// use axum::body::Body;
/// use bartizan_gateway::{Attempts, Upstream};
/// use http::Request;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let orders = Upstream::new("orders", ["http://127.0.0.1:9"])?;
/// let attempts = Attempts::default();
/// let mut request = Request::get("/orders/1").body(Body::empty())?;
/// request.extensions_mut().insert(attempts.clone());
///
/// let answer = orders.oneshot(request).await;
/// println!("{} after {} attempts", if answer.is_ok() { "an answer" } else { "nothing" }, attempts.count());
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct Attempts(Arc<Sent>);

#[derive(Default)]
struct Sent {
    count: AtomicU32,
    /// A bit for each endpoint. From the 65th on two share one, and are avoided together.
    tried: AtomicU64,
    /// The endpoints of the upstream that was called last, and which of them was chosen last.
    chosen: Mutex<Option<(Arc<[Stacked]>, Option<usize>)>>,
    last_error: Mutex<Option<Cause>>,
}

// ===== impl Attempts =====

impl Attempts {
    /// How often the call has been sent to an endpoint so far. An attempt that the endpoint's breaker refused was not.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// What the breaker does by now of the endpoint that was chosen last, whether or not it has let the call pass. `None` if
    /// no [`Upstream`](crate::Upstream) was called, or the last one has chosen nobody.
    #[must_use]
    pub fn breaker(&self) -> Option<State> {
        let chosen = self.chosen();
        let (endpoints, chosen) = chosen.as_ref()?;
        Some(endpoints.get((*chosen)?)?.state.breaker.state())
    }

    /// Why the last attempt that brought no answer at all did not, if there was one.
    #[must_use]
    pub fn last_error(&self) -> Option<Cause> {
        *self.error()
    }

    /// Those of the call with these extensions.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get::<Self>()
    }

    /// A call begins, for the upstream with these endpoints. If it is not the one before, none of them has been tried.
    pub(super) fn ask(&self, endpoints: &Arc<[Stacked]>) {
        let mut chosen = self.chosen();
        if !chosen.as_ref().is_some_and(|(before, _)| Arc::ptr_eq(before, endpoints)) {
            self.0.tried.store(0, Ordering::Relaxed);
        }
        *chosen = Some((Arc::clone(endpoints), None));
    }

    pub(super) fn has_tried(&self, endpoint: usize) -> bool {
        self.0.tried.load(Ordering::Relaxed) & bit(endpoint) != 0
    }

    pub(super) fn choose(&self, endpoint: usize) {
        self.0.tried.fetch_or(bit(endpoint), Ordering::Relaxed);
        if let Some((_, chosen)) = &mut *self.chosen() {
            *chosen = Some(endpoint);
        }
    }

    pub(super) fn send(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, cause: Cause) {
        *self.error() = Some(cause);
    }

    fn chosen(&self) -> MutexGuard<'_, Option<(Arc<[Stacked]>, Option<usize>)>> {
        self.0.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> MutexGuard<'_, Option<Cause>> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, breaker, last_error) = (self.count(), self.breaker(), self.last_error());
        let mut attempts = f.debug_struct("Attempts");
        attempts.field("count", &count).field("breaker", &breaker).field("last_error", &last_error).finish()
    }
}

fn bit(endpoint: usize) -> u64 {
    1 << (endpoint % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_of_another_upstream_has_tried_is_nothing_to_avoid_in_the_next() {
        let (attempts, one, other) = (Attempts::default(), Arc::from([]), Arc::from([]));
        attempts.ask(&one);
        attempts.choose(1);
        attempts.send();
        attempts.ask(&one);
        assert!(attempts.has_tried(1), "by a retry further out");
        attempts.ask(&other);
        assert_eq!((attempts.has_tried(1), attempts.count()), (false, 1));
    }
}
