use super::{forwarding::address, *};
use bartizan::{PeerAddr, TrustedProxies};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, uri::Scheme};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
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
    let of =
        |uri: &str| host(&Request::get(uri).header(header::HOST, "other").body(()).unwrap().into_parts().0).unwrap();
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
    for (connection, upgrade) in
        [("upgrade, http2-settings", "h2c"), ("upgrade", "HTTP/2.0"), ("upgrade", "TLS/1.2, h2"), ("te", "websocket")]
    {
        assert_eq!(of(connection, upgrade), None, "{connection}: {upgrade}");
    }
    let taken = |upgrade| taken_upgrade(&headers(&[("upgrade", upgrade)]), &HeaderValue::from_static("a, WebSocket"));
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
    let claims = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https")];
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
