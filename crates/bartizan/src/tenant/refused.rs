//! Why a request is refused, and what the client is told.

use crate::shared::{Problem, Refusal, RequestId};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request};

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

/// When a client may ask again after the directory was down, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

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

    /// The layer's own answer.
    pub(crate) fn to_response(self, head: &request::Parts) -> Response<Bytes> {
        let mut problem = Problem::new(self.status()).detail(self.detail()).member("code", self.error_type());
        if let Some(id) = RequestId::of(&head.extensions) {
            problem = problem.instance(format!("urn:request:{id}"));
        }
        let mut response = problem.to_response(&head.headers);
        if self == Self::DirectoryUnavailable {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        self.mark(response)
    }

    /// Marks an answer as a layer's own.
    pub(super) fn mark<B>(self, mut response: Response<B>) -> Response<B> {
        response.extensions_mut().insert(Refusal::new(self.error_type()));
        response
    }
}
