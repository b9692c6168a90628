//! The fields of a message that an intermediary drops, rewrites or adds.

use crate::request_id::X_REQUEST_ID;
use bartizan::{PeerAddr, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request, uri::Scheme};
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

/// What `Via` says of a message that was received in each version. Nothing, under a name that can't stand in a field.
#[derive(Clone, Debug)]
pub(super) struct Via {
    http10: Option<HeaderValue>,
    http11: Option<HeaderValue>,
    http2: Option<HeaderValue>,
    http3: Option<HeaderValue>,
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
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

/// Fields that belong to one connection, whether or not `Connection` names them.
const HOP_BY_HOP: [HeaderName; HOPS] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    HTTP2_SETTINGS,
    header::TE,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
];
const HOPS: usize = 9;
/// Where two of them stand there.
const CONNECTION: usize = 0;
const TRANSFER_ENCODING: usize = 1;

/// What `Connection` says beside names of fields, or of fields that are dropped anyway.
const OPTIONS: [&str; 4] = ["keep-alive", "close", "te", "upgrade"];

/// Fields that belong to the whole way, as [claims](is_claim) do. A client that names one in `Connection` makes an
/// invalid message (RFC 9110 §7.6.1), and must not be able to take away what stands there for the service behind.
const END_TO_END: [HeaderName; 12] = [
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CACHE_CONTROL,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::VIA,
    X_REQUEST_ID,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

// ===== impl Via =====

impl Via {
    pub(super) fn new(pseudonym: &str) -> Self {
        let value = |version| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        Self { http10: value("1.0"), http11: value("1.1"), http2: value("2"), http3: value("3") }
    }
}

/// RFC 9110 §7.6.1: drops the fields that are meant for this connection only, and those that `Connection` names.
/// `Trailer` stays: the trailers that it announces go on, and what is to be kept whatever `Connection` names.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, keep: &[HeaderName]) {
    // Most messages have one of them, or none: to look at what is there is quicker than to look for each.
    let mut there = [false; HOPS];
    for name in headers.keys() {
        if let Some(at) = HOP_BY_HOP.iter().position(|hop| hop == name) {
            there[at] = true;
        }
    }
    if there[CONNECTION] {
        let is_field = |name: &&str| !OPTIONS.iter().any(|option| name.eq_ignore_ascii_case(option));
        let named = members(headers, &header::CONNECTION).filter(is_field).filter_map(|name| name.parse().ok());
        for name in named.collect::<Vec<HeaderName>>() {
            if !END_TO_END.contains(&name) && !is_claim(&name) && !keep.contains(&name) {
                headers.remove(name);
            }
        }
    }
    // RFC 9112 §6.3: a length beside a transfer coding is a lie, and whoever believes it reads another message.
    if there[TRANSFER_ENCODING] {
        headers.remove(header::CONTENT_LENGTH);
    }
    for (name, _) in HOP_BY_HOP.iter().zip(there).filter(|(_, is_there)| *is_there) {
        headers.remove(name);
    }
}

/// Drops them from a request, but still asks for trailers if the client does: we pass them on, and the service may not
/// send them unasked. RFC 9110 §10.1.4: `TE` is itself named in `Connection`.
pub(super) fn strip_request(headers: &mut HeaderMap, keep: &[HeaderName]) {
    let takes_trailers = lists(headers, &header::TE, "trailers");
    strip_hop_by_hop(headers, keep);
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// RFC 9112 §6.1: the one transfer coding that we know is `chunked`, once. A body in another would go on as what it is
/// not.
pub(super) fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => false,
        (Some(coding), None) => !coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => true,
    }
}

/// The site that the client asked for. RFC 9112 §3.2.2: what the target says goes before `Host`.
pub(super) fn host(head: &request::Parts) -> Option<HeaderValue> {
    let Some(authority) = head.uri.authority() else { return head.headers.get(header::HOST).cloned() };
    let without_user = authority.as_str().rsplit('@').next()?;
    HeaderValue::try_from(without_user).ok()
}

/// RFC 9110 §7.6.2: counts a `TRACE` or `OPTIONS` down, and says whether it ends here.
pub(super) fn ends_here(head: &mut request::Parts) -> bool {
    if head.method != Method::TRACE && head.method != Method::OPTIONS {
        return false;
    }
    let Some(left) = head.headers.get_mut(header::MAX_FORWARDS) else { return false };
    let Some(forwards) = left.to_str().ok().and_then(|left| left.parse::<u64>().ok()) else { return false };
    *left = HeaderValue::from(forwards.saturating_sub(1));
    forwards == 0
}

/// RFC 9110 §7.6.3: an intermediary adds itself to `Via`, with the version in which it received the message.
pub(super) fn add_via(headers: &mut HeaderMap, version: Version, via: &Via) {
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

/// RFC 9110 §7.8: the protocols to which a client would switch, as far as they may be passed on. `h2c` is no protocol to
/// tunnel: whoever spoke it there would ask for whatever he likes, and we would not see it.
pub(super) fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
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
pub(super) fn taken_upgrade(headers: &HeaderMap, wanted: &HeaderValue) -> Option<HeaderValue> {
    let taken = headers.get(header::UPGRADE)?;
    let mut wanted = wanted.to_str().ok()?.split(',').map(str::trim);
    let is_wanted = |taken: &str| wanted.any(|wanted| wanted.eq_ignore_ascii_case(taken.trim()));
    taken.to_str().ok().is_some_and(is_wanted).then(|| taken.clone())
}

/// Says on this connection that it is to become another. `te` may stand there already.
pub(super) fn add_upgrade(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.append(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocols);
}

/// RFC 9113 §8.2.3: HTTP/2 may send `Cookie` in pieces, and nothing else knows what to do with them.
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, cookie);
    }
}

/// Whether somebody says in this field for whom he speaks, what he was asked for, how long he waits, or how
/// often he has asked.
fn is_claim(name: &HeaderName) -> bool {
    // What hands fields on as variables (CGI, WSGI) makes one name of `x-real-ip` and `x_real_ip`.
    let name = name.as_str();
    let name = if name.contains('_') { Cow::Owned(name.replace('_', "-")) } else { Cow::Borrowed(name) };
    name.starts_with("x-forwarded-") || [&CLAIMS[..], &TIMES, &ATTEMPTS].iter().any(|fields| fields.contains(&&*name))
}

/// Whether this is a call of gRPC, or of gRPC-Web.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Says for whom we speak: after what a trusted peer said, instead of what anybody else did.
pub(super) fn add_forwarded(
    head: &mut request::Parts,
    how: Forwarding,
    scheme: &Scheme,
    proxies: &TrustedProxies,
    keep: &[HeaderName],
) {
    let trusted = proxies.trusts_peer_of(head);
    let peer = head.extensions.get::<PeerAddr>().map(|peer| peer.0.ip().to_canonical());
    let host = host(head);

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
    match how {
        Forwarding::XForwarded => {
            if let Some(peer) = peer.and_then(address) {
                append_to_list(headers, X_FORWARDED_FOR, &peer);
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
                append_to_list(headers, header::FORWARDED, &element);
            }
        }
        Forwarding::Off => {}
    }
}

/// An address as the value of a field, without the detour through `Display`: that was two fifths of what these fields cost.
fn address(ip: IpAddr) -> Option<HeaderValue> {
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
fn append_to_list(headers: &mut HeaderMap, name: HeaderName, member: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, member.clone());
        return;
    }
    let lines = headers.get_all(&name).iter().chain([member]).map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let joined = HeaderValue::from_bytes(&lines.join(&b", "[..]));
    headers.insert(name, joined.unwrap_or_else(|_| member.clone()));
}

/// The members of a field that is a list, over all of its lines.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let mut members = members(headers, name).map(|member| member.split(';').next().unwrap_or_default().trim());
    members.any(|member| member.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        fields.iter().map(field).for_each(|(name, value)| _ = map.append(name, value));
        map
    }

    fn forwarded(how: Forwarding, peer: &str, fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let (mut head, ()) = Request::builder().uri("/x").body(()).unwrap().into_parts();
        head.headers = headers(fields);
        head.headers.insert(header::HOST, HeaderValue::from_static("shop.example:8080"));
        head.extensions.insert(PeerAddr(std::net::SocketAddr::new(peer.parse().unwrap(), 1)));
        let trusted = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        add_forwarded(&mut head, how, &Scheme::HTTP, &trusted, &[HeaderName::from_static("x-forwarded-user")]);
        head.headers
    }

    #[test]
    fn fields_of_one_connection_are_dropped_and_with_them_those_that_connection_names() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("trailer", "x-sum"),
            ("etag", "\"1\""),
        ]);
        strip_hop_by_hop(&mut map, &[]);
        assert_eq!(map, headers(&[("trailer", "x-sum"), ("etag", "\"1\"")]));
    }

    #[test]
    fn connection_cannot_take_away_what_belongs_to_the_whole_way() {
        let whole_way = [
            ("authorization", "x"),
            ("host", "h"),
            ("forwarded", "for=203.0.113.7"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-real-ip", "203.0.113.7"),
            ("via", "1.1 front"),
            ("traceparent", "t"),
            ("tracestate", "s"),
            ("x-request-id", "r1"),
            ("x-tenant-id", "acme"),
        ];
        let named: Vec<_> = whole_way.iter().map(|(name, _)| ("connection", *name)).collect();
        let mut map = headers(&[&named[..], &whole_way[..]].concat());
        strip_hop_by_hop(&mut map, &[HeaderName::from_static("x-tenant-id")]);
        assert_eq!(map, headers(&whole_way));
    }

    #[test]
    fn te_passes_as_far_as_it_asks_for_trailers() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers")]);
        strip_request(&mut map, &[]);
        assert_eq!(map, headers(&[("te", "trailers"), ("connection", "te")]));
    }

    #[test]
    fn a_length_beside_a_transfer_coding_is_dropped() {
        let mut map = headers(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        strip_request(&mut map, &[]);
        assert!(map.is_empty(), "{map:?}");
    }

    #[test]
    fn chunked_is_the_only_transfer_coding_and_stands_there_once() {
        for known in [&[][..], &["chunked"], &["Chunked"]] {
            let lines: Vec<_> = known.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert!(!has_unknown_coding(&headers(&lines)), "{known:?}");
        }
        for unknown in [&["gzip, chunked"][..], &["gzip"], &["identity"], &["chunked, chunked"], &["gzip", "chunked"]] {
            let lines: Vec<_> = unknown.iter().map(|coding| ("transfer-encoding", *coding)).collect();
            assert!(has_unknown_coding(&headers(&lines)), "{unknown:?}");
        }
    }

    #[test]
    fn the_target_names_the_site_without_its_user() {
        let of = |uri: &str| {
            host(&Request::get(uri).header(header::HOST, "other").body(()).unwrap().into_parts().0).unwrap()
        };
        assert_eq!(of("http://me:secret@shop.example:81/"), "shop.example:81");
        assert_eq!(of("/"), "other");
    }

    #[test]
    fn a_switch_is_passed_on_unless_it_leads_past_us() {
        let of = |connection: &'static str, upgrade: &'static str| {
            let mut head = Request::get("/").body(()).unwrap().into_parts().0;
            head.headers = headers(&[("connection", connection), ("upgrade", upgrade)]);
            wanted_upgrade(&head)
        };
        assert_eq!(of("keep-alive, Upgrade", "websocket, x/2").unwrap(), "websocket, x/2");
        assert_eq!(of("upgrade", "H2C, websocket").unwrap(), "websocket");
        for (connection, upgrade) in [
            ("upgrade, http2-settings", "h2c"),
            ("upgrade", "HTTP/2.0"),
            ("upgrade", "TLS/1.2, h2"),
            ("te", "websocket"),
        ] {
            assert_eq!(of(connection, upgrade), None, "{connection}: {upgrade}");
        }
        let taken =
            |upgrade| taken_upgrade(&headers(&[("upgrade", upgrade)]), &HeaderValue::from_static("a, WebSocket"));
        assert_eq!(taken("websocket").unwrap(), "websocket");
        assert_eq!(taken("b"), None);
    }

    #[test]
    fn an_address_is_written_as_display_writes_it() {
        for ip in ["0.0.0.0", "1.20.255.100", "255.255.255.255", "9.10.99.109", "2001:db8::1"] {
            assert_eq!(address(ip.parse().unwrap()).unwrap(), ip);
        }
    }

    #[test]
    fn crumbs_become_a_cookie() {
        let mut map = headers(&[("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut map);
        assert_eq!(map.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_trace_is_counted_down_and_ends() {
        let mut head = Request::options("/").header("max-forwards", "1").body(()).unwrap().into_parts().0;
        assert!(!ends_here(&mut head));
        assert_eq!(head.headers["max-forwards"], "0");
        assert!(ends_here(&mut head));
        head.method = Method::GET;
        assert!(!ends_here(&mut head));
    }

    #[test]
    fn what_a_stranger_claims_is_replaced() {
        let claims = [
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=6.6.6.6"),
            ("x-real-ip", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("x-forwarded-client-cert", "root"),
            ("x-forwarded-scheme", "https"),
            ("true-client-ip", "6.6.6.6"),
            ("x-client-ip", "6.6.6.6"),
            ("x-cluster-client-ip", "6.6.6.6"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
        ];
        let map = forwarded(Forwarding::XForwarded, "203.0.113.7", &claims);
        assert_eq!(map["x-forwarded-for"], "203.0.113.7");
        assert_eq!(map["x-forwarded-proto"], "http");
        assert_eq!(map["x-forwarded-host"], "shop.example:8080");
        assert_eq!(map.len(), 4, "and the host: {map:?}");
        let map = forwarded(Forwarding::Off, "203.0.113.7", &claims);
        assert_eq!(map.len(), 1, "{map:?}");
    }

    #[test]
    fn how_long_a_stranger_waits_is_not_said_in_our_name() {
        let times = [("x-request-timeout-ms", "0"), ("x_request_timeout_ms", "0"), ("grpc-timeout", "0n")];
        for how in [Forwarding::XForwarded, Forwarding::Forwarded, Forwarding::Off] {
            let told = |peer: &str, content_type: &'static str| {
                let map = forwarded(how, peer, &[&times[..], &[("content-type", content_type)]].concat());
                times.map(|(name, _)| map.contains_key(name))
            };
            assert_eq!(told("203.0.113.7", "text/plain"), [false, false, false], "{how:?}");
            assert_eq!(told("203.0.113.7", "application/grpc+proto"), [false, false, true], "{how:?}");
            assert_eq!(told("203.0.113.7", "application/grpc-web"), [false, false, true], "{how:?}");
            assert_eq!(told("10.0.0.1", "text/plain"), [true, false, true], "{how:?}");
        }
        let (mut head, ()) = Request::get("/").header("x-request-timeout-ms", "5").body(()).unwrap().into_parts();
        let keep = [HeaderName::from_static("x-request-timeout-ms")];
        add_forwarded(&mut head, Forwarding::Off, &Scheme::HTTP, &TrustedProxies::none(), &keep);
        assert_eq!(head.headers["x-request-timeout-ms"], "5");
    }

    #[test]
    fn which_attempt_it_is_is_believed_of_a_trusted_proxy_alone() {
        let attempts = [("x-retry-attempt", "9"), ("x-envoy-attempt-count", "9"), ("grpc-previous-rpc-attempts", "8")];
        for how in [Forwarding::XForwarded, Forwarding::Forwarded, Forwarding::Off] {
            for (peer, kept) in [("203.0.113.7", 0), ("10.0.0.1", 3)] {
                let map = forwarded(how, peer, &attempts);
                assert_eq!(attempts.iter().filter(|(name, _)| map.contains_key(*name)).count(), kept, "{how:?} {peer}");
            }
        }
        assert!(
            !forwarded(Forwarding::XForwarded, "10.0.0.1", &[("x_retry_attempt", "9")]).contains_key("x_retry_attempt")
        );
    }

    #[test]
    fn a_claim_that_is_to_be_kept_is_kept() {
        let map = forwarded(Forwarding::Off, "203.0.113.7", &[("x-forwarded-user", "ada")]);
        assert_eq!(map["x-forwarded-user"], "ada");
    }

    #[test]
    fn what_a_trusted_proxy_says_is_carried_on() {
        let claims =
            [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
        let map = forwarded(Forwarding::XForwarded, "::ffff:10.0.0.1", &claims);
        assert_eq!(map["x-forwarded-for"], "6.6.6.6, 203.0.113.7, 10.0.0.1");
        assert_eq!(map["x-forwarded-proto"], "https");
        let map = forwarded(Forwarding::XForwarded, "10.0.0.1", &[("x_forwarded_for", "6.6.6.6")]);
        assert!(!map.contains_key("x_forwarded_for"), "no proxy writes it so");
    }

    #[test]
    fn forwarded_is_written_by_its_grammar() {
        let map = forwarded(Forwarding::Forwarded, "2001:db8::1", &[("forwarded", "for=6.6.6.6")]);
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";host=\"shop.example:8080\";proto=http");
        let map = forwarded(
            Forwarding::Forwarded,
            "10.0.0.1",
            &[("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "6.6.6.6")],
        );
        assert_eq!(map["forwarded"], "for=203.0.113.7, for=10.0.0.1;host=\"shop.example:8080\";proto=http");
        assert!(!map.contains_key("x-forwarded-for"));
    }
}
