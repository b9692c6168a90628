//! What a stored response takes.

use super::entry::{Content, Entry, Resource};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{mem, sync::Arc};

/// What an allocator takes for itself, and what it rounds up to, on average.
const ALLOCATION: usize = 16;
/// What moka takes for each key: the key's and the value's counters, the entry's state, its places in the table, the
/// queue and the timer. Measured.
const KEY: usize = 410;
/// `Bytes` that have been cloned count who holds them.
const SHARED: usize = 24 + ALLOCATION;
/// What a field takes in a map: its hash, name, value and links; and its place in the table of hashes.
const FIELD: usize = 8 + size_of::<HeaderName>() + size_of::<HeaderValue>() + 24;
/// A further value of a field.
const FURTHER: usize = size_of::<HeaderValue>() + 32;
const HASH: usize = 4;
/// A body up to this length is copied if it may be a piece of something larger.
const SMALL: usize = 64 * 1024;

/// What a resource takes under its key.
pub(super) fn of_resource(key: &[u8], resource: &Resource) -> usize {
    let entries: usize = resource.entries.iter().map(|entry| of_entry(entry)).sum();
    let list = resource.entries.capacity() * size_of::<Arc<Entry>>() + ALLOCATION;
    KEY + key.len() + ALLOCATION + size_of::<Resource>() + 16 + ALLOCATION + list + entries
}

pub(super) fn of_entry(entry: &Entry) -> usize {
    let content = match &entry.content {
        Content::Whole(body) => of_bytes(body.len()),
        Content::Parts(parts) => parts.weight(),
        Content::Head | Content::Filling(_) => 0,
    };
    size_of::<Entry>()
        + 16
        + ALLOCATION
        + of_fields(&entry.headers)
        + entry.trailers.as_ref().map_or(0, of_fields)
        + entry.selecting.weight()
        + entry.tags.weight()
        + content
}

/// Lets go of the buffers that the head and the body were received in, which may be much larger than they are.
pub(super) fn compact(entry: &mut Entry) {
    entry.headers = compact_fields(&entry.headers);
    if let Some(trailers) = &mut entry.trailers {
        *trailers = compact_fields(trailers);
    }
    if let Content::Whole(body) = &mut entry.content {
        *body = compact_bytes(mem::take(body));
    }
}

fn compact_fields(fields: &HeaderMap) -> HeaderMap {
    let mut text = Vec::with_capacity(fields.values().map(HeaderValue::len).sum());
    fields.values().for_each(|value| text.extend_from_slice(value.as_bytes()));
    let text = Bytes::from(text);
    let mut compact = HeaderMap::with_capacity(fields.keys_len());
    let mut at = 0;
    for (name, value) in fields {
        let end = at + value.len();
        let mut copy = HeaderValue::from_maybe_shared(text.slice(at..end)).unwrap_or_else(|_| value.clone());
        copy.set_sensitive(value.is_sensitive());
        compact.append(name, copy);
        at = end;
    }
    compact
}

fn compact_bytes(bytes: Bytes) -> Bytes {
    let len = bytes.len();
    match bytes.try_into_mut() {
        Ok(buffer) if buffer.capacity() - len <= 64 + len / 16 => buffer.freeze(),
        Ok(buffer) => Bytes::copy_from_slice(&buffer),
        // Somebody reads it, or it is nobody's to change. How large the whole is it does not tell.
        Err(bytes) if len <= SMALL => Bytes::copy_from_slice(&bytes),
        Err(bytes) => bytes,
    }
}

fn of_fields(fields: &HeaderMap) -> usize {
    let text: usize = fields.values().map(HeaderValue::len).sum();
    // Names that `http` does not know are text, too, each in a place of its own.
    let names: usize =
        fields.keys().filter(|name| !is_known(name)).map(|name| name.as_str().len() + 2 * ALLOCATION).sum();
    let further = fields.len() - fields.keys_len();
    fields.capacity() * FIELD
        + (fields.capacity() * 4 / 3) * HASH
        + further * FURTHER
        + text
        + names
        + if fields.is_empty() { 0 } else { SHARED + 3 * ALLOCATION }
}

/// Whether `http` knows the name: then it is a number, whose text always stands at the same place.
fn is_known(name: &HeaderName) -> bool {
    let text = name.as_str();
    HeaderName::from_bytes(text.as_bytes()).is_ok_and(|read| std::ptr::eq(read.as_str(), text))
}

fn of_bytes(len: usize) -> usize {
    len + SHARED + ALLOCATION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_http_does_not_know_takes_a_place_of_its_own() {
        assert!(is_known(&http::header::ETAG) && is_known(&HeaderName::from_static("cache-status")));
        for name in ["x-own", "own", "surrogate-key"] {
            assert!(!is_known(&HeaderName::from_static(name)), "{name}");
            assert!(!is_known(&HeaderName::from_bytes(name.as_bytes()).expect("a name")), "{name}");
        }
    }
}
