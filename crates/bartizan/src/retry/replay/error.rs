//! Why a body has no end.

use std::{error, fmt, sync::Arc};

/// Why a request's body came to no end: its source failed, or it was given up.
///
/// What the source has failed with is its [`source`](error::Error::source).
#[derive(Clone, Debug)]
pub struct BodyError {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Source(Arc<dyn error::Error + Send + Sync>),
    Abandoned,
    Outrun,
}

// ===== impl BodyError =====

impl BodyError {
    /// Another attempt has begun, and nobody wants this one's answer any more.
    pub(super) const ABANDONED: Self = Self { kind: Kind::Abandoned };
    /// The body became too long to be kept for a second reader that lags behind.
    pub(super) const OUTRUN: Self = Self { kind: Kind::Outrun };

    pub(super) fn source(error: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Source(Arc::from(error.into())) }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Source(_) => "the request's body broke off",
            Kind::Abandoned => "the request is being sent again",
            Kind::Outrun => "the request's body is too long to be read by two attempts",
        })
    }
}

impl error::Error for BodyError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            Kind::Source(error) => Some(&**error),
            Kind::Abandoned | Kind::Outrun => None,
        }
    }
}
