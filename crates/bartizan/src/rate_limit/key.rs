//! By what to count: functions of the head, for [`key_by`](super::RateLimitLayer::key_by).
//!
//! A function answers `None` when the head lacks what it looks for. Nothing that an untrusted peer sends changes the
//! key of [`client`]; a key from a header is worth what whoever writes that header is worth.

use crate::shared::{Single, TrustedProxies, single};
use bartizan_store::Key;
use http::{HeaderName, request::Parts};

/// The client's address: an address of IPv4, or the /64 of one of IPv6.
pub fn client(proxies: TrustedProxies) -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    move |head| proxies.client(head).map(Key::ip)
}

/// The value of a header, if it is there and not empty. Requests that send it on several lines, so that nobody can tell
/// which one is meant, share one bucket.
pub fn header(name: HeaderName) -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    move |head| match single(&head.headers, &name) {
        Single::One(value) if !value.is_empty() => Some(Key::new(value)),
        Single::One(_) | Single::Absent => None,
        Single::Several => Some(Key::GLOBAL),
    }
}

/// The method.
pub fn method() -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    |head| Some(Key::new(head.method.as_str()))
}

/// The path. Where paths hold ids, count by the route instead: `key::of(matched_path)`.
pub fn path() -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    |head| Some(Key::new(head.uri.path()))
}

/// Everybody in one bucket.
pub fn global() -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    |_| Some(Key::GLOBAL)
}

/// Any text that a function finds in the head.
pub fn of<T: AsRef<[u8]>>(
    text: impl Fn(&Parts) -> Option<T> + Send + Sync + 'static,
) -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    move |head| text(head).map(Key::new)
}

/// Two keys together, such as tenant and route; `None` if either is. Nest it for three.
pub fn both(
    one: impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static,
    other: impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static,
) -> impl Fn(&Parts) -> Option<Key> + Send + Sync + 'static {
    move |head| Some(Key::join([one(head)?, other(head)?]))
}
