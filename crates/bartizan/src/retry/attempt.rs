//! Which attempt a request is, within one hop and across several.

use crate::shared::is_grpc;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use std::num::NonZeroU32;

/// Which attempt at a request this is, the first being 1. Stands in the extensions of every attempt but a first one. One
/// that a layer on this side has refused, and that goes [elsewhere](super::RetryLayer::elsewhere), counts for none.
///
/// It says the same of a request that came from elsewhere and is a retry *there*. Such a request gets half of the
/// attempts, or tiers of three times three calls would send 27. Only who knows the caller can tell, so nobody reads
/// the fields unasked: where your own services call, take it over, and give it to the requests that you send for it.
///
/// ```
/// use bartizan::retry::Attempt;
///
/// let inbound = http::Request::builder().header("x-retry-attempt", "2").body(())?;
/// // This service is called by our own gateway only.
/// let attempt = Attempt::told_by(inbound.headers()).unwrap_or(Attempt::FIRST);
///
/// let outbound = http::Request::get("http://users.internal/7").extension(attempt).body(())?;
/// assert!(Attempt::of(outbound.extensions()).is_retry());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(NonZeroU32);

pub(super) const X_RETRY_ATTEMPT: HeaderName = HeaderName::from_static("x-retry-attempt");
const ENVOY: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const GRPC: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

// ===== impl Attempt =====

impl Attempt {
    /// The first attempt.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    pub(super) fn new(number: u32) -> Self {
        NonZeroU32::new(number).map_or(Self::FIRST, Self)
    }

    /// Which attempt the request with these extensions is.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::FIRST)
    }

    /// What the caller says in `x-retry-attempt`, `x-envoy-attempt-count` or `grpc-previous-rpc-attempts`; the highest,
    /// if it says several. A stranger may say anything: ask only where you know who calls.
    #[must_use]
    pub fn told_by(headers: &HeaderMap) -> Option<Self> {
        Self::told_in(headers, &X_RETRY_ATTEMPT)
    }

    /// The same where the layer of the caller writes [another field](super::RetryLayer::attempt_field).
    #[must_use]
    pub fn told_in(headers: &HeaderMap, field: &HeaderName) -> Option<Self> {
        let number = |name: &HeaderName| headers.get(name)?.to_str().ok()?.parse::<u32>().ok();
        let told = [number(field), number(&ENVOY), number(&GRPC).and_then(|before| before.checked_add(1))];
        told.into_iter().flatten().max().map(Self::new)
    }

    /// The number, 1 for the first.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// Whether there was another one before.
    #[must_use]
    pub fn is_retry(self) -> bool {
        self > Self::FIRST
    }

    /// Tells it to the next hop, in gRPC's own field besides if the request is one of gRPC.
    pub(super) fn tell(self, headers: &mut HeaderMap, field: &HeaderName) {
        headers.insert(field, HeaderValue::from(self.number()));
        if is_grpc(headers) {
            headers.insert(GRPC, HeaderValue::from(self.number() - 1));
        }
    }
}
