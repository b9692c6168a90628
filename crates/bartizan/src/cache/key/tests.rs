use super::*;
use http::{HeaderName, Request};
use proptest::prelude::*;

fn of(uri: &str, fields: &[(&str, &str)], rules: &KeyRules) -> Option<CacheKey> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    CacheKey::of(&head.uri, &head.headers, None, rules)
}

fn plain(uri: &str, fields: &[(&str, &str)]) -> Option<String> {
    of(uri, fields, &KeyRules::new()).map(|key| key.to_string())
}

#[test]
fn a_key_is_what_names_the_resource() {
    for (uri, host, printed) in [
        ("/a?b=c", Some("Example.COM"), "http://example.com/a?b=c"),
        ("/a?", Some("example.com"), "http://example.com/a?"),
        ("http://example.com", None, "http://example.com/"),
        ("https://example.com:443/", None, "https://example.com/"),
        ("https://example.com:/", None, "https://example.com/"),
        ("https://example.com:80/", None, "https://example.com:80/"),
        ("http://EXAMPLE.com/%7e/../A", Some("example.com:80"), "http://example.com/%7e/../A"),
        ("/", Some("[2001:DB8::1]:8080"), "http://[2001:db8::1]:8080/"),
        ("*", Some("a"), "http://a*"),
    ] {
        let fields: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
        assert_eq!(plain(uri, &fields).as_deref(), Some(printed), "{uri} {host:?}");
    }
}

#[test]
fn a_request_for_no_host_or_for_two_is_not_cached() {
    for (uri, hosts) in [
        ("/", &[][..]),
        ("/", &[""]),
        ("/", &["a", "a"]),
        ("/", &["a,b"]),
        ("/", &["a b"]),
        ("/", &["user@a"]),
        ("/", &["a:80:80"]),
        ("/", &["a:080"]),
        ("/", &["a:99999"]),
        ("/", &["a:+80"]),
        ("/", &["a%2f"]),
        ("/", &["a/b"]),
        ("/", &["[]"]),
        ("/", &["[::1"]),
        ("/", &["[::1]x"]),
        ("http://user@a/", &[]),
        ("http://a/", &["b"]),
        ("http://a/", &["a:8080"]),
        ("ftp://a/", &["a"]),
    ] {
        let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        assert_eq!(plain(uri, &fields), None, "{uri} {hosts:?}");
    }
}

#[test]
fn a_key_longer_than_8_kib_is_none() {
    assert!(plain(&format!("/{}", "a".repeat(8000)), &[("host", "a")]).is_some());
    assert!(plain(&format!("/{}", "a".repeat(9000)), &[("host", "a")]).is_none());
    let rules = KeyRules::new().with_field(HeaderName::from_static("x-key"));
    assert!(of("/", &[("host", "a"), ("x-key", &"k".repeat(9000))], &rules).is_none());
}

#[test]
fn the_query_goes_on_as_it_is_in_the_key() {
    let rules = KeyRules::new().sort_query().without_params(["utm_*", "fbclid"]);
    for (target, forwarded) in [
        ("/?b=1&a=2&utm_source=x&b=0&fbclid=1", "/?a=2&b=1&b=0"),
        ("/?utm_source=x", "/"),
        ("/?utm=1", "/?utm=1"),
        ("/?", "/?"),
    ] {
        let uri: Uri = target.parse().unwrap();
        let rewritten = rules.target(&uri).map_or_else(|| target.to_owned(), |target| target.to_string());
        assert_eq!(rewritten, forwarded);
        let key = |target| of(target, &[("host", "a")], &rules);
        assert_eq!(key(target), key(forwarded));
    }
    let only = KeyRules::new().only_params(["q", "page"]);
    let key = of("/?x=1&q=2&Q=3&page=4&pager=5", &[("host", "a")], &only);
    assert_eq!(key.unwrap().to_string(), "http://a/?q=2&page=4");
}

#[test]
fn what_a_request_says_beside_its_url_counts_if_it_is_to() {
    let host = ("host", "a");
    let proto = |value| plain("/", &[host, ("x-forwarded-proto", value)]).unwrap();
    assert_eq!(proto("https"), "http://a/ x-forwarded-proto=https");
    assert_eq!(proto("https,http"), "http://a/ x-forwarded-proto=https,http");
    let rules = KeyRules::new().with_field(HeaderName::from_static("x-key")).without_forwarded_proto();
    let of = |fields: &[(&str, &str)]| of("/", fields, &rules).unwrap();
    assert_eq!(of(&[host]), of(&[host, ("x-forwarded-proto", "https")]));
    assert_ne!(of(&[host]), of(&[host, ("x-key", "")]));
    assert_ne!(of(&[host, ("x-key", "a"), ("x-key", "b")]), of(&[host, ("x-key", "ab")]));
}

#[test]
fn what_changes_an_answer_and_is_not_in_the_key_is_taken_out_however_it_is_spelled() {
    let takes_out = |rules: &KeyRules, name| rules.takes_out(&HeaderName::from_static(name));
    let rules = KeyRules::new();
    for name in ["x-forwarded-host", "x-forwarded-uri", "x-original-url", "x-http-method-override", "forwarded"] {
        assert!(takes_out(&rules, name), "{name}");
        let as_a_variable = HeaderName::from_bytes(name.replace('-', "_").as_bytes()).unwrap();
        assert!(rules.takes_out(&as_a_variable), "{as_a_variable}");
    }
    for name in ["x-forwarded-for", "x-forwarded-user", "from", "x-request-id", "x-tenant-id", "x_request_id"] {
        assert!(!takes_out(&rules, name), "{name}");
    }
    assert!(takes_out(&rules, "x_forwarded_proto"), "nobody looks for it there to find it in the key");
    assert!(
        !takes_out(&rules, "x-forwarded-proto") && takes_out(&rules.without_forwarded_proto(), "x-forwarded-proto")
    );
    let rules = KeyRules::new().with_field(HeaderName::from_static("x-forwarded-host"));
    assert!(!takes_out(&rules, "x-forwarded-host"));
    let rules = KeyRules::new().with_forwarding();
    assert!(!takes_out(&rules, "x-forwarded-host") && !takes_out(&rules, "forwarded") && takes_out(&rules, "x-host"));
}

#[test]
fn what_a_proxy_was_asked_for_counts_where_it_is_to_and_who_asked_it_does_not() {
    let rules = KeyRules::new().with_forwarding();
    let of = |fields: &[(&str, &str)]| of("/", &[&[("host", "a")], fields].concat(), &rules).unwrap();
    for (one, other) in [
        (("x-forwarded-host", "b"), ("x-forwarded-host", "c")),
        (("x-forwarded-port", "1"), ("x-forwarded-port", "2")),
        (("x-forwarded-proto", "http"), ("x-forwarded-proto", "https")),
        (("forwarded", "for=1;proto=http"), ("forwarded", "for=1;proto=https")),
        (("forwarded", "for=1;host=b"), ("forwarded", "for=1, for=1;host=b")),
        (("forwarded", "host=\"x;for=1\""), ("forwarded", "host=\"x;for=2\"")),
        (("forwarded", "for=\"1"), ("forwarded", "for=\"2")),
        (("forwarded", "for=a\"b;host=x;c\"d"), ("forwarded", "for=a\"b;host=y;c\"d")),
    ] {
        assert_ne!(of(&[one]), of(&[other]), "{one:?} {other:?}");
        assert_ne!(of(&[one]), of(&[]));
    }
    for (one, other) in [
        ("for=192.0.2.1;proto=https", "For=192.0.2.2;proto=https"),
        ("proto=https;for=\"[2001:db8::1]:1\";by=a", "proto=https;for=192.0.2.2;by=b"),
        ("for=192.0.2.1, for=10.0.0.1;host=b", "for=192.0.2.7, for=10.0.0.2;host=b"),
    ] {
        assert_eq!(of(&[("forwarded", one)]), of(&[("forwarded", other)]), "{one} {other}");
    }
    assert_eq!(of(&[("x-forwarded-for", "1")]), of(&[("x-forwarded-for", "2")]));
}

#[test]
fn content_is_part_of_the_key_of_what_asks_by_it() {
    let key = || CacheKey::url("http://a/").unwrap();
    let with = |media_type: &[u8], digest| {
        let mut key = key();
        key.extend_with_content(media_type, &[digest; 32]);
        key
    };
    assert_ne!(with(b"text/plain", 1), with(b"text/plain", 2));
    assert_ne!(with(b"text/plain", 1), with(b"text/html", 1));
    assert_ne!(with(b"text/plain", 1), key());
    assert_eq!(with(b"text/plain", 1).resource(), key().resource());
    assert!(with(b"text/plain", 1).to_string().starts_with("http://a/ text/plain sha-256=0101"));
}

#[test]
fn a_url_has_the_key_of_the_request_for_it() {
    let key = CacheKey::url("https://example.com/a").unwrap().partition(Key::new("acme"));
    let uri: Uri = "https://example.com/a".parse().unwrap();
    let asked = CacheKey::of(&uri, &HeaderMap::new(), Some(&Key::new("acme")), &KeyRules::new()).unwrap();
    assert_eq!((&key, key.resource()), (&asked, asked.resource()));
    assert_eq!(key.to_string(), "acme https://example.com/a");
    assert_eq!(key.clone().partition(Key::new("b")).partition(Key::new("acme")), key);
    assert!(asked.of_every_scheme().any(|other| other == asked));
    assert_eq!(asked.of_every_scheme().filter(|other| other.resource() == asked.resource()).count(), 6);
    assert_eq!((CacheKey::url("/a"), CacheKey::url("")), (None, None));
}

#[test]
fn a_usual_key_is_held_in_place() {
    let query = "q".repeat(100);
    let key = of(&format!("/articles/2026/11/27/{query}"), &[("host", "www.example.com")], &KeyRules::new());
    assert!(!key.unwrap().bytes.is_beyond());
}

/// All that a key is to tell apart.
type Asked = (Option<String>, bool, String, String, Vec<(usize, String)>, Option<(String, u8)>);

fn asked() -> impl Strategy<Value = Asked> {
    let text = || prop::sample::select(vec!["", "a", "b", "ab", "/", "?", "x-a", "x-b"]).prop_map(str::to_owned);
    (
        prop::option::of(text()),
        any::<bool>(),
        prop::sample::select(vec!["a", "b", "ab", "a:81"]).prop_map(str::to_owned),
        "/[a-b/?\u{e4}]{0,3}",
        prop::collection::vec((0..2_usize, text()), 0..4),
        prop::option::of((text(), 0..2_u8)),
    )
}

fn key_of((partition, tls, host, path, fields, content): &Asked) -> CacheKey {
    let names = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
    let rules = names.iter().fold(KeyRules::new(), |rules, name| rules.with_field(name.clone()));
    let uri: Uri = format!("{}://{host}{path}", if *tls { "https" } else { "http" }).parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(&names[*name], value.parse().unwrap());
    }
    let partition = partition.as_ref().map(Key::new);
    let mut key = CacheKey::of(&uri, &headers, partition.as_ref(), &rules).unwrap();
    if let Some((media_type, digest)) = content {
        key.extend_with_content(media_type.as_bytes(), &[*digest; 32]);
    }
    key
}

/// `Forwarded`, its elements apart (RFC 7239 §4): who asks, as it is written there, and what else is said.
type Told = Vec<(String, Vec<(&'static str, String)>)>;

const VALUE: &str = "[ab]{1,2}|\"([a-c;,= ]{0,4}|;for=[ab]|\\\\\";for=[ab])\"";

fn told() -> impl Strategy<Value = Told> {
    let who = "[ab]{1,2}|\"[a-c;,= ]{0,4}\"";
    let said = prop::collection::vec((prop::sample::select(vec!["host", "proto", "x"]), VALUE), 1..3);
    prop::collection::vec((who, said), 1..3)
}

fn written(told: &Told, who: impl Fn(&str) -> String) -> String {
    let elements = told.iter().map(|(by, said)| {
        let said: Vec<_> = said.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("For={};{};by=_it", who(by), said.join(";"))
    });
    elements.collect::<Vec<_>>().join(", ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever is quoted.
    #[test]
    fn of_what_forwarded_tells_all_counts_but_who_asks(told in told(), at in any::<prop::sample::Index>(), other in VALUE) {
        let key = |line: &str| of("/", &[("host", "a"), ("forwarded", line)], &KeyRules::new().with_forwarding());
        let all = key(&written(&told, str::to_owned));
        prop_assert_eq!(&all, &key(&written(&told, |_| "192.0.2.1".to_owned())));
        let mut changed = told.clone();
        let said = &mut changed[at.index(told.len())].1[0].1;
        let is_same = *said == other;
        *said = other;
        prop_assert_eq!(all == key(&written(&changed, str::to_owned)), is_same);
    }

    #[test]
    fn no_two_requests_have_the_same_key(a in asked(), b in asked()) {
        let normal = |mut asked: Asked| {
            asked.4.sort_by_key(|(name, _)| *name); // lines of different fields have no order
            asked
        };
        let (a_key, b_key) = (key_of(&a), key_of(&b));
        prop_assert_eq!(normal(a) == normal(b), a_key == b_key);
        prop_assert!(a_key.to_string().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
    }

    #[test]
    fn whatever_a_host_says_there_is_a_key_or_there_is_none(
        host in prop::collection::vec(any::<u8>(), 0..40),
        uri in "[ -~]{0,30}",
    ) {
        let (Ok(host), Ok(uri)) = (HeaderValue::from_bytes(&host), uri.parse::<Uri>()) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(http::header::HOST, host)]);
        let rules = KeyRules::new().sort_query().only_params(["a*"]);
        if let Some(key) = CacheKey::of(&uri, &headers, None, &rules) {
            prop_assert!(key.as_bytes()[3..].iter().filter(|byte| **byte < b'!').count() == 1);
        }
    }
}
