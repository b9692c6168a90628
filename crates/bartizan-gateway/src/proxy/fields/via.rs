//! Who a message came through.

use http::{HeaderMap, HeaderValue, Version, header};

/// What `Via` says of a message that was received in each version. Nothing, under a name that can't stand in a field.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct Via {
    http10: Option<HeaderValue>,
    http11: Option<HeaderValue>,
    http2: Option<HeaderValue>,
    http3: Option<HeaderValue>,
}

// ===== impl Via =====

impl Via {
    pub(in crate::proxy) fn new(pseudonym: &str) -> Self {
        let value = |version| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        Self { http10: value("1.0"), http11: value("1.1"), http2: value("2"), http3: value("3") }
    }
}

/// RFC 9110 §7.6.3: an intermediary adds itself to `Via`, with the version in which it received the message.
pub(in crate::proxy) fn add_via(headers: &mut HeaderMap, version: Version, via: &Via) {
    let value = match version {
        Version::HTTP_10 => &via.http10,
        Version::HTTP_2 => &via.http2,
        Version::HTTP_3 => &via.http3,
        _ => &via.http11,
    };
    if let Some(value) = value {
        headers.append(header::VIA, value.clone());
    }
}
