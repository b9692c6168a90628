//! A part of a representation (RFC 9110 §14).

use super::{
    condition::{date, only},
    etag::EntityTag,
    fields,
};
use http::{HeaderMap, Method, StatusCode, header};
use smallvec::SmallVec;
use std::{ops::Range, time::Duration};

/// How many ranges one request may ask for. Who asks for more gets everything.
const RANGES: usize = 16;

/// The ranges that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct RangeAsk {
    ranges: SmallVec<[One; 2]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    /// From here to there, both counted in.
    Between(u64, u64),
    From(u64),
    Last(u64),
}

/// What a request for ranges gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Resolved {
    /// Everything, as if no range had been asked for.
    Full,
    One(Range<u64>),
    /// At least two, in the order in which they were asked for.
    Many(SmallVec<[Range<u64>; 4]>),
    /// 416.
    Unsatisfiable,
}

// ===== impl RangeAsk =====

impl RangeAsk {
    /// Reads `Range`. `None` if the request asks for everything, and also if what it asks for is not valid or not in bytes
    /// (RFC 9110 §14.2: it is ignored).
    pub(in crate::cache) fn read(request: &HeaderMap) -> Option<Self> {
        let value = only(request, &header::RANGE)?.as_bytes();
        let equals = value.iter().position(|&byte| byte == b'=')?;
        // RFC 9110 §14.1: the unit is case-insensitive.
        if !value[..equals].eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut ranges = SmallVec::new();
        for member in value[equals + 1..].split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            // RFC 9110 §14.2: many small ranges are how a server is kept busy.
            if ranges.len() == RANGES {
                return None;
            }
            ranges.push(One::read(member)?);
        }
        (!ranges.is_empty()).then_some(Self { ranges })
    }

    /// Which bytes these are of `complete`.
    pub(in crate::cache) fn resolve(&self, complete: u64) -> Resolved {
        let ranges: SmallVec<[_; 4]> = self.ranges.iter().filter_map(|range| range.of(complete)).collect();
        // RFC 9110 §14.1.2: the last bytes of nothing are satisfiable, but there is no way to write them.
        if complete == 0 && self.ranges.iter().any(|range| matches!(range, One::Last(1..))) {
            return Resolved::Full;
        }
        match &*ranges {
            [] => Resolved::Unsatisfiable,
            [one] => Resolved::One(one.clone()),
            // Ranges that come to more than everything overlap on purpose.
            many if many
                .iter()
                .try_fold(0, |sum: u64, one| sum.checked_add(one.end - one.start))
                .is_none_or(|sum| sum > complete) =>
            {
                Resolved::Full
            }
            _ => Resolved::Many(ranges),
        }
    }

    /// The range, if it is one and is told without knowing how long everything is.
    pub(super) fn closed(&self) -> Option<Range<u64>> {
        match *self.ranges {
            [One::Between(first, last)] => Some(first..last.checked_add(1)?),
            _ => None,
        }
    }
}

// ===== impl One =====

impl One {
    /// RFC 9110 §14.1.1: `first-last`, `first-` or `-last`. One that ends before it begins is not valid.
    fn read(member: &[u8]) -> Option<Self> {
        let hyphen = member.iter().position(|&byte| byte == b'-')?;
        match (&member[..hyphen], &member[hyphen + 1..]) {
            (b"", last) => Some(Self::Last(number(last)?)),
            (first, b"") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::Between(first, last))
            }
        }
    }

    fn of(self, complete: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Between(first, last) => first..last.saturating_add(1).min(complete),
            Self::From(first) => first..complete,
            Self::Last(length) => complete.saturating_sub(length)..complete,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// A number of digits only. One that is too large is larger than any length.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// Whether `Range` means anything for this request, if the answer without it had this status (RFC 9110 §14.2).
pub(in crate::cache) fn has_ranges(method: &Method, status: StatusCode) -> bool {
    *method == Method::GET && status == StatusCode::OK
}

/// RFC 9110 §13.1.5: whether the part that a client has is a part of what is stored. If not, `Range` is ignored. Without
/// `If-Range` the client does not ask.
pub(in crate::cache) fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if !request.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(value) = only(request, &header::IF_RANGE) else { return false };
    if let Some(tag) = EntityTag::parse(value.as_bytes()) {
        return EntityTag::of(stored).is_some_and(|stored| stored.matches_strongly(&tag));
    }
    // A date has to be the very same, and a strong validator: a second older than the answer (RFC 9110 §8.8.2.2), so that
    // the content cannot have changed twice within it.
    let Some(asked) = date(request, &header::IF_RANGE) else { return false };
    let strong = date(stored, &header::DATE)
        .is_some_and(|made| made.duration_since(asked).is_ok_and(|between| between >= Duration::from_secs(1)));
    strong && date(stored, &header::LAST_MODIFIED) == Some(asked)
}

/// Whether a field may be in a 416: not what describes a content that it has not, nor what would let another cache keep
/// it as the answer for this URI.
pub(super) fn stands_in_refusal(name: &http::HeaderName) -> bool {
    !fields::is_for_all(name) || [header::DATE, header::VARY].contains(name)
}

#[cfg(test)]
mod tests;
