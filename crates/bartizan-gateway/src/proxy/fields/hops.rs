//! What belongs to one connection, and goes no further.

use super::{
    forwarding::is_claim,
    head::{lists, members},
};
use crate::request_id::X_REQUEST_ID;
use http::{HeaderMap, HeaderName, HeaderValue, header};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that belong to one connection, whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; HOPS] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TE,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];
const HOPS: usize = 9;
/// Where two of them stand there.
const CONNECTION: usize = 0;
const TRANSFER_ENCODING: usize = 1;

/// What `Connection` says beside names of fields, or of fields that are dropped anyway.
const OPTIONS: [&str; 4] = ["keep-alive", "close", "te", "upgrade"];

/// Fields that belong to the whole way, as [claims](is_claim) do. Who names one in `Connection` makes an invalid message
/// (RFC 9110 §7.6.1), and must not be able to take away what stands there for the service behind, or for the caches before
/// it.
const END_TO_END: [HeaderName; 22] = [
    header::AGE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::PRAGMA,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::VIA,
    X_REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// RFC 9110 §7.6.1: drops the fields that are meant for this connection only, and those that `Connection` names.
/// `Trailer` stays: the trailers that it announces go on, and what is to be kept whatever `Connection` names.
pub(in crate::proxy) fn strip_hop_by_hop(headers: &mut HeaderMap, keep: &[HeaderName]) {
    // Most messages have one of them, or none: to look at what is there is quicker than to look for each.
    let mut there = [false; HOPS];
    for name in headers.keys() {
        if let Some(at) = HOP_BY_HOP.iter().position(|hop| hop == name) {
            there[at] = true;
        }
    }
    if there[CONNECTION] {
        strip_named(headers, keep);
    }
    // RFC 9112 §6.3: a length beside a transfer coding is a lie, and whoever believes it reads another message.
    if there[TRANSFER_ENCODING] {
        headers.remove(header::CONTENT_LENGTH);
    }
    for (name, _) in HOP_BY_HOP.iter().zip(there).filter(|(_, is_there)| *is_there) {
        headers.remove(name);
    }
}

/// Drops the fields that `Connection` names, and no others.
pub(in crate::proxy) fn strip_named(headers: &mut HeaderMap, keep: &[HeaderName]) {
    let is_field = |name: &&str| !OPTIONS.iter().any(|option| name.eq_ignore_ascii_case(option));
    let named = members(headers, &header::CONNECTION).filter(is_field).filter_map(|name| name.parse().ok());
    for name in named.collect::<Vec<HeaderName>>() {
        if !END_TO_END.contains(&name) && !is_claim(&name) && !keep.contains(&name) {
            headers.remove(name);
        }
    }
}

/// Drops them from a request, but still asks for trailers if the client does: we pass them on, and the service may not
/// send them unasked. RFC 9110 §10.1.4: `TE` is itself named in `Connection`.
pub(in crate::proxy) fn strip_request(headers: &mut HeaderMap, keep: &[HeaderName]) {
    let takes_trailers = lists(headers, &header::TE, "trailers");
    strip_hop_by_hop(headers, keep);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// RFC 9112 §6.1: the one transfer coding that we know is `chunked`, once. A body in another would go on as what it is
/// not.
pub(in crate::proxy) fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => false,
        (Some(coding), None) => !coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    }
}
