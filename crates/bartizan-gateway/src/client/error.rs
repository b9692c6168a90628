//! Why a request brought no answer.

use crate::Cause;
use axum::BoxError;
use std::{error::Error, fmt};

/// Why a request of the plain client brought no answer.
#[derive(Debug)]
pub struct ClientError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Target(&'static str),
    Connect(BoxError),
    Send(hyper::Error),
}

// ===== impl ClientError =====

impl ClientError {
    pub(super) fn target(why: &'static str) -> Self {
        Self { kind: Kind::Target(why) }
    }

    pub(super) fn connecting(error: BoxError) -> Self {
        Self { kind: Kind::Connect(error) }
    }

    pub(super) fn sending(error: hyper::Error) -> Self {
        Self { kind: Kind::Send(error) }
    }

    /// Why, in one word of few.
    #[must_use]
    pub fn cause(&self) -> Cause {
        Cause::of_send(self)
    }

    /// Whether no connection could be made.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self.kind, Kind::Connect(_))
    }

    /// Whether the service certainly has done nothing about the request, so that any method may be sent again. A
    /// [`RetryLayer`](bartizan::retry::RetryLayer) round the client learns it by
    /// [`errors_by`](bartizan::retry::RetryLayer::errors_by).
    #[must_use]
    pub fn is_not_processed(&self) -> bool {
        match &self.kind {
            Kind::Target(_) | Kind::Connect(_) => true,
            Kind::Send(error) => error.is_canceled(),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Target(why) => write!(f, "the request can't be sent: {why}"),
            Kind::Connect(_) => f.write_str("no connection could be made"),
            Kind::Send(_) => f.write_str("the connection brought no answer"),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Target(_) => None,
            Kind::Connect(error) => Some(error.as_ref()),
            Kind::Send(error) => Some(error),
        }
    }
}
