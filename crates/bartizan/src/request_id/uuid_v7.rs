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
    let uuid = Uuid::from_u64_pair(millis << 16 | VERSION | u64::from(a & 0xfff), VARIANT | b >> 2);
    let text = Bytes::from_owner(written(uuid));
    RequestId::known_valid(HeaderValue::from_maybe_shared(text).expect("hexadecimal digits and hyphens"))
}

/// Two digits for each byte, and hyphens where it has them. A function of its own, so that `http` looks through text
/// that is written already, sixteen bytes at a time, and not through how each digit comes about.
#[inline(never)]
fn written(uuid: Uuid) -> [u8; 36] {
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (place, &byte) in PLACES.into_iter().zip(uuid.as_bytes()) {
        text[place..place + 2].copy_from_slice(&DIGITS[usize::from(byte)]);
    }
    text
}

/// Each byte as two digits.
static DIGITS: [[u8; 2]; 256] = {
    const ONE: &[u8; 16] = b"0123456789abcdef";
    let (mut two, mut byte) = ([[0; 2]; 256], 0);
    while byte < two.len() {
        two[byte] = [ONE[byte >> 4], ONE[byte & 15]];
        byte += 1;
    }
    two
};

/// The time in the 48 bits that the id has for it. A clock before 1970 counts as 1970.
fn millis_now() -> u64 {
    let since = wall_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1000 + u64::from(since.subsec_millis())
}
