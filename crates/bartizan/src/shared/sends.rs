//! How much of a response's body will be asked for.

use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body::Body;

/// How much of the response's body a server will ask for, before it lets it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// Nothing: the answer to `HEAD`, a 204, a 304, or a connection that was switched to something else.
    Nothing,
    /// This many bytes.
    Exactly(u64),
    /// All that comes.
    UntilTheEnd,
}

// ===== impl Sends =====

impl Sends {
    /// What a server will ask of this response to a request of this method.
    pub(crate) fn of<B: Body>(method: &Method, response: &Response<B>) -> Self {
        if is_without_body(method, response.status()) {
            return Self::Nothing;
        }
        let exact = response.body().size_hint().exact().or_else(|| content_length(response.headers()));
        exact.map_or(Self::UntilTheEnd, Self::Exactly)
    }

    /// Whether a server that lets the body go after so many bytes has had all that it wanted.
    pub(crate) fn are_over(self, sent: u64) -> bool {
        match self {
            Self::Nothing => true,
            Self::Exactly(bytes) => sent >= bytes,
            Self::UntilTheEnd => false,
        }
    }
}

/// RFC 9110 §6.4.1: which responses have no body, whatever their fields say.
fn is_without_body(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (method == Method::CONNECT && status.is_success())
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
