//! The fields that a cache keeps, and those that it does not (RFC 9111 §3.1, RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::time::SystemTime;

/// The fields of a response's head that are kept, line by line in their order; `None` if the response must not be
/// stored, as its `Connection` names a field on which its reuse depends.
///
/// `omit` are the names that `no-cache` and `private` tell (RFC 9111 §5.2.2.4, §5.2.2.7).
pub(in crate::cache) fn kept(head: &HeaderMap, omit: &[HeaderName]) -> Option<HeaderMap> {
    // RFC 9110 §7.6.1: what is for all recipients is never a connection option. Without it a stored response would say
    // something else than its origin meant, and with it the cache would pass on what it was told not to.
    if named_by_connection(head).any(|name| is_for_all(&name)) {
        return None;
    }
    let mut kept = HeaderMap::with_capacity(head.keys_len());
    copy(head, head, omit, &mut kept);
    Some(kept)
}

/// The trailer fields that are kept of a response with this head.
pub(in crate::cache) fn kept_trailers(head: &HeaderMap, trailers: &HeaderMap, omit: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::new();
    copy(head, trailers, omit, &mut kept);
    kept
}

/// RFC 9110 §6.6.1: a recipient with a clock writes down when a response without `Date` was received.
pub(in crate::cache) fn date_if_missing(head: &mut HeaderMap, received: SystemTime) {
    if !head.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(received))
    {
        head.insert(header::DATE, date);
    }
}

/// RFC 9111 §3.1: what concerns one connection or one proxy is not stored.
pub(super) fn is_for_one_hop(name: &HeaderName) -> bool {
    const HOP: [HeaderName; 7] = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
    ];
    HOP.contains(name) || matches!(name.as_str(), "proxy-connection" | "proxy-authentication-info")
}

/// The fields that `Connection` names. What is no name of a field names none.
pub(super) fn named_by_connection(head: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    members(head, &header::CONNECTION).filter_map(|member| HeaderName::from_bytes(member).ok())
}

/// The members of a list whose members are tokens, over all its lines. Empty ones are left out (RFC 9110 §5.6.1).
pub(super) fn members<'a>(head: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    head.get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether a field is for all who receive a response: what a cache decides by, and what says how its content is read.
pub(super) fn is_for_all(name: &HeaderName) -> bool {
    const ALL: [HeaderName; 12] = [
        header::AGE,
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::DATE,
        header::ETAG,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::LOCATION,
        header::PRAGMA,
        header::SET_COOKIE,
        header::VARY,
        header::WWW_AUTHENTICATE,
    ];
    let text = name.as_str();
    ALL.contains(name) || text.starts_with("content-") || text.ends_with("-cache-control")
}

fn copy(head: &HeaderMap, fields: &HeaderMap, omit: &[HeaderName], kept: &mut HeaderMap) {
    let named: Vec<_> = named_by_connection(head).collect();
    for (name, value) in fields {
        if !is_for_one_hop(name) && !named.contains(name) && !omit.contains(name) {
            kept.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests;
