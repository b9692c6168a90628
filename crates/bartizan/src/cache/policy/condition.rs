//! Conditions that a client asks under (RFC 9110 §13, RFC 9111 §4.3.2).

use super::{
    date,
    etag::{EntityTag, Wanted},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;
use std::time::{Duration, SystemTime};

/// Whether a client has what is stored already, so that it is told 304 and not sent it again.
///
/// `received` stands in for a response that says neither when it was modified nor when it was made.
pub(in crate::cache) fn is_not_modified(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: impl FnOnce() -> SystemTime,
) -> bool {
    // RFC 9110 §13.2.1: where the answer without the condition is no success, the condition is ignored.
    if !matches!(*method, Method::GET | Method::HEAD) || !status.is_success() {
        return false;
    }
    // Nearly always it is the tag as it was sent.
    if let Some(wanted) = only(request, &header::IF_NONE_MATCH)
        && EntityTag::of(stored).is_some_and(|tag| tag.written() == wanted.as_bytes())
    {
        return true;
    }
    // RFC 9110 §13.1.3: `If-None-Match` is the more exact, so that with it `If-Modified-Since` is ignored.
    if let Some(wanted) = Wanted::read(request, &header::IF_NONE_MATCH) {
        return wanted.matches(EntityTag::of(stored));
    }
    let Some(since) = date(request, &header::IF_MODIFIED_SINCE) else { return false };
    // RFC 9111 §4.3.2: without `Last-Modified`, when it was made; without `Date`, when it was received.
    let modified =
        date(stored, &header::LAST_MODIFIED).or_else(|| date(stored, &header::DATE)).unwrap_or_else(received);
    modified <= since
}

/// The head of a 304 (RFC 9110 §15.4.5): what a 200 would have said for other caches. `also` are the fields that are
/// for one kind of cache (RFC 9213).
pub(in crate::cache) fn not_modified_head(stored: &HeaderMap, also: &[HeaderName]) -> HeaderMap {
    const SAID: [HeaderName; 6] =
        [header::CACHE_CONTROL, header::CONTENT_LOCATION, header::DATE, header::ETAG, header::EXPIRES, header::VARY];
    // Other metadata may be sent only to guide a cache, and `Last-Modified` does if there is no better validator.
    let modified = (!stored.contains_key(header::ETAG)).then_some(header::LAST_MODIFIED);
    let is_said = |name: &HeaderName| SAID.contains(name) || also.contains(name) || modified.as_ref() == Some(name);
    // Less is left out than is said, mostly, and what is left out costs no more.
    let left_out: SmallVec<[&HeaderName; 8]> = stored.keys().filter(|name| !is_said(name)).collect();
    let mut head = stored.clone();
    for name in left_out {
        head.remove(name);
    }
    head
}

/// From here a year of two digits is looked for, so that it is one of 1971 to 2070: these dates are only compared with
/// each other.
const PIVOT: Duration = Duration::from_secs(50 * 31_556_952);

/// RFC 9110 §13.1.3: a value that is no date, or that stands on several lines, is ignored.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    date::parse(line.as_bytes(), SystemTime::UNIX_EPOCH + PIVOT)
}

/// The line of a field that has only one.
pub(in crate::cache) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests;
