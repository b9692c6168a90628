//! Conditional requests (RFC 9110 §13, RFC 9111 §4.3).

use super::date::{self, Dated};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY,
    },
};
use std::time::SystemTime;

/// RFC 9110 §15.4.5: what a 304 tells; `Last-Modified` only where there is no entity tag.
const TOLD: [HeaderName; 7] =
    [AGE, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY];

/// The longest list of entity tags that is sent to an origin.
const LONGEST: usize = 4 * 1024;

/// Whether the client has what is stored already (RFC 9111 §4.3.2).
///
/// RFC 9110 §13.2.2: if there is `If-None-Match`, `If-Modified-Since` does not count.
pub(in crate::cache) fn not_modified(request: &HeaderMap, stored: &HeaderMap, wall: SystemTime) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return request.get_all(IF_NONE_MATCH).iter().any(|line| names(line.as_bytes(), stored.get(ETAG)));
    }
    let Dated::At(since) = date::field(request, &IF_MODIFIED_SINCE, wall) else { return false };
    // RFC 9111 §4.3.2: without `Last-Modified`, by `Date`.
    match (date::field(stored, &LAST_MODIFIED, wall), date::field(stored, &DATE, wall)) {
        (Dated::At(modified), _) | (Dated::Absent, Dated::At(modified)) => modified <= since,
        _ => false,
    }
}

/// Whether a list of entity tags names one (RFC 9110 §13.1.2), by weak comparison (§8.8.3.2).
fn names(line: &[u8], stored: Option<&HeaderValue>) -> bool {
    let line = line.trim_ascii();
    if line == b"*" {
        return true;
    }
    let Some(stored) = stored.map(|tag| tag.as_bytes().trim_ascii()) else { return false };
    // What is no entity tag, as some origins write it without quotes, is at least itself.
    line == stored || opaque(stored).is_some_and(|stored| tags(line).any(|tag| tag == stored))
}

/// What stands between the quotes of one entity tag.
pub(super) fn opaque(tag: &[u8]) -> Option<&[u8]> {
    let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
    let opaque = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    opaque.iter().all(|&byte| is_etagc(byte)).then_some(opaque)
}

/// The tags of a list up to the first thing that is none. A comma may stand within a tag.
fn tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let open = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"")?;
        let end = open.iter().position(|&byte| !is_etagc(byte))?;
        let (tag, tail) = open.split_at(end);
        rest = tail.strip_prefix(b"\"")?;
        matches!(rest.trim_ascii_start(), [] | [b',', ..]).then_some(tag)
    })
}

fn is_etagc(byte: u8) -> bool {
    byte == b'!' || (byte > b'"' && byte != 0x7f)
}

/// The head of a 304 from a stored one.
pub(in crate::cache) fn not_modified_head(stored: &HeaderMap) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(TOLD.len() + 2);
    let by_date = !stored.contains_key(ETAG);
    for (name, value) in stored {
        let is_told = TOLD.contains(name) || name.as_str().ends_with("cache-control");
        if is_told || (by_date && *name == LAST_MODIFIED) {
            head.append(name.clone(), value.clone());
        }
    }
    head
}

/// Takes away what only the client has said of what he has: what is asked for is the whole.
pub(in crate::cache) fn take_conditions(request: &mut HeaderMap) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
}

/// Asks on condition that it is none of what is stored (RFC 9111 §4.3.1): with the tags of all, and with the date of the
/// one that the request selects. Says whether there was anything to ask by.
pub(in crate::cache) fn add_validators<'a>(
    request: &mut HeaderMap,
    selected: Option<&HeaderMap>,
    stored: impl Iterator<Item = &'a HeaderMap>,
) -> bool {
    let mut list = Vec::new();
    for tag in stored.filter_map(|headers| headers.get(ETAG)) {
        let tag = tag.as_bytes();
        let is_there = list.windows(tag.len().max(1)).any(|window| window == tag);
        if tag.is_empty() || is_there || list.len() + tag.len() > LONGEST {
            continue;
        }
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(tag);
    }
    let tags = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok().filter(|tags| !tags.is_empty());
    // As it was received, whatever its form: §4.3.1.
    let date = selected.and_then(|selected| selected.get(LAST_MODIFIED)).cloned();
    let asks = tags.is_some() || date.is_some();
    if let Some(tags) = tags {
        request.insert(IF_NONE_MATCH, tags);
    }
    if let Some(date) = date {
        request.insert(IF_MODIFIED_SINCE, date);
    }
    asks
}

#[cfg(test)]
#[path = "tests/condition.rs"]
mod tests;
