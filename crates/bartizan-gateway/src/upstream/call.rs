//! What becomes of one call, for whoever made it.

use crate::Cause;
use http::Extensions;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

/// How often one call was sent, and to whom.
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
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Sent>);

#[derive(Debug, Default)]
struct Sent {
    count: AtomicU32,
    /// A bit for each endpoint. From the 65th on two share one, and are avoided together.
    tried: AtomicU64,
    last_error: Mutex<Option<Cause>>,
}

impl Attempts {
    /// How often the call has been sent to an endpoint so far. An attempt that the endpoint's breaker refused was not.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
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

    pub(super) fn has_tried(&self, endpoint: usize) -> bool {
        self.0.tried.load(Ordering::Relaxed) & bit(endpoint) != 0
    }

    pub(super) fn choose(&self, endpoint: usize) {
        self.0.tried.fetch_or(bit(endpoint), Ordering::Relaxed);
    }

    pub(super) fn send(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, cause: Cause) {
        *self.error() = Some(cause);
    }

    fn error(&self) -> MutexGuard<'_, Option<Cause>> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(endpoint: usize) -> u64 {
    1 << (endpoint % 64)
}
