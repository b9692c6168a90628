//! Which stored response a request selects (RFC 9111 §4.1).

use super::{Normalise, accept, fields};
use http::{HeaderMap, HeaderName, header};
use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct Selecting {
    fields: Box<[(HeaderName, Value)]>,
}

/// What is kept of a field of a request. That it was not there is something else than that it was empty.
#[derive(Clone, Debug)]
enum Value {
    Absent,
    /// Compared byte by byte, several lines as one.
    Literal(Box<[u8]>),
    /// Compared by what it means; as it was written only so that the same again is known at once.
    Meant {
        written: Box<[u8]>,
        meaning: Box<[u8]>,
    },
    /// Who the client is.
    Secret([u64; 2]),
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

    pub(super) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.fields.iter().map(|(name, _)| name)
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

impl Hash for Selecting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fields.hash(state);
    }
}

// ===== impl Value =====

/// What hides the values that tell who a client is. It is drawn anew in each process: what is kept of them can be
/// compared there and nowhere else, and nobody can search for two that are kept as the same.
static SECRETS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

impl Value {
    fn of(name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> Self {
        if !request.contains_key(name) {
            return Self::Absent;
        }
        if is_secret(name) {
            return Self::Secret(digest(name, request));
        }
        let mut written = Vec::new();
        combine(name, request, |bytes| written.extend_from_slice(bytes));
        let written = written.into_boxed_slice();
        match accept::meaning(name, &written, normalise) {
            Some(meaning) => Self::Meant { written, meaning: meaning.into_vec().into() },
            None => Self::Literal(written),
        }
    }

    fn matches(&self, name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> bool {
        let (Self::Literal(written) | Self::Meant { written, .. }) = self else {
            return match self {
                Self::Secret(stored) => request.contains_key(name) && digest(name, request) == *stored,
                _ => !request.contains_key(name),
            };
        };
        let mut lines = request.get_all(name).iter();
        let Some(first) = lines.next() else { return false };
        let single = lines.next().is_none();
        if single && first.as_bytes() == &**written {
            return true;
        }
        let mut here = accept::Text::new();
        combine(name, request, |bytes| here.extend_from_slice(bytes));
        match self {
            Self::Meant { meaning, .. } => {
                here.len() <= BYTES && accept::meaning(name, &here, normalise).is_some_and(|here| *here == **meaning)
            }
            _ => *here == **written,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Absent | Self::Secret(_) => 0,
            Self::Literal(written) => written.len(),
            Self::Meant { written, meaning } => written.len() + meaning.len(),
        }
    }

    /// What is compared.
    fn compared(&self) -> (u8, &[u8], [u64; 2]) {
        match self {
            Self::Absent => (0, &[], [0; 2]),
            Self::Literal(bytes) => (1, bytes, [0; 2]),
            Self::Meant { meaning, .. } => (2, meaning, [0; 2]),
            Self::Secret(digest) => (3, &[], *digest),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.compared() == other.compared()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.compared().hash(state);
    }
}

fn is_secret(name: &HeaderName) -> bool {
    [header::COOKIE, header::AUTHORIZATION, header::PROXY_AUTHORIZATION].contains(name)
}

fn digest(name: &HeaderName, request: &HeaderMap) -> [u64; 2] {
    SECRETS.each_ref().map(|secret| {
        let mut hasher = secret.build_hasher();
        // Byte by byte in effect: where one piece ends and the next begins does not count.
        combine(name, request, |bytes| hasher.write(bytes));
        hasher.finish()
    })
}

/// RFC 9111 §4.1: several lines are one, and the space round them does not count. HTTP/2 cuts `Cookie` into lines that
/// belong together with a semicolon (RFC 9113 §8.2.3).
fn combine(name: &HeaderName, request: &HeaderMap, mut put: impl FnMut(&[u8])) {
    let between: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
    for (nth, line) in request.get_all(name).iter().enumerate() {
        if nth > 0 {
            put(between);
        }
        put(line.as_bytes().trim_ascii());
    }
}

#[cfg(test)]
mod tests;
