//! What a layer must know of gRPC, which tells how a call went in fields of its own.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};

/// A status of gRPC, by its number (`google.rpc.Code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrpcStatus(pub(crate) u8);

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const GRPC: &[u8] = b"application/grpc";

/// Whether the message with this head is one of gRPC: its content type is `application/grpc`, with or without a suffix.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(rest) = headers.get(header::CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(GRPC)) else {
        return false;
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// Whether the client speaks gRPC, and has to be refused in its words. Its requests are all POST, so that most others pay
/// one comparison.
#[must_use]
#[inline]
pub fn speaks_grpc<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && is_grpc(request.headers())
}

impl GrpcStatus {
    pub(crate) const OK: Self = Self(0);
    pub(crate) const UNKNOWN: Self = Self(2);
    pub(crate) const INVALID_ARGUMENT: Self = Self(3);
    pub(crate) const DEADLINE_EXCEEDED: Self = Self(4);
    pub(crate) const PERMISSION_DENIED: Self = Self(7);
    pub(crate) const RESOURCE_EXHAUSTED: Self = Self(8);
    pub(crate) const INTERNAL: Self = Self(13);
    pub(crate) const UNAVAILABLE: Self = Self(14);
    pub(crate) const DATA_LOSS: Self = Self(15);

    /// The status in the fields of a head (a trailers-only answer) or in trailers. One that is no number from 0 to 16
    /// counts as `UNKNOWN`, as gRPC has it.
    pub(crate) fn of(fields: &HeaderMap) -> Option<Self> {
        let status = fields.get(STATUS)?.to_str().ok().and_then(|status| status.parse().ok());
        Some(status.filter(|status| *status <= 16).map_or(Self::UNKNOWN, Self))
    }

    /// The trailers-only answer with this status. `retry_after` tells the client when to try again, in seconds; without it,
    /// that it should not.
    pub(crate) fn trailers_only(self, message: &'static str, retry_after: Option<u64>) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(STATUS, HeaderValue::from(u16::from(self.0)));
        headers.insert(MESSAGE, HeaderValue::from_static(message));
        let pushback =
            retry_after.map_or(HeaderValue::from_static("-1"), |seconds| seconds.saturating_mul(1000).into());
        headers.insert(PUSHBACK, pushback);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: (HeaderName, &'static str)) -> HeaderMap {
        HeaderMap::from_iter([(field.0, HeaderValue::from_static(field.1))])
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let grpc = |value| is_grpc(&of((header::CONTENT_TYPE, value)));
        assert!(grpc("application/grpc") && grpc("application/grpc+proto") && grpc("application/grpc;charset=x"));
        assert!(!grpc("application/grpc-web") && !grpc("application/json") && !is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn a_status_that_is_none_counts_as_unknown() {
        let status = |value| GrpcStatus::of(&of((STATUS, value)));
        assert_eq!((status("0"), status("14")), (Some(GrpcStatus::OK), Some(GrpcStatus::UNAVAILABLE)));
        assert_eq!([status("17"), status("x"), status("")], [Some(GrpcStatus::UNKNOWN); 3]);
        assert_eq!(GrpcStatus::of(&HeaderMap::new()), None);
    }
}
