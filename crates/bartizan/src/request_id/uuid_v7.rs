//! A new id: a UUID of version 7 (RFC 9562 §5.7).

use crate::shared::{RequestId, wall_now};
use bytes::Bytes;
use http::HeaderValue;
use rand::Rng;
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// A new id. It allocates once, for the text that every copy shares, and asks the system for nothing but the time.
pub(super) fn uuid_v7() -> RequestId {
    let mut rng = rand::rng();
    from_parts(millis_now(), rng.next_u32(), rng.next_u64())
}

/// The id of this time, and of 12 and 62 random bits: the version and the variant take the place of the others.
pub(super) fn from_parts(millis: u64, a: u32, b: u64) -> RequestId {
    const VERSION: u64 = 7 << 12;
    const VARIANT: u64 = 0b10 << 62;
    let mut text = [0; 36];
    let uuid = Uuid::from_u64_pair(millis << 16 | VERSION | u64::from(a & 0xfff), VARIANT | b >> 2);
    uuid.hyphenated().encode_lower(&mut text);
    let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).expect("hexadecimal digits and hyphens");
    RequestId::known_valid(value)
}

/// The time in the 48 bits that the id has for it. A clock before 1970 counts as 1970.
fn millis_now() -> u64 {
    let since = wall_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1000 + u64::from(since.subsec_millis())
}
