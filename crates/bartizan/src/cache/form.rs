//! The stored form of what is under a key, for a second tier.
//!
//! `magic checksum key until entry*`, where numbers are big-endian and whatever has a length says it before.
//! Times are those of the wall, so that another process can tell how old an entry is. Of requests only a digest of the
//! fields that `Vary` names is in it.

use super::{
    entry::{Content, Entry, Resource},
    key::CacheKey,
    memory::MOST_ENTRIES,
    policy::{Selecting, Terms},
    tags::Stamped,
};
use crate::shared::wall_now;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// An entry as another process has stored it.
#[derive(Debug)]
pub(in crate::cache) struct Kept {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) terms: Terms,
    /// When it was asked for, in milliseconds by the wall.
    pub(super) asked: u64,
    /// Until when it may be of use.
    pub(super) until: u64,
    pub(super) slots: Box<[u32]>,
    pub(super) varies_on: Box<[HeaderName]>,
    pub(super) selecting: [u8; DIGEST],
}

/// What reads bytes, and says `None` to all that it did not expect.
struct Reader<'a>(&'a [u8]);

const MAGIC: &[u8; 4] = b"BTZ1";
const DIGEST: usize = 16;
/// Shorter bodies are not worth the time.
const COMPRESSED_FROM: usize = 1024;
/// What LZ4 can make of one byte at most.
const EXPANSION: usize = 255;

const NO_CACHE: u8 = 1;
const MUST_REVALIDATE: u8 = 2;
const IMMUTABLE: u8 = 4;

/// The bytes, as many of the youngest entries as take no more than `limit`. `None` if that is not one.
pub(in crate::cache) fn write(key: &CacheKey, resource: &Resource, keep_for: Duration, limit: usize) -> Option<Bytes> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[0; 8]);
    put(&mut out, key.as_bytes());
    out.extend_from_slice(&millis(wall_now() + keep_for).to_be_bytes());
    let begin = out.len();
    for entry in resource.entries.iter().filter(|entry| is_for_others(entry)) {
        let before = out.len();
        write_entry(&mut out, key, entry);
        if out.len() > limit {
            out.truncate(before);
            break;
        }
    }
    if out.len() == begin {
        return None;
    }
    let sum = checksum(0, &out[12..]);
    out[4..12].copy_from_slice(&sum.to_be_bytes());
    Some(out.into())
}

/// What the bytes say, if they were written by this form for this key, no body is longer than `limit`, all of them no more
/// than twice that, and there are no more than are kept of a URL.
pub(in crate::cache) fn read(bytes: &[u8], key: &CacheKey, limit: usize) -> Option<Vec<Kept>> {
    let mut reader = Reader(bytes);
    if reader.take(MAGIC.len())? != MAGIC || reader.u64()? != checksum(0, reader.0) || reader.bytes()? != key.as_bytes()
    {
        return None;
    }
    let until = reader.u64()?;
    let mut kept = Vec::new();
    let mut room = limit.saturating_mul(2);
    while !reader.0.is_empty() {
        let entry = read_entry(&mut reader, until, limit.min(room))?;
        if let Content::Whole(body) = &entry.content {
            room = room.checked_sub(body.len())?;
        }
        kept.push(entry);
        if kept.len() > MOST_ENTRIES {
            return None;
        }
    }
    Some(kept)
}

/// What tells those requests that select an entry from others; of no use for any other key.
pub(super) fn digest(key: &CacheKey, selecting: &Selecting) -> [u8; DIGEST] {
    let mut text = Vec::new();
    put(&mut text, key.as_bytes());
    for (name, kind, value) in selecting.compared() {
        put(&mut text, name.as_str().as_bytes());
        text.push(kind);
        put(&mut text, value);
    }
    *Sha256::digest(&text).first_chunk().unwrap_or(&[0; DIGEST])
}

/// Any change of one word changes it; it is no proof against malice.
pub(super) fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(mix(seed, bytes.len() as u64), |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| mix(sum, (*byte).into()))
}

pub(super) fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Parts are for who asked for them; and what depends on who somebody is leaves this process in no form.
fn is_for_others(entry: &Entry) -> bool {
    !matches!(entry.content, Content::Parts(_) | Content::Filling(_)) && !entry.selecting.is_personal()
}

// ===== writing =====

fn write_entry(out: &mut Vec<u8>, key: &CacheKey, entry: &Entry) {
    let terms = &entry.terms;
    out.extend_from_slice(&entry.status.as_u16().to_be_bytes());
    write_fields(out, &entry.headers);
    match &entry.content {
        Content::Whole(body) => write_body(out, body, entry.headers.contains_key(header::CONTENT_ENCODING)),
        Content::Head | Content::Parts(_) | Content::Filling(_) => out.push(0),
    }
    out.push(entry.trailers.is_some().into());
    if let Some(trailers) = &entry.trailers {
        write_fields(out, trailers);
    }
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    out.push(
        flag(terms.no_cache, NO_CACHE)
            | flag(terms.must_revalidate, MUST_REVALIDATE)
            | flag(terms.immutable, IMMUTABLE),
    );
    let durations = [terms.initial_age, terms.lifetime, terms.stale_while_revalidate, terms.stale_if_error, terms.keep];
    for duration in durations {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        out.extend_from_slice(&nanos.to_be_bytes());
    }
    for time in [terms.received, entry.tags.at.unwrap_or(terms.received)] {
        out.extend_from_slice(&millis(wall_now() - time.elapsed()).to_be_bytes());
    }
    length(out, entry.tags.slots.len());
    entry.tags.slots.iter().for_each(|slot| out.extend_from_slice(&slot.to_be_bytes()));
    length(out, entry.selecting.names().count());
    entry.selecting.names().for_each(|name| put(out, name.as_str().as_bytes()));
    out.extend_from_slice(&digest(key, &entry.selecting));
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    length(out, fields.len());
    for (name, value) in fields {
        put(out, name.as_str().as_bytes());
        put(out, value.as_bytes());
        out.push(value.is_sensitive().into());
    }
}

fn write_body(out: &mut Vec<u8>, body: &[u8], is_encoded: bool) {
    if body.len() >= COMPRESSED_FROM && !is_encoded {
        let compressed = lz4_flex::block::compress(body);
        if compressed.len() < body.len() - body.len() / 8 {
            out.push(2);
            length(out, body.len());
            return put(out, &compressed);
        }
    }
    out.push(1);
    put(out, body);
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

// ===== reading =====

fn read_entry(reader: &mut Reader<'_>, until: u64, limit: usize) -> Option<Kept> {
    let status = StatusCode::from_u16(reader.u16()?).ok()?;
    let headers = reader.fields()?;
    let content = match reader.u8()? {
        0 => Content::Head,
        1 => Content::Whole(Bytes::copy_from_slice(reader.bytes()?)),
        2 => {
            let length = reader.length()?;
            let compressed = reader.bytes()?;
            if length > limit || length > compressed.len().saturating_mul(EXPANSION) {
                return None;
            }
            let mut body = vec![0; length];
            let written = lz4_flex::block::decompress_into(compressed, &mut body).ok()?;
            (written == length).then(|| Content::Whole(body.into()))?
        }
        _ => return None,
    };
    let trailers = match reader.u8()? {
        0 => None,
        _ => Some(reader.fields()?),
    };
    let flags = reader.u8()?;
    let mut duration = || reader.u64().map(Duration::from_nanos);
    let (initial_age, lifetime) = (duration()?, duration()?);
    let (stale_while_revalidate, stale_if_error) = (duration()?, duration()?);
    let keep = duration()?;
    let (received, asked) = (reader.u64()?, reader.u64()?);
    let slots = (0..reader.length()?).map(|_| reader.u32()).collect::<Option<_>>()?;
    let varies_on = (0..reader.length()?).map(|_| reader.name()).collect::<Option<_>>()?;
    let selecting = *reader.take(DIGEST)?.first_chunk()?;
    // What came before this process began is as much older as that is ago. A clock that is behind does not make it younger.
    let age = Duration::from_millis(millis(wall_now()).saturating_sub(received));
    let terms = Terms {
        received: Instant::now(),
        initial_age: initial_age.saturating_add(age),
        lifetime,
        no_cache: flags & NO_CACHE != 0,
        must_revalidate: flags & MUST_REVALIDATE != 0,
        immutable: flags & IMMUTABLE != 0,
        stale_while_revalidate,
        stale_if_error,
        keep,
    };
    Some(Kept { status, headers, content, trailers, terms, asked, until, slots, varies_on, selecting })
}

// ===== impl Kept =====

impl Kept {
    /// The entry, if a request selects it that says this.
    pub(super) fn selected(self, key: &CacheKey, selecting: Selecting) -> Option<Entry> {
        let Self { status, headers, content, trailers, terms, slots, .. } = self;
        let tags = Stamped { slots, ..Stamped::default() };
        (digest(key, &selecting) == self.selecting).then_some(Entry {
            status,
            headers,
            content,
            trailers,
            terms,
            selecting,
            tags,
        })
    }
}

// ===== impl Reader =====

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn name(&mut self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.bytes()?).ok()
    }

    fn fields(&mut self) -> Option<HeaderMap> {
        let mut fields = HeaderMap::new();
        for _ in 0..self.length()? {
            let name = self.name()?;
            let mut value = HeaderValue::from_bytes(self.bytes()?).ok()?;
            value.set_sensitive(self.u8()? != 0);
            fields.try_append(name, value).ok()?;
        }
        Some(fields)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests;
