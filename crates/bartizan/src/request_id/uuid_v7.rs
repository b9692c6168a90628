//! A new id: a UUID of version 7 (RFC 9562 §5.7).

use crate::shared::{RequestId, wall_now};
use bytes::Bytes;
use http::HeaderValue;
use rand::Rng;
use std::time::UNIX_EPOCH;
use uuid::Builder;

/// A new id. It allocates once, for the text that every copy shares, and asks the system for nothing but the time.
pub(super) fn uuid_v7() -> RequestId {
    let mut random = [0; 10];
    rand::rng().fill_bytes(&mut random);
    from_parts(millis_now(), &random)
}

/// The id of this time and these 74 random bits; six of the eighty give way to the version and the variant.
pub(super) fn from_parts(millis: u64, random: &[u8; 10]) -> RequestId {
    let mut text = [0; 36];
    Builder::from_unix_timestamp_millis(millis, random).as_uuid().hyphenated().encode_lower(&mut text);
    let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).expect("hexadecimal digits and hyphens");
    RequestId::known_valid(value)
}

/// The time in the 48 bits that the id has for it. A clock before 1970 counts as 1970.
fn millis_now() -> u64 {
    let since = wall_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1000 + u64::from(since.subsec_millis())
}
