//! Why a response is not stored.

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum NotStored {
    /// The method is none whose responses are stored; or it is `POST`, and the response is none that a `GET` would get.
    Method,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response says `no-store`.
    NoStore,
    /// The response says `private`.
    Private,
    /// The response says `must-understand`, and the status is not understood.
    NotUnderstood,
    /// The request has `Authorization`, and the response does not say that others may have it.
    Authorization,
    /// The request has `Cookie`, and the response does not say that others may have it.
    Cookie,
    /// The response has `Set-Cookie`, and does not say that others may have it.
    SetCookie,
    /// The response says `Vary: *`.
    VaryAny,
    /// The status is about this request alone, or is never stored; or it is an error that says nothing of its freshness.
    Status,
    /// It is a part that cannot be combined with others.
    Part,
    /// The response says nothing of its freshness.
    NoFreshness,
    /// The response says `no-cache`, and cannot be validated.
    NoCache,
    /// The response names in `Connection` what is for everybody.
    Connection,
    /// The response has more tags than are kept.
    Tags,
    /// The response is stale on arrival, cannot be validated, and may not be used stale.
    Stale,
}

// ===== impl NotStored =====

impl NotStored {
    /// A word for the `detail` of `Cache-Status` (RFC 9211 §2.8).
    pub(in crate::cache) fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestNoStore => "request-no-store",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NotUnderstood => "must-understand",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::SetCookie => "set-cookie",
            Self::VaryAny => "vary",
            Self::Status => "status",
            Self::Part => "part",
            Self::NoFreshness => "no-freshness",
            Self::NoCache => "no-cache",
            Self::Connection => "connection",
            Self::Tags => "tags",
            Self::Stale => "stale",
        }
    }

    /// Whether the reason is in the request alone, and says nothing of the response.
    pub(in crate::cache) fn is_of_request(self) -> bool {
        matches!(self, Self::Method | Self::RequestNoStore | Self::Authorization | Self::Cookie)
    }

    /// Whether the next request for the same URL will most likely meet the same: the reason is in the response, and the
    /// response is no failure. What is in the request is not lasting: the next one may come without.
    pub(in crate::cache) fn is_lasting(self) -> bool {
        match self {
            Self::NoStore
            | Self::Private
            | Self::NotUnderstood
            | Self::SetCookie
            | Self::VaryAny
            | Self::NoFreshness
            | Self::NoCache
            | Self::Connection
            | Self::Tags
            | Self::Stale => true,
            Self::Method | Self::RequestNoStore | Self::Authorization | Self::Cookie | Self::Status | Self::Part => {
                false
            }
        }
    }
}
