//! By what to count, for [`key_by`](super::RateLimitLayer::key_by): what most services need, and any function of the
//! head.
//!
//! A head may lack what is looked for, and then has no key. Nothing that an untrusted peer sends changes the key of
//! [`client`]; a key from a header is worth what whoever writes that header is worth.

use super::head::Head;
use crate::shared::{Single, TrustedProxies, single};
use bartizan_store::Key;
use http::{HeaderMap, HeaderName, request::Parts};
use std::{borrow::Cow, fmt, sync::Arc};

/// By what to count. Any `Fn(&Parts) -> Option<Key>` will do.
///
/// ```
/// use bartizan::rate_limit::{Key, Quota, RateLimitLayer};
/// use http::request::Parts;
///
/// let layer = RateLimitLayer::new(Quota::per_second(10)).key_by(|head: &Parts| Some(Key::new(head.uri.host()?)));
/// # let _ = layer;
/// ```
#[derive(Clone)]
pub struct KeyBy(Kind);

/// What a request need not be taken apart for, and functions.
#[derive(Clone)]
enum Kind {
    Client(TrustedProxies),
    Header(HeaderName),
    Method,
    Path,
    Global,
    Both(Arc<[KeyBy; 2]>),
    Fn(Arc<dyn Fn(&Parts) -> Option<Key> + Send + Sync>),
}

/// The client's address: an address of IPv4, or the /64 of one of IPv6.
#[must_use]
pub fn client(proxies: TrustedProxies) -> KeyBy {
    KeyBy(Kind::Client(proxies))
}

/// The network that the client's address is in, of so many bits: for a second policy beside the [`client`], as whoever has a /48
/// or a rented rack has many addresses, and each of them a bucket.
///
/// ```
/// use bartizan::{
///     TrustedProxies,
///     rate_limit::{Policy, Quota, RateLimitLayer, key},
/// };
///
/// let network = Policy::new("network", Quota::per_second(200)).key_by(key::network(TrustedProxies::none(), 24, 48));
/// let layer = RateLimitLayer::new(Policy::new("client", Quota::per_second(10))).and(network);
/// # let _ = layer;
/// ```
#[must_use]
pub fn network(proxies: TrustedProxies, v4_bits: u8, v6_bits: u8) -> KeyBy {
    (move |head: &Parts| proxies.client(head).map(|addr| Key::network(addr, v4_bits, v6_bits))).into()
}

/// The value of a header, if it is there and not empty. Requests that send it on several lines, so that nobody can tell
/// which one is meant, share one bucket.
#[must_use]
pub fn header(name: HeaderName) -> KeyBy {
    KeyBy(Kind::Header(name))
}

/// The method.
#[must_use]
pub fn method() -> KeyBy {
    KeyBy(Kind::Method)
}

/// The path. Where paths hold ids, count by the route instead: [`of`] shows how.
#[must_use]
pub fn path() -> KeyBy {
    KeyBy(Kind::Path)
}

/// Everybody in one bucket.
#[must_use]
pub fn global() -> KeyBy {
    KeyBy(Kind::Global)
}

/// Any text that a function finds in the head, such as the template of the route that axum has matched.
///
/// A text that has to be fetched first, for a token say, is found by a layer further out, which leaves it among the
/// request's extensions, as `TenantLayer` does with a directory.
///
#[cfg_attr(feature = "axum", doc = "```")]
#[cfg_attr(not(feature = "axum"), doc = "```ignore")]
/// use axum::{Router, routing::get};
/// use bartizan::{bridge::axum::matched_path, rate_limit::{Quota, RateLimitLayer, key}};
///
/// let per_route = RateLimitLayer::new(Quota::per_second(100)).key_by(key::of(matched_path));
/// let app: Router = Router::new().route("/users/{id}", get(|| async { "somebody" })).layer(per_route);
/// # let _ = app;
/// ```
pub fn of(text: impl for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static) -> KeyBy {
    (move |head: &Parts| text(head).map(|text| Key::new(&*text))).into()
}

/// Two keys together, such as tenant and route; none if either is missing. Nest it for three.
pub fn both(one: impl Into<KeyBy>, other: impl Into<KeyBy>) -> KeyBy {
    KeyBy(Kind::Both(Arc::new([one.into(), other.into()])))
}

// ===== impl KeyBy =====

impl KeyBy {
    /// The key of the request with this head, if it has one; for functions of your own that fall back on it, say.
    #[must_use]
    pub fn read(&self, head: &Parts) -> Option<Key> {
        self.read_in(&head.into())
    }

    #[inline]
    pub(super) fn read_in(&self, head: &Head<'_>) -> Option<Key> {
        match &self.0 {
            Kind::Client(proxies) => head.client(proxies).map(Key::ip),
            Kind::Header(name) => of_header(head.headers, name),
            Kind::Method => Some(Key::new(head.method.as_str())),
            Kind::Path => Some(Key::new(head.uri.path())),
            Kind::Global => Some(Key::GLOBAL),
            Kind::Both(both) => of_both(head, both),
            Kind::Fn(key) => key(head.whole()),
        }
    }

    /// Whether it is the peer's address, whatever the fields say.
    pub(super) fn is_peer(&self) -> bool {
        matches!(&self.0, Kind::Client(proxies) if proxies.are_none())
    }

    /// The field, if it is no more than one.
    pub(super) fn field(&self) -> Option<&HeaderName> {
        if let Kind::Header(name) = &self.0 { Some(name) } else { None }
    }

    /// Whether it has a function that wants to see the whole head.
    pub(super) fn wants_heads(&self) -> bool {
        match &self.0 {
            Kind::Client(proxies) => proxies.wants_heads(),
            Kind::Both(both) => both.iter().any(Self::wants_heads),
            Kind::Fn(_) => true,
            Kind::Header(_) | Kind::Method | Kind::Path | Kind::Global => false,
        }
    }
}

impl<F: Fn(&Parts) -> Option<Key> + Send + Sync + 'static> From<F> for KeyBy {
    fn from(key: F) -> Self {
        Self(Kind::Fn(Arc::new(key)))
    }
}

impl fmt::Debug for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Client(_) => f.write_str("client"),
            Kind::Header(name) => write!(f, "header {name}"),
            Kind::Method => f.write_str("method"),
            Kind::Path => f.write_str("path"),
            Kind::Global => f.write_str("global"),
            Kind::Both(both) => write!(f, "{:?} and {:?}", both[0], both[1]),
            Kind::Fn(_) => f.write_str("function"),
        }
    }
}

#[inline(never)]
pub(super) fn of_header(headers: &HeaderMap, name: &HeaderName) -> Option<Key> {
    match single(headers, name) {
        Single::One(value) if !value.is_empty() => Some(Key::new(value)),
        Single::One(_) | Single::Absent => None,
        Single::Several => Some(Key::GLOBAL),
    }
}

fn of_both(head: &Head<'_>, [one, other]: &[KeyBy; 2]) -> Option<Key> {
    Some(Key::join([one.read_in(head)?, other.read_in(head)?]))
}
