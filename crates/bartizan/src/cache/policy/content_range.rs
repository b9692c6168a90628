//! Which part of a representation a content is (RFC 9110 §14.4).

use super::{condition::only, range::number};
use http::{HeaderMap, HeaderValue, header};
use std::ops::Range;

/// What `Content-Range` says (RFC 9110 §14.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct ContentRange {
    pub(in crate::cache) range: Range<u64>,
    pub(in crate::cache) complete: Option<u64>,
}

/// The `Content-Range` of a part; how long everything is may be unknown.
pub(in crate::cache) fn content_range(range: &Range<u64>, complete: Option<u64>) -> HeaderValue {
    let (first, last) = (range.start, range.end.saturating_sub(1));
    let text = match complete {
        Some(complete) => format!("bytes {first}-{last}/{complete}"),
        None => format!("bytes {first}-{last}/*"),
    };
    HeaderValue::try_from(text).expect("digits are the value of a field")
}

// ===== impl ContentRange =====

impl ContentRange {
    /// Reads it. `None` if there is none, if it is not valid, or if it is that of a 416.
    pub(in crate::cache) fn read(head: &HeaderMap) -> Option<Self> {
        let value = only(head, &header::CONTENT_RANGE)?.as_bytes().trim_ascii();
        let (unit, rest) = value.split_at_checked(5)?;
        let rest = rest.strip_prefix(b" ").filter(|_| unit.eq_ignore_ascii_case(b"bytes"))?;
        let slash = rest.iter().position(|&byte| byte == b'/')?;
        let hyphen = rest[..slash].iter().position(|&byte| byte == b'-')?;
        let (first, last) = (number(&rest[..hyphen])?, number(&rest[hyphen + 1..slash])?);
        let complete = match &rest[slash + 1..] {
            b"*" => None,
            complete => Some(number(complete)?),
        };
        // RFC 9110 §14.4: what ends before it begins, or after everything ends, is not valid.
        if first > last || complete.is_some_and(|complete| last >= complete) {
            return None;
        }
        Some(Self { range: first..last.checked_add(1)?, complete })
    }
}

#[cfg(test)]
mod tests;
