//! Which stored response a request selects (RFC 9111 §4.1).

use super::Normalise;
use http::{
    HeaderMap, HeaderName,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_LANGUAGE, COOKIE, PROXY_AUTHORIZATION, VARY,
    },
};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What `Vary` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Vary {
    /// Every request selects the response.
    Nothing,
    /// Those requests do whose fields of these names match; sorted, each once.
    Fields(Box<[HeaderName]>),
    /// `*`: no request does.
    Everything,
}

/// The fields that `Vary` names, as they stood in the request that a response answers; nothing else of it is kept.
///
/// What authenticates a client is kept as a digest, and so is what is long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Selecting {
    /// Each name with its normalised value; `None` if the request did not have it.
    fields: Box<[(HeaderName, Option<Box<[u8]>>)]>,
}

type Value = SmallVec<[u8; 128]>;

/// A response that varies by more than this is different for nearly every request.
const MOST_FIELDS: usize = 16;

/// What is longer is kept as its digest.
const LONGEST: usize = 128;

// ===== impl Vary =====

impl Vary {
    /// RFC 9110 §12.5.5: names on all lines, or `*` on any. What is no name can't be matched, and counts as `*`.
    pub(in crate::cache) fn read(headers: &HeaderMap) -> Self {
        let mut names = SmallVec::<[HeaderName; MOST_FIELDS]>::new();
        for line in headers.get_all(VARY) {
            for member in line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if member.is_empty() {
                    continue;
                }
                match HeaderName::from_bytes(member) {
                    Ok(name) if member != b"*" && names.len() < MOST_FIELDS => names.push(name),
                    _ => return Self::Everything,
                }
            }
        }
        if names.is_empty() {
            return Self::Nothing;
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::Fields(names.into_iter().collect())
    }
}

// ===== impl Selecting =====

impl Selecting {
    /// What a request has of the fields that `vary` names.
    pub(in crate::cache) fn of(vary: &Vary, request: &HeaderMap, normalise: Normalise) -> Self {
        match vary {
            Vary::Nothing | Vary::Everything => Self::default(),
            Vary::Fields(names) => Self::read(names, request, normalise),
        }
    }

    /// What another request has of the same fields.
    pub(in crate::cache) fn of_another(&self, request: &HeaderMap, normalise: Normalise) -> Self {
        Self::read(self.fields.iter().map(|(name, _)| name), request, normalise)
    }

    fn read<'a>(names: impl IntoIterator<Item = &'a HeaderName>, request: &HeaderMap, normalise: Normalise) -> Self {
        let value = |name: &HeaderName| Some(kept(name, normalised(name, request, normalise)?).into_vec().into());
        Self { fields: names.into_iter().map(|name| (name.clone(), value(name))).collect() }
    }

    /// RFC 9111 §4.1: each of the fields is absent in both, or matches.
    #[inline]
    pub(in crate::cache) fn matches(&self, request: &HeaderMap, normalise: Normalise) -> bool {
        self.fields.iter().all(|(name, value)| is_same(name, value.as_deref(), request, normalise))
    }

    /// Whether a response in one language is the one that the request likes best: all other fields match, and no language
    /// is accepted more than that of the response. §4.1 leaves it to the cache how it compares what means the same.
    pub(in crate::cache) fn matches_by_language(
        &self,
        request: &HeaderMap,
        response: &HeaderMap,
        normalise: Normalise,
    ) -> bool {
        let mut negotiates = false;
        let others = self.fields.iter().all(|(name, value)| {
            negotiates |= *name == ACCEPT_LANGUAGE;
            *name == ACCEPT_LANGUAGE || is_same(name, value.as_deref(), request, normalise)
        });
        normalise.languages && negotiates && others && speaks_the_best(request, response)
    }

    /// For telling apart who waits for what: equal values have equal ones.
    pub(in crate::cache) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (name, value) in &self.fields {
            (name.as_str(), value).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Each name and value.
    pub(in crate::cache) fn fields(&self) -> impl Iterator<Item = (&HeaderName, Option<&[u8]>)> {
        self.fields.iter().map(|(name, value)| (name, value.as_deref()))
    }

    /// The same again from what [`fields`](Self::fields) gave.
    pub(in crate::cache) fn from_fields(fields: impl IntoIterator<Item = (HeaderName, Option<Box<[u8]>>)>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }
}

fn is_same(name: &HeaderName, kept_value: Option<&[u8]>, request: &HeaderMap, normalise: Normalise) -> bool {
    let mut lines = request.get_all(name).iter();
    match (lines.next(), lines.next(), kept_value) {
        (None, _, None) => true,
        (None, _, Some(_)) | (Some(_), _, None) => false,
        (Some(line), None, Some(value)) if line.as_bytes() == value && !is_secret(name) => true,
        (Some(_), _, Some(value)) => {
            normalised(name, request, normalise).is_some_and(|other| kept(name, other).as_slice() == value)
        }
    }
}

fn is_secret(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || *name == COOKIE || *name == PROXY_AUTHORIZATION
}

/// A digest begins with a byte that no field can hold, so that no client can send one.
fn kept(name: &HeaderName, value: Value) -> Value {
    if value.len() <= LONGEST && !is_secret(name) {
        return value;
    }
    let digest = Sha256::digest(&value);
    let mut kept = Value::from_slice(&[0]);
    kept.extend_from_slice(&digest);
    kept
}

/// A field's value in the form in which it is compared; `None` if it is not there.
///
/// Lines are put together in their order (RFC 9110 §5.3), without the spaces round them. More is known of some fields.
fn normalised(name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> Option<Value> {
    let mut lines = request.get_all(name).iter();
    let mut value = Value::from_slice(lines.next()?.as_bytes().trim_ascii());
    for line in lines {
        value.extend_from_slice(b", ");
        value.extend_from_slice(line.as_bytes().trim_ascii());
    }
    if *name == ACCEPT_ENCODING && normalise.encoding {
        return Some(in_order(&value, |_| 0));
    }
    if normalise.languages {
        let is_weighed = *name == ACCEPT_LANGUAGE || *name == ACCEPT;
        return Some(if is_weighed { in_order(&value, |weight| 1000 - weight) } else { without_spaces(&value) });
    }
    Some(value)
}

/// The members of a list with weights, in lower case, sorted by `rank` of their weights and then by name; without those
/// that weigh nothing.
fn in_order(list: &[u8], rank: impl Fn(u16) -> u16) -> Value {
    let mut members: SmallVec<[(u16, SmallVec<[u8; 24]>); 12]> = weighed(list)
        .filter(|(_, weight)| *weight > 0)
        .map(|(member, weight)| (rank(weight), without_spaces(member).to_ascii_lowercase().into()))
        .collect();
    members.sort_unstable();
    members.dedup();
    let mut value = Value::new();
    for (at, (_, member)) in members.iter().enumerate() {
        // A step down in weight is told apart from a neighbour that is accepted as gladly.
        if at > 0 {
            value.push(if members[at - 1].0 == members[at].0 { b',' } else { b';' });
        }
        value.extend_from_slice(member);
    }
    value
}

/// Each member of a list with its weight in thousandths (RFC 9110 §12.4.2).
fn weighed(list: &[u8]) -> impl Iterator<Item = (&[u8], u16)> {
    let members = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    members.map(|member| {
        let mut parts = member.rsplitn(2, |&byte| byte == b';');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next());
        match (before, weight(last.trim_ascii())) {
            (Some(before), Some(weight)) => (before.trim_ascii(), weight),
            _ => (member, 1000),
        }
    })
}

fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), places @ ..] = parameter else { return None };
    let digits = match places {
        [] => &[][..],
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let thousandths = (0..3).fold(0, |sum, at| sum * 10 + u16::from(digits.get(at).map_or(0, |digit| digit - b'0')));
    Some((u16::from(whole - b'0') * 1000 + thousandths).min(1000))
}

/// Spaces round commas and semicolons mean nothing in a list; within a quoted string they do.
fn without_spaces(value: &[u8]) -> Value {
    let (mut out, mut quoted) = (Value::new(), false);
    let is_mark = |byte: Option<&u8>| matches!(byte, None | Some(b',' | b';'));
    for (at, &byte) in value.iter().enumerate() {
        quoted ^= byte == b'"';
        let next = || value[at..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        if quoted || !matches!(byte, b' ' | b'\t') || !(is_mark(out.last()) || is_mark(next())) {
            out.push(byte);
        }
    }
    out
}

/// Whether the response is in the one language that the request likes best.
fn speaks_the_best(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut spoken = response.get_all(CONTENT_LANGUAGE).iter();
    let (Some(spoken), None) = (spoken.next(), spoken.next()) else { return false };
    let mut lines = request.get_all(ACCEPT_LANGUAGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let best = weighed(line.as_bytes()).map(|(_, weight)| weight).max().unwrap_or_default();
    let mut liked = weighed(line.as_bytes()).filter(|(_, weight)| *weight == best && best > 0);
    let only = liked.next().filter(|_| liked.next().is_none());
    only.is_some_and(|(tag, _)| tag.eq_ignore_ascii_case(spoken.as_bytes().trim_ascii()))
}

#[cfg(test)]
#[path = "tests/vary.rs"]
mod tests;
