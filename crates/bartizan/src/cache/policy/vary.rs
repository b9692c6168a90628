//! Which stored response a request selects (RFC 9111 §4.1).

mod value;

use self::value::{SECRETS, Value};
use super::{Normalise, fields};
use http::{HeaderMap, HeaderName, header};
use std::hash::BuildHasher;

/// How many fields a response may vary by, and how much of a request is kept for it. What goes beyond selects nothing.
const FIELDS: usize = 16;
const BYTES: usize = 4 * 1024;

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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Selecting {
    fields: Box<[(HeaderName, Value)]>,
}

// ===== impl Vary =====

impl Vary {
    /// Reads all lines of the field. What cannot be a name of a field is treated as `*`, as is a list too long to keep.
    pub(in crate::cache) fn read(response: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields::members(response, &header::VARY) {
            // RFC 9111 §4.1: `*` as a member, on whichever line, never matches.
            let Some(name) = (member != b"*").then(|| HeaderName::from_bytes(member).ok()).flatten() else {
                return Self::Everything;
            };
            if !names.contains(&name) {
                names.push(name);
            }
            if names.len() > FIELDS {
                return Self::Everything;
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        if names.is_empty() { Self::Nothing } else { Self::Fields(names.into()) }
    }
}

// ===== impl Selecting =====

impl Selecting {
    /// What the request of a response with this `Vary` selects it by. `None` if no request would: it varies by
    /// everything, or by more than is kept.
    pub(in crate::cache) fn of(vary: &Vary, request: &HeaderMap, normalise: Normalise) -> Option<Self> {
        let names = match vary {
            Vary::Nothing => &[][..],
            Vary::Fields(names) => names,
            Vary::Everything => return None,
        };
        let fields: Box<[_]> = names.iter().map(|name| (name.clone(), Value::of(name, request, normalise))).collect();
        (fields.iter().map(|(_, value)| value.len()).sum::<usize>() <= BYTES).then_some(Self { fields })
    }

    /// RFC 9111 §4.1: a stored response is used only if all that its `Vary` names is the same in both requests.
    #[inline]
    pub(in crate::cache) fn matches(&self, request: &HeaderMap, normalise: Normalise) -> bool {
        self.fields.iter().all(|(name, value)| value.matches(name, request, normalise))
    }

    /// Whether all matches but what `but` names.
    pub(super) fn matches_but(&self, but: &[HeaderName], request: &HeaderMap, normalise: Normalise) -> bool {
        self.fields.iter().all(|(name, value)| but.contains(name) || value.matches(name, request, normalise))
    }

    /// Whether the field of this name matches.
    pub(super) fn matches_one(&self, name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> bool {
        self.fields.iter().all(|(field, value)| field != name || value.matches(name, request, normalise))
    }

    pub(in crate::cache) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
    }

    /// What another request has of the same fields, for telling apart who waits for what.
    pub(in crate::cache) fn of_another(&self, request: &HeaderMap, normalise: Normalise) -> Self {
        let fields = self.fields.iter().map(|(name, _)| (name.clone(), Value::of(name, request, normalise)));
        Self { fields: fields.collect() }
    }

    /// What is compared of each field: its name, and a kind and a value that are equal where it is the same.
    pub(in crate::cache) fn compared(&self) -> impl Iterator<Item = (&HeaderName, u8, &[u8])> {
        self.fields.iter().map(|(name, value)| {
            let (kind, bytes, _) = value.compared();
            (name, kind, bytes)
        })
    }

    /// Whether it depends on who somebody is. What is kept of that means nothing outside of this process.
    pub(in crate::cache) fn is_personal(&self) -> bool {
        self.fields.iter().any(|(_, value)| value.is_secret())
    }

    /// What it takes beside itself, in bytes.
    pub(in crate::cache) fn weight(&self) -> usize {
        size_of_val(&*self.fields) + self.fields.iter().map(|(_, value)| value.len() + 32).sum::<usize>()
    }

    /// Whether every request matches, as the response has no `Vary`.
    pub(in crate::cache) fn is_anything(&self) -> bool {
        self.fields.is_empty()
    }

    /// The same for all requests that select the same, and for few others; it changes from process to process.
    pub(in crate::cache) fn fingerprint(&self) -> u64 {
        if self.fields.is_empty() { 0 } else { SECRETS[0].hash_one(self) }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
impl Selecting {
    /// As if `Vary` had named these.
    pub(in crate::cache) fn literally(fields: &[(HeaderName, &str)]) -> Self {
        let names = fields.iter().map(|(name, _)| name.clone()).collect();
        let request = fields.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
        let plain = Normalise { encoding: false, languages: false };
        Self::of(&Vary::Fields(names), &request, plain).expect("few and short")
    }
}
