//! The fields that a cache keeps, and those that it does not (RFC 9111 §3.1, RFC 9110 §7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
        DATE, ETAG, EXPIRES, LAST_MODIFIED, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE,
        TRANSFER_ENCODING, UPGRADE, VARY,
    },
};

/// For one connection only, or for one proxy.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What `Connection` cannot take away: a response without it would be stored as another one than was sent. An origin that
/// names one of these there has made a mistake, or somebody on the way has.
const NEVER_FOR_ONE_CONNECTION: [HeaderName; 14] = [
    AGE,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    ETAG,
    EXPIRES,
    LAST_MODIFIED,
    LOCATION,
    SET_COOKIE,
    VARY,
];

/// Whether a field of these is for the connection that it came on (RFC 9110 §7.6.1).
pub(in crate::cache) fn is_for_connection(name: &HeaderName, headers: &HeaderMap) -> bool {
    HOP_BY_HOP.contains(name) || (!NEVER_FOR_ONE_CONNECTION.contains(name) && is_named_in_connection(name, headers))
}

fn is_named_in_connection(name: &HeaderName, headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    named.any(|member| member.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// The fields of a response as they are stored: every line, in its order, without those that are for this connection, and
/// without those in `omit`. There is a place for `Age`, which is another one each time.
pub(in crate::cache) fn stored_fields(headers: &HeaderMap, omit: &[HeaderName]) -> HeaderMap {
    let mut stored = HeaderMap::with_capacity(headers.keys_len() + 2);
    for (name, value) in headers {
        if *name != AGE && !omit.contains(name) && !is_for_connection(name, headers) {
            stored.append(name.clone(), value.clone());
        }
    }
    stored.insert(AGE, HeaderValue::from_static("0"));
    stored
}

#[cfg(test)]
#[path = "tests/fields.rs"]
mod tests;
