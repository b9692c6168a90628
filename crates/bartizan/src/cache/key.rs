//! What a response is stored under.

use super::{
    buffer::Buffer,
    host::{Said, is_repeated},
    key_rules::{KeyRules, X_FORWARDED_PROTO, forwarded_but_who},
};
use bartizan_store::Key;
use http::{HeaderMap, HeaderValue, Uri, header};
use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
};

/// What a response is stored under: whose it is, its scheme, host, path and query, and what [`KeyRules`] add.
///
/// Two requests have the same key only if they are the same in all of these.
#[derive(Clone)]
pub struct CacheKey {
    /// `partition scheme forwarded-proto host 0 path-and-query (0 name (1 length value)*)* (2 length fields digest)?`
    ///
    /// A partition says how long it is; host, path and query have no bytes below 33.
    bytes: Buffer,
    /// Where the scheme stands.
    scheme: u8,
    /// How much of it the URL alone decides.
    url: u16,
}

/// Requests whose keys would be longer are not cached.
pub(super) const LONGEST: usize = 8 * 1024;

const NOBODY: u8 = 0xff;
const HTTP: u8 = b'h';
const HTTPS: u8 = b's';
const ABSENT: u8 = b'-';
const END: u8 = 0;
const VALUE: u8 = 1;
const CONTENT: u8 = 2;
/// Of SHA-256.
const DIGEST: usize = 32;

// ===== impl CacheKey =====

impl CacheKey {
    /// The key of an absolute URL under [the usual rules](KeyRules::new), to purge it; see [`KeyRules::url`].
    #[must_use]
    pub fn url(url: &str) -> Option<Self> {
        KeyRules::new().url(url)
    }

    /// The same in a partition.
    #[must_use]
    pub fn partition(self, partition: Key) -> Self {
        let mut bytes = Buffer::from_slice(partition.as_bytes());
        let (scheme, shift) = (bytes.len(), bytes.len().wrapping_sub(usize::from(self.scheme)));
        bytes.extend_from_slice(&self.bytes[usize::from(self.scheme)..]);
        Self { bytes, scheme: short(scheme), url: length(usize::from(self.url).wrapping_add(shift)) }
    }

    /// The key of another URL, in the same partition.
    pub(super) fn elsewhere(&self, uri: &Uri, rules: &KeyRules) -> Option<Self> {
        let there = Self::of(uri, &HeaderMap::new(), None, rules)?;
        let shift = usize::from(self.scheme).wrapping_sub(usize::from(there.scheme));
        let mut bytes = Buffer::from_slice(&self.bytes[..usize::from(self.scheme)]);
        bytes.extend_from_slice(&there.bytes[usize::from(there.scheme)..]);
        Some(Self { bytes, scheme: self.scheme, url: length(usize::from(there.url).wrapping_add(shift)) })
    }

    /// `None` if the request cannot be cached, because nobody could say what it asks for: it names no host, or two, or
    /// one that is none, or a scheme beside `http` and `https`; or because the key would be longer than 8 KiB.
    pub(super) fn of(uri: &Uri, headers: &HeaderMap, partition: Option<&Key>, rules: &KeyRules) -> Option<Self> {
        Self::of_read(uri, headers, headers.contains_key(X_FORWARDED_PROTO), partition, rules)
    }

    /// The same, for who has read the names of the fields and knows whether `X-Forwarded-Proto` is one of them.
    pub(super) fn of_read(
        uri: &Uri,
        headers: &HeaderMap,
        is_forwarded: bool,
        partition: Option<&Key>,
        rules: &KeyRules,
    ) -> Option<Self> {
        let mut key = Self { bytes: Buffer::new(), scheme: 0, url: 0 };
        let bytes = &mut key.bytes;
        match partition {
            Some(partition) => bytes.extend_from_slice(partition.as_bytes()),
            None => bytes.push(NOBODY),
        }
        key.scheme = short(bytes.len());
        let scheme = match uri.scheme_str() {
            None | Some("http") => HTTP,
            Some("https") => HTTPS,
            Some(_) => return None,
        };
        bytes.extend_from_slice(&[scheme, ABSENT]);
        match Said::by(uri, headers) {
            Said::Nonsense => return None,
            _ if rules.is_any_host() => {}
            Said::Nothing => return None,
            Said::One(host) => host.write(bytes),
        }
        bytes.push(END);
        rules.write_target(uri, bytes);
        if bytes.len() > LONGEST {
            return None;
        }
        key.url = length(bytes.len());
        for name in rules.fields(is_forwarded) {
            let Some(first) = headers.get(name) else { continue };
            if *name == X_FORWARDED_PROTO && !is_repeated(headers, name) && key.forwarded(first) {
                continue;
            }
            key.bytes.push(END);
            key.bytes.extend_from_slice(name.as_str().as_bytes());
            for value in headers.get_all(name) {
                key.add(VALUE, value.as_bytes());
            }
        }
        for name in rules.forwarding(headers) {
            key.bytes.push(END);
            key.bytes.extend_from_slice(name.as_str().as_bytes());
            for value in headers.get_all(name) {
                let mut told = Buffer::new();
                match *name == header::FORWARDED {
                    true => forwarded_but_who(value.as_bytes(), &mut told),
                    false => told.extend_from_slice(value.as_bytes()),
                }
                key.add(VALUE, &told);
            }
        }
        (key.bytes.len() <= LONGEST).then_some(key)
    }

    /// Content counts, too, of a request that asks by it (RFC 10008 §2.7): what its fields say of it, and its SHA-256.
    pub(super) fn extend_with_content(&mut self, fields: &[u8], digest: &[u8; DIGEST]) {
        self.add(CONTENT, fields);
        self.bytes.extend_from_slice(digest);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is the same for all keys of one URL in one partition, whatever the scheme.
    pub(super) fn resource(&self) -> Resource<'_> {
        let scheme = usize::from(self.scheme);
        Resource { partition: &self.bytes[..scheme], target: &self.bytes[scheme + 2..usize::from(self.url)] }
    }

    /// Whose it is, the scheme, and the host with its port.
    pub(super) fn origin(&self) -> &[u8] {
        let host = usize::from(self.scheme) + 2;
        let end = self.bytes[host..].iter().position(|byte| *byte == END).map_or(self.bytes.len(), |end| host + end);
        &self.bytes[..end]
    }

    /// The partition of what is in none.
    pub(super) fn nobody() -> [u8; 1] {
        [NOBODY]
    }

    /// Whether there is more in it than a URL.
    pub(super) fn is_extended(&self) -> bool {
        self.bytes.len() > usize::from(self.url)
    }

    /// The keys of its URL alone, under every scheme: what speaks `https` to clients may well speak `http` to a cache.
    pub(super) fn of_every_scheme(&self) -> impl Iterator<Item = Self> + '_ {
        let mut key = self.clone();
        key.bytes.truncate(usize::from(self.url));
        [HTTP, HTTPS].into_iter().flat_map(|scheme| [ABSENT, HTTP, HTTPS].map(|forwarded| (scheme, forwarded))).map(
            move |(scheme, forwarded)| {
                let at = usize::from(key.scheme);
                (key.bytes[at], key.bytes[at + 1]) = (scheme, forwarded);
                key.clone()
            },
        )
    }

    /// Whether the value is one of the two that have a place of their own.
    fn forwarded(&mut self, value: &HeaderValue) -> bool {
        let code = match value.as_bytes() {
            b"http" => HTTP,
            b"https" => HTTPS,
            _ => return false,
        };
        self.bytes[usize::from(self.scheme) + 1] = code;
        true
    }

    fn add(&mut self, kind: u8, value: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(value);
    }
}

impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        *self.bytes == *other.bytes
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

/// As a URL, after whose it is and before what else counts; always printable ASCII.
impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = usize::from(self.scheme);
        if self.bytes[0] != NOBODY {
            print(&self.bytes[2..scheme], f)?;
            f.write_char(' ')?;
        }
        f.write_str(if self.bytes[scheme] == HTTPS { "https://" } else { "http://" })?;
        print(self.resource().target, f)?;
        match self.bytes[scheme + 1] {
            HTTP => f.write_str(" x-forwarded-proto=http")?,
            HTTPS => f.write_str(" x-forwarded-proto=https")?,
            _ => {}
        }
        let mut rest = &self.bytes[usize::from(self.url)..];
        while let Some((kind, tail)) = rest.split_first() {
            if *kind == END {
                let (name, tail) = tail.split_at(tail.iter().position(|b| *b <= CONTENT).unwrap_or(tail.len()));
                rest = tail;
                f.write_char(' ')?;
                print(name, f)?;
                continue;
            }
            let Some((value, tail)) = value(tail) else { break };
            f.write_char(if *kind == VALUE { '=' } else { ' ' })?;
            print(value, f)?;
            rest = match tail.split_at_checked(DIGEST).filter(|_| *kind == CONTENT) {
                None => tail,
                Some((digest, tail)) => {
                    f.write_str(" sha-256=")?;
                    digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                    tail
                }
            };
        }
        Ok(())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

/// A URL without its scheme, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resource<'a> {
    pub(super) partition: &'a [u8],
    /// `host 0 path-and-query`
    pub(super) target: &'a [u8],
}

// ===== impl Resource =====

impl<'a> Resource<'a> {
    /// Of the bytes of a key; what they have beside the URL is at the end of the target.
    pub(super) fn of(key: &'a [u8]) -> Self {
        let length = match key {
            [NOBODY, ..] => 1,
            [_, length, ..] => 2 + usize::from(*length),
            _ => 0,
        };
        let (partition, rest) = key.split_at_checked(length).unwrap_or((key, &[]));
        Self { partition, target: rest.get(2..).unwrap_or_default() }
    }
}

fn value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn print(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().filter(|byte| **byte != END).try_for_each(|&byte| match byte {
        b'!'..=b'~' => f.write_char(char::from(byte)),
        _ => write!(f, "%{byte:02X}"),
    })
}

/// A partition takes at most 64 bytes.
fn short(at: usize) -> u8 {
    u8::try_from(at).unwrap_or(u8::MAX)
}

/// Longer keys are refused before anybody sees them.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
