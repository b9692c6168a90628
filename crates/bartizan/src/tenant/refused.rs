//! Why a request is refused, and what the client is told.

use crate::shared::{GrpcStatus, OnRefusal, PreparedRefusal, Problem, Refusal, Said, with_head};
use http::{Request, Response, StatusCode};

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// No source names a tenant. 400.
    Missing,
    /// A source names what can't be a tenant. 400.
    Malformed,
    /// More than one tenant is named, or one of them in a way that proxies could read differently. 400.
    Conflict,
    /// The tenant is none of those who are known. 403.
    Unknown,
    /// The directory can't tell. 503.
    DirectoryUnavailable,
}

/// What is answered: ours, rendered once, or what a user says instead.
#[derive(Clone)]
pub(super) struct Answers {
    /// By the number of the refusal.
    prepared: [PreparedRefusal; 5],
    pub(super) instead: Option<OnRefusal<Refused>>,
}

// ===== impl Refused =====

impl Refused {
    /// The status that it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Malformed | Self::Conflict => StatusCode::BAD_REQUEST,
            Self::Unknown => StatusCode::FORBIDDEN,
            Self::DirectoryUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// In one word of few, as in the problem's `code`, the [`Refusal`] mark and the access log.
    #[must_use]
    pub const fn error_type(self) -> &'static str {
        match self {
            Self::Missing => "tenant_missing",
            Self::Malformed => "tenant_malformed",
            Self::Conflict => "tenant_conflict",
            Self::Unknown => "tenant_unknown",
            Self::DirectoryUnavailable => "tenant_directory_unavailable",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Missing => "the request does not say which tenant it is for",
            Self::Malformed => "the name of a tenant is 1 to 63 of a-z, 0-9 and -, with no - at either end",
            Self::Conflict => "the request names its tenant more than once",
            Self::Unknown => "the request is for a tenant that is not known here",
            Self::DirectoryUnavailable => "whether this tenant is known can't be told at the moment",
        }
    }

    const fn grpc(self) -> GrpcStatus {
        match self {
            Self::Missing | Self::Malformed | Self::Conflict => GrpcStatus::INVALID_ARGUMENT,
            Self::Unknown => GrpcStatus::PERMISSION_DENIED,
            Self::DirectoryUnavailable => GrpcStatus::UNAVAILABLE,
        }
    }

    /// When a client may ask again, in seconds, if that makes sense.
    fn retry_after(self) -> Option<u64> {
        (self == Self::DirectoryUnavailable).then_some(5)
    }

    /// The layer's own answer.
    pub(crate) fn prepared(self) -> PreparedRefusal {
        let problem = Problem::new(self.status()).detail(self.detail());
        PreparedRefusal::new(Refusal::new(self.error_type()), problem, self.grpc(), self.detail())
    }
}

// ===== impl Answers =====

impl Answers {
    pub(super) fn new() -> Self {
        use Refused::{Conflict, DirectoryUnavailable, Malformed, Missing, Unknown};
        let prepared = [Missing, Malformed, Conflict, Unknown, DirectoryUnavailable].map(Refused::prepared);
        Self { prepared, instead: None }
    }

    /// The answer to this request, from which its fields and extensions are taken.
    pub(super) fn respond<B>(&self, refused: Refused, request: &mut Request<B>) -> Response<Said> {
        let prepared = &self.prepared[refused as usize];
        let Some(instead) = &self.instead else { return prepared.respond(request, refused.retry_after()) };
        prepared.mark(with_head(request, |head| instead.answer(&refused, head)), refused.retry_after())
    }
}
