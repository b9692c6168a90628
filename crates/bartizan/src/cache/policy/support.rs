//! Heads to decide about.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

pub(super) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A head with these lines.
pub(super) fn head<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        head.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    head
}

/// All lines of a field.
pub(super) fn lines<'a>(head: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    head.get_all(name).iter().map(|line| line.to_str().unwrap()).collect()
}

/// Values of fields: any that there can be, and with more of what our syntax is made of.
pub(super) fn values() -> impl Strategy<Value = Vec<HeaderValue>> {
    let syntax = prop::sample::select(&b"W/\"\",,**\\ \t;=q-019bytes:.?#"[..]);
    let byte = prop_oneof![4 => syntax, 1 => any::<u8>()];
    let line =
        prop::collection::vec(byte, 0..40).prop_filter_map("a value", |bytes| HeaderValue::from_bytes(&bytes).ok());
    prop::collection::vec(line, 1..4)
}

/// A head with these lines of one field.
pub(super) fn with(name: &HeaderName, values: &[HeaderValue]) -> HeaderMap {
    let mut head = HeaderMap::new();
    for value in values {
        head.append(name, value.clone());
    }
    head
}
