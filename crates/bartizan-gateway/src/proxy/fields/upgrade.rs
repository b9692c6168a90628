//! A switch of protocols, as far as it may be passed on.

use super::head::{lists, members};
use http::{HeaderMap, HeaderValue, Version, header, request};

/// RFC 9110 §7.8: the protocols to which a client would switch, as far as they may be passed on. `h2c` is no protocol to
/// tunnel: whoever spoke it there would ask for whatever he likes, and we would not see it.
pub(in crate::proxy) fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    if head.version != Version::HTTP_11 || !lists(&head.headers, &header::CONNECTION, "upgrade") {
        return None;
    }
    let names_http = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default();
        ["h2c", "h2", "http", "tls"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let protocols = members(&head.headers, &header::UPGRADE).filter(|name| !name.is_empty() && !names_http(name));
    let protocols = protocols.collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(protocols).ok().filter(|protocols| !protocols.is_empty())
}

/// RFC 9110 §7.8: the protocol to which a service switches, if it is one of those that it was asked for.
pub(in crate::proxy) fn taken_upgrade(headers: &HeaderMap, wanted: &HeaderValue) -> Option<HeaderValue> {
    let taken = headers.get(header::UPGRADE)?;
    let mut wanted = wanted.to_str().ok()?.split(',').map(str::trim);
    let is_wanted = |taken: &str| wanted.any(|wanted| wanted.eq_ignore_ascii_case(taken.trim()));
    taken.to_str().ok().is_some_and(is_wanted).then(|| taken.clone())
}

/// Says on this connection that it is to become another. `te` may stand there already.
pub(in crate::proxy) fn add_upgrade(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocols);
}
