//! A field of a request, as much of it as has to be kept.

use super::{
    super::{Normalise, accept},
    BYTES,
};
use http::{HeaderMap, HeaderName, header};
use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

/// What is kept of a field of a request. That it was not there is something else than that it was empty.
#[derive(Clone, Debug)]
pub(super) enum Value {
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

/// What hides the values that tell who a client is. It is drawn anew in each process: what is kept of them can be
/// compared there and nowhere else, and nobody can search for two that are kept as the same.
pub(super) static SECRETS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

// ===== impl Value =====

impl Value {
    pub(super) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }

    pub(super) fn of(name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> Self {
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

    pub(super) fn matches(&self, name: &HeaderName, request: &HeaderMap, normalise: Normalise) -> bool {
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

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Absent | Self::Secret(_) => 0,
            Self::Literal(written) => written.len(),
            Self::Meant { written, meaning } => written.len() + meaning.len(),
        }
    }

    /// What is compared.
    pub(super) fn compared(&self) -> (u8, &[u8], [u64; 2]) {
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

/// RFC 9111 §4.1: several lines are one, and the space round them does not count, nor that at the end of all. HTTP/2 cuts
/// `Cookie` into lines that belong together with a semicolon (RFC 9113 §8.2.3).
fn combine(name: &HeaderName, request: &HeaderMap, mut put: impl FnMut(&[u8])) {
    let between: &[u8] = if name == header::COOKIE { b";" } else { b"," };
    let mut space: &[u8] = b"";
    for (nth, line) in request.get_all(name).iter().enumerate() {
        if nth > 0 {
            put(space);
            put(between);
            space = b" ";
        }
        let line = line.as_bytes().trim_ascii();
        if !line.is_empty() {
            put(std::mem::take(&mut space));
            put(line);
        }
    }
}
