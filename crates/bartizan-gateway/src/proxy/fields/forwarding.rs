//! Who asks, as we say it and as others claim.

use super::head::host;
use bartizan::{PeerAddr, TrustedProxies};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
    request,
    uri::Scheme,
};
use std::{borrow::Cow, fmt::Write, net::IpAddr};

/// How the service behind learns who the client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, which everything understands.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Not at all.
    Off,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The fields beside `X-Forwarded-*` in which one who speaks for another says so.
const CLAIMS: [&str; 7] = [
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-rewrite-url",
];

/// The fields in which somebody says how long he waits. The service behind takes it for our word, so what a stranger says
/// goes no further: with no time at all he would make it refuse, and a breaker blame it. A call of gRPC keeps its
/// `grpc-timeout`, a matter between client and service, which nobody expects to lose on the way.
const TIMES: [&str; 2] = ["x-request-timeout-ms", GRPC_TIMEOUT];
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The fields in which somebody says which attempt it is: who does so is sent again less often.
const ATTEMPTS: [&str; 3] = ["x-retry-attempt", "x-envoy-attempt-count", "grpc-previous-rpc-attempts"];

/// Says for whom we speak: after what a trusted peer said, instead of what anybody else did.
pub(in crate::proxy) fn add_forwarded(
    head: &mut request::Parts,
    how: Forwarding,
    scheme: &Scheme,
    proxies: &TrustedProxies,
    keep: &[HeaderName],
) {
    let peer = head.extensions.get::<PeerAddr>().map(|peer| peer.0.ip().to_canonical());
    let host = host(head);
    strip_claims(head, how, proxies, keep);

    let headers = &mut head.headers;
    match how {
        Forwarding::XForwarded => {
            if let Some(peer) = peer.and_then(address) {
                append_to_list(headers, X_FORWARDED_FOR, peer);
            }
            let is_https = *scheme == Scheme::HTTPS;
            let scheme = HeaderValue::from_static(if is_https { "https" } else { "http" });
            headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
            if let Some(host) = host {
                headers.entry(X_FORWARDED_HOST).or_insert(host);
            }
        }
        Forwarding::Forwarded => {
            if let Ok(element) = HeaderValue::try_from(forwarded_element(peer, host.as_ref(), scheme)) {
                append_to_list(headers, header::FORWARDED, element);
            }
        }
        Forwarding::Off => {}
    }
}

/// Drops what the client claims about itself, all but what a trusted peer says in the fields that are ours.
pub(in crate::proxy) fn strip_claims(
    head: &mut request::Parts,
    how: Forwarding,
    proxies: &TrustedProxies,
    keep: &[HeaderName],
) {
    let trusted = proxies.trusts_peer_of(head);
    let headers = &mut head.headers;
    // A trusted proxy passes the family that it does not write on as strangers sent it, so only ours is kept.
    let ours = |name: &HeaderName| match how {
        _ if TIMES.contains(&name.as_str()) || ATTEMPTS.contains(&name.as_str()) => true,
        Forwarding::XForwarded => *name != header::FORWARDED && !name.as_str().contains('_'),
        Forwarding::Forwarded => *name == header::FORWARDED,
        Forwarding::Off => false,
    };
    let is_grpc = is_grpc(headers);
    let stays = |name: &HeaderName| {
        (trusted && ours(name)) || (is_grpc && name.as_str() == GRPC_TIMEOUT) || keep.contains(name)
    };
    let dropped = |name: &&HeaderName| is_claim(name) && !stays(name);
    for name in headers.keys().filter(dropped).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// An address as the value of a field, without the detour through `Display`: that was two fifths of what these fields cost.
pub(super) fn address(ip: IpAddr) -> Option<HeaderValue> {
    let IpAddr::V4(ip) = ip else { return HeaderValue::try_from(ip.to_string()).ok() };
    let mut text = [0; "255.255.255.255".len()];
    let mut length = 0;
    let mut push = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            push(b'.');
        }
        if octet > 99 {
            push(b'0' + octet / 100);
        }
        if octet > 9 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    HeaderValue::from_bytes(&text[..length]).ok()
}

/// RFC 7239 §4, §6: an address of IPv6 stands in brackets and quotes, and so does whatever is no token.
fn forwarded_element(peer: Option<IpAddr>, host: Option<&HeaderValue>, scheme: &Scheme) -> String {
    let mut element = match peer {
        Some(IpAddr::V4(addr)) => format!("for={addr}"),
        Some(IpAddr::V6(addr)) => format!("for=\"[{addr}]\""),
        None => "for=unknown".to_owned(),
    };
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        let host = host.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(element, ";host=\"{host}\""); // a `String` takes every write
    }
    let _ = write!(element, ";proto={scheme}");
    element
}

/// One line, as many readers expect: what stood there, then the new member.
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, member: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(none) => _ = none.insert(member),
        Entry::Occupied(mut there) => {
            let lines = there.iter().chain([&member]).map(HeaderValue::as_bytes).collect::<Vec<_>>();
            let joined = HeaderValue::from_bytes(&lines.join(&b", "[..]));
            there.insert(joined.unwrap_or(member));
        }
    }
}

/// Whether somebody says in this field for whom he speaks, what he was asked for, how long he waits, or how
/// often he has asked.
pub(in crate::proxy) fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    // All begin with one of these, which most names of a request do not.
    if !matches!(name.as_bytes(), [b'f' | b'g' | b't' | b'x', ..]) {
        return false;
    }
    // What hands fields on as variables (CGI, WSGI) makes one name of `x-real-ip` and `x_real_ip`.
    let name = if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) };
    name.starts_with("x-forwarded-") || [&CLAIMS[..], &TIMES, &ATTEMPTS].iter().any(|fields| fields.contains(&&*name))
}

/// Whether this is a call of gRPC, or of gRPC-Web.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
