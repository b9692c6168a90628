//! A refusal is a response that a layer made itself.

use bytes::Bytes;
use http::{Response, request};
use std::{fmt, sync::Arc};

/// The mark on a response that one of our layers made instead of calling the service.
///
/// It stands in the response's extensions: a retry further out does not retry what we refused ourselves, and the
/// access log tells why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    error_type: &'static str,
}

/// What a user put in the place of a layer's own refusal.
///
/// The function sees why the layer refuses (`R`) and the head of the request.
pub(crate) struct OnRefusal<R>(Arc<AnswerTo<R>>);

type AnswerTo<R> = dyn Fn(&R, &request::Parts) -> Response<Bytes> + Send + Sync;

// ===== impl Refusal =====

impl Refusal {
    /// A refusal of the kind `error_type`, such as `rate_limited`: the value of OpenTelemetry's `error.type`.
    #[must_use]
    pub const fn new(error_type: &'static str) -> Self {
        Self { error_type }
    }

    /// Why, in one word of few: `rate_limited`, `tenant_missing`, …
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        self.error_type
    }
}

// ===== impl OnRefusal =====

impl<R> OnRefusal<R> {
    pub(crate) fn new(f: impl Fn(&R, &request::Parts) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    pub(crate) fn answer(&self, refused: &R, head: &request::Parts) -> Response<Bytes> {
        (self.0)(refused, head)
    }
}

impl<R> Clone for OnRefusal<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> fmt::Debug for OnRefusal<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRefusal")
    }
}
