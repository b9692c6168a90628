use super::{super::RequestDirectives, *};
use http::HeaderValue;
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

const PAST: (&str, &str) = ("last-modified", "Thu, 26 Nov 2026 00:00:00 GMT");
const ETAG_A: (&str, &str) = ("etag", "\"a\"");

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        headers.append(name, HeaderValue::from_str(value).expect("a field value"));
    }
    headers
}

fn arrival() -> Arrival {
    let now = Instant::now();
    Arrival { requested: now, received: now, wall: UNIX_EPOCH + Duration::from_secs(1_795_737_600) }
}

/// A request and the response to it.
#[derive(Clone, Debug)]
struct Exchange {
    policy: CachePolicy,
    method: Method,
    request: HeaderMap,
    status: u16,
    response: HeaderMap,
}

fn get(response: &[(&str, &str)]) -> Exchange {
    let (policy, method) = (CachePolicy::new(), Method::GET);
    Exchange { policy, method, request: HeaderMap::new(), status: 200, response: headers(response) }
}

impl Exchange {
    fn policy(self, policy: CachePolicy) -> Self {
        Self { policy, ..self }
    }

    fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn asked_with(self, request: &[(&str, &str)]) -> Self {
        Self { request: headers(request), ..self }
    }

    fn stored(&self) -> Result<Kept, NotStored> {
        let target = Uri::from_static("https://example.org/a?b=c");
        let no_store = RequestDirectives::read(&self.request).no_store;
        let asked = Asked { method: &self.method, target: &target, headers: &self.request, no_store };
        let star = self.response.get_all("vary").iter().any(|line| line.as_bytes().contains(&b'*'));
        let vary = if star { Vary::Everything } else { Vary::Nothing };
        let status = StatusCode::from_u16(self.status).expect("a status");
        storable(&self.policy, asked, status, &self.response, || vary, &arrival())
    }

    #[track_caller]
    fn is_kept(&self) -> Terms {
        self.stored().expect("stored").terms
    }

    #[track_caller]
    fn is_refused(&self, reason: NotStored) {
        assert_eq!(self.stored().err(), Some(reason));
    }
}

fn cache_control(value: &str) -> Exchange {
    get(&[("cache-control", value)])
}

#[test]
fn any_final_status_with_explicit_freshness_is_stored() {
    for status in [200, 201, 203, 204, 226, 299, 300, 301, 302, 303, 307, 308, 399] {
        cache_control("max-age=60").status(status).is_kept();
    }
    for status in [400, 401, 403, 404, 405, 410, 414, 418, 451, 499, 500, 501, 502, 503, 504, 550, 599] {
        cache_control("max-age=60").status(status).is_kept();
        get(&[("expires", "Fri, 27 Nov 2026 00:01:00 GMT")]).status(status).is_kept();
    }
}

#[test]
fn a_status_that_is_about_one_request_or_is_never_stored_is_not() {
    for status in [100, 101, 103, 199, 304, 412, 416, 428, 429, 431, 511] {
        cache_control("public, max-age=60").status(status).is_refused(NotStored::Status);
    }
}

#[test]
fn a_response_that_says_nothing_is_stored_only_by_a_policy_that_guesses() {
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        get(&[PAST]).policy(CachePolicy::rfc()).status(status).is_kept();
    }
    for status in [201, 302, 307, 400, 403, 499] {
        get(&[PAST]).policy(CachePolicy::rfc()).status(status).is_refused(NotStored::NoFreshness);
        get(&[PAST, ("cache-control", "public")]).policy(CachePolicy::rfc()).status(status).is_kept();
    }
    for status in [500, 502, 503, 504] {
        get(&[PAST]).policy(CachePolicy::rfc()).status(status).is_refused(NotStored::Status);
    }
    get(&[PAST, ETAG_A]).is_refused(NotStored::NoFreshness);
    get(&[]).policy(CachePolicy::rfc()).is_refused(NotStored::NoFreshness);
    let asked_for = CachePolicy::new().fresh_for(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(1));
    get(&[]).policy(asked_for).status(503).is_kept();
}

#[test]
fn neither_no_store_nor_private_is_stored_in_whatever_case() {
    for value in ["no-store", "NO-STORE, max-age=60", "max-age=60, No-Store=x", "public, no-store"] {
        cache_control(value).is_refused(NotStored::NoStore);
    }
    for value in ["private, max-age=60", "PRIVATE, MAX-AGE=60", "public, private", "s-maxage=60, private=\"\""] {
        cache_control(value).is_refused(NotStored::Private);
    }
    get(&[("cache-control", "max-age=60"), ("cdn-cache-control", "private, max-age=60")])
        .is_refused(NotStored::Private);
    get(&[("cache-control", "private"), ("cdn-cache-control", "max-age=60")]).is_kept();
}

#[test]
fn must_understand_goes_before_no_store_where_the_status_is_understood() {
    for status in [200, 204, 301, 404, 410, 500, 503] {
        cache_control("must-understand, no-store, max-age=60").status(status).is_kept();
    }
    for status in [299, 399, 499, 599] {
        cache_control("must-understand, max-age=60").status(status).is_refused(NotStored::NotUnderstood);
        cache_control("must-understand, no-store, max-age=60").status(status).is_refused(NotStored::NotUnderstood);
    }
    cache_control("must-understand, private, max-age=60").is_refused(NotStored::Private);
}

#[test]
fn no_store_of_a_request_is_heeded_by_every_policy() {
    for policy in [CachePolicy::new(), CachePolicy::rfc()] {
        let exchange = cache_control("public, max-age=60").policy(policy);
        exchange.asked_with(&[("cache-control", "max-age=0, No-Store")]).is_refused(NotStored::RequestNoStore);
    }
}

#[test]
fn a_response_to_authorization_says_that_others_may_have_it() {
    let asked =
        |value: &str| cache_control(value).policy(CachePolicy::rfc()).asked_with(&[("authorization", "Basic eA==")]);
    for value in ["public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60", "Must-Revalidate, max-age=60"] {
        asked(value).is_kept();
    }
    for value in [
        "max-age=60",
        "proxy-revalidate, max-age=60",
        "max-age=60, immutable",
        "no-cache, max-age=60",
        "public=x, max-age=60",
    ] {
        asked(value).is_refused(NotStored::Authorization);
    }
}

#[test]
fn cookies_keep_a_response_from_others_unless_it_or_the_policy_says_so() {
    let asked = |value: &str| cache_control(value).asked_with(&[("cookie", "id=1")]);
    asked("max-age=60").is_refused(NotStored::Cookie);
    asked("must-revalidate, max-age=60").is_refused(NotStored::Cookie);
    asked("public, max-age=60").is_kept();
    asked("s-maxage=60").is_kept();
    asked("max-age=60").policy(CachePolicy::new().cookie(true)).is_kept();

    let sets = |value: &str| get(&[("cache-control", value), ("set-cookie", "id=1")]);
    sets("max-age=60").is_refused(NotStored::SetCookie);
    sets("s-maxage=60").is_refused(NotStored::SetCookie);
    sets("public, max-age=60").is_kept();
    sets("max-age=60").policy(CachePolicy::new().set_cookie(true)).is_kept();
    sets("max-age=60").policy(CachePolicy::rfc()).is_kept();
}

#[test]
fn a_field_that_private_or_no_cache_names_is_left_away() {
    let response = get(&[
        ("cache-control", "max-age=60, private=\"Set-Cookie, X-User\", no-cache=\"x-user, x-trace\""),
        ("set-cookie", "id=1"),
    ]);
    let kept = response.stored().expect("stored: the cookie is left away");
    assert_eq!(kept.omit[..], ["set-cookie", "x-user", "x-trace"]);
    assert!(!kept.terms.no_cache);
    assert!(cache_control("max-age=60").stored().expect("stored").omit.is_empty());
}

#[test]
fn what_varies_by_everything_is_not_stored() {
    get(&[("cache-control", "max-age=60"), ("vary", "accept, *")]).is_refused(NotStored::VaryAny);
}

#[test]
fn what_varies_by_a_field_that_is_written_behind_the_cache_is_not_stored() {
    let varying = || get(&[("cache-control", "max-age=60"), ("vary", "accept, X-Forwarded-For")]);
    assert!(varying().stored().is_ok());
    let policy = CachePolicy::new().written_behind([HeaderName::from_static("x-forwarded-for")]);
    varying().policy(policy.clone()).is_refused(NotStored::VaryAny);
    assert!(get(&[("cache-control", "max-age=60"), ("vary", "accept")]).policy(policy).stored().is_ok());
}

#[test]
fn no_cache_is_stored_to_be_validated() {
    for value in ["no-cache", "no-cache, max-age=60", "NO-CACHE", "no-cache=\"\", max-age=60"] {
        for validator in [ETAG_A, PAST] {
            let terms = get(&[("cache-control", value), validator]).is_kept();
            assert!(terms.no_cache && terms.lifetime.is_zero());
        }
        cache_control(value).is_refused(NotStored::NoCache);
    }
    get(&[("cache-control", "no-cache"), ETAG_A]).status(302).is_refused(NotStored::NoFreshness);
}

#[test]
fn what_is_stale_on_arrival_is_stored_if_it_is_of_use() {
    let old = |fields: &[(&str, &str)]| {
        let mut response = headers(fields);
        response.insert("age", HeaderValue::from_static("7200"));
        Exchange { response, ..get(&[]) }
    };
    let plain = ("cache-control", "max-age=3600, stale-if-error=0");
    old(&[plain]).is_refused(NotStored::Stale);
    old(&[plain, ETAG_A]).is_kept();
    old(&[("cache-control", "max-age=3600, stale-if-error=9999")]).is_kept();
    old(&[("cache-control", "max-age=3600, stale-if-error=9999, must-revalidate")]).is_refused(NotStored::Stale);
    old(&[("cache-control", "max-age=3600, stale-while-revalidate=3600")]).is_kept();
    get(&[("expires", "0")]).is_refused(NotStored::Stale);
    get(&[("expires", "0"), ETAG_A]).is_kept();
    cache_control("max-age=0").is_refused(NotStored::Stale);
}

#[test]
fn only_get_head_query_and_a_post_that_is_told_to_are_stored() {
    cache_control("max-age=60").method(Method::HEAD).is_kept();
    cache_control("max-age=60").method(Method::QUERY).is_kept();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "PURGE"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        cache_control("public, max-age=60").policy(CachePolicy::rfc()).method(method).is_refused(NotStored::Method);
    }
}

#[test]
fn a_post_answers_a_get_if_it_is_fresh_and_names_its_own_url() {
    let post = |fields: &[(&str, &str)]| get(fields).policy(CachePolicy::rfc()).method(Method::POST);
    let fresh = ("cache-control", "max-age=60");
    for location in ["/a?b=c", "https://example.org/a?b=c", "https://EXAMPLE.org/a?b=c", "HTTPS://example.org/a?b=c"] {
        post(&[fresh, ("content-location", location)]).is_kept();
    }
    for location in [
        "",
        "*",
        "a?b=c",
        "?b=c",
        "/a",
        "/A?b=c",
        "/a?b=d",
        "/x/../a?b=c",
        "example.org/a?b=c",
        "//example.org/a?b=c",
        "http://example.org/a?b=c",
        "https://example.net/a?b=c",
        "https://example.org:8443/a?b=c",
        "https://example.org",
        "\u{7}",
    ] {
        let Ok(value) = HeaderValue::from_str(location) else { continue };
        let mut exchange = post(&[fresh]);
        exchange.response.insert("content-location", value);
        exchange.is_refused(NotStored::Method);
    }
    let own = ("content-location", "/a?b=c");
    post(&[fresh]).is_refused(NotStored::Method);
    post(&[fresh, own, own]).is_refused(NotStored::Method);
    post(&[own, PAST]).is_refused(NotStored::Method);
    post(&[own, ("cache-control", "max-age=0"), ETAG_A]).is_refused(NotStored::Method);
    post(&[fresh, own]).policy(CachePolicy::new()).is_refused(NotStored::Method);
}

#[test]
fn a_part_is_stored_if_it_says_which_one_it_is() {
    let range = ("content-range", "bytes 0-4/10");
    let fresh = ("cache-control", "max-age=60");
    let part = |fields: &[(&str, &str)]| get(fields).status(206);
    part(&[fresh, range, ETAG_A]).is_kept();
    part(&[fresh, range, PAST, ("date", "Fri, 27 Nov 2026 00:00:00 GMT")]).is_kept();
    // Without a strong validator it is still an answer by itself.
    part(&[fresh, range, ("etag", "W/\"a\"")]).is_kept();
    part(&[fresh, range]).is_kept();
    part(&[fresh, range, ("content-length", "4")]).is_refused(NotStored::Part);
    part(&[fresh, ETAG_A]).is_refused(NotStored::Part);
    part(&[fresh, ETAG_A, ("content-range", "rows 0-4/10")]).is_refused(NotStored::Part);
    part(&[fresh, range, ETAG_A]).policy(CachePolicy::new().parts(false)).is_refused(NotStored::Status);
    part(&[fresh, range, ETAG_A]).method(Method::HEAD).is_refused(NotStored::Status);
}

#[test]
fn each_reason_has_a_word_and_only_what_the_response_says_is_lasting() {
    use NotStored as N;
    let lasting =
        [N::NoStore, N::Private, N::NotUnderstood, N::SetCookie, N::VaryAny, N::NoFreshness, N::NoCache, N::Stale];
    let passing = [N::Method, N::RequestNoStore, N::Authorization, N::Cookie, N::Status, N::Part];
    assert!(lasting.iter().all(|reason| reason.is_lasting()) && !passing.iter().any(|reason| reason.is_lasting()));
    let words: std::collections::BTreeSet<_> = lasting.iter().chain(&passing).map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), 14);
}

/// Whether RFC 9111 §3 and §3.5 forbid a shared cache to store this, read from the text of the fields in the most naive way.
fn forbidden(exchange: &Exchange) -> bool {
    let lines = exchange.response.get_all("cache-control");
    let said = lines.iter().map(|line| line.to_str().expect("text")).collect::<Vec<_>>().join(",").to_lowercase();
    let says = |directive: &str| {
        said.split(',').any(|member| member.split('=').next().is_some_and(|name| name.trim() == directive))
    };
    let asks_no_store = exchange.request.get("cache-control").is_some_and(|value| value == "no-store");
    let shareable = says("public") || says("s-maxage") || says("must-revalidate");
    let explicit = says("public") || says("max-age") || says("s-maxage") || exchange.response.contains_key("expires");
    let by_default = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&exchange.status);
    exchange.method != Method::GET
        || exchange.status < 200
        || exchange.status == 304
        || asks_no_store
        || (says("no-store") && !says("must-understand"))
        || says("private")
        || (exchange.request.contains_key("authorization") && !shareable)
        || !(explicit || by_default)
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let directives = proptest::sample::select(vec![
        "max-age=60",
        "max-age=0",
        "s-maxage=9",
        "no-store",
        "PRIVATE",
        "public",
        "Must-Revalidate",
        "no-cache",
        "must-understand",
        "proxy-revalidate",
        "x",
        "immutable",
        "stale-if-error=9",
        "stale-while-revalidate=9",
    ]);
    let fields = proptest::sample::subsequence(
        vec![
            ETAG_A,
            PAST,
            ("expires", "Fri, 27 Nov 2026 00:01:00 GMT"),
            ("expires", "0"),
            ("age", "30"),
            ("set-cookie", "a=b"),
        ],
        0..4,
    );
    let asked = proptest::sample::subsequence(
        vec![("authorization", "x"), ("cookie", "a=b"), ("cache-control", "no-store"), ("cache-control", "no-cache")],
        0..2,
    );
    let method = proptest::sample::select(vec![Method::GET, Method::GET, Method::PUT]);
    let status = prop_oneof![Just(200_u16), 100_u16..600];
    let lines = proptest::collection::vec(directives, 0..4);
    (any::<bool>(), lines, fields, asked, method, status).prop_map(|(all, lines, fields, asked, method, status)| {
        let lines = lines.into_iter().map(|line| ("cache-control", line));
        let policy = if all { CachePolicy::rfc() } else { CachePolicy::new() };
        let response: Vec<_> = lines.chain(fields).collect();
        get(&response).policy(policy).method(method).status(status).asked_with(&asked)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_is_stored_that_a_naive_reading_forbids(exchange in exchange()) {
        let stored = exchange.stored();
        prop_assert!(!(stored.is_ok() && forbidden(&exchange)));
        // And what is stored is of use for some time.
        prop_assert!(stored.is_err() || stored.is_ok_and(|kept| kept.terms.horizon() > kept.terms.received));
    }

    #[test]
    fn the_safe_policy_stores_no_more_than_the_full_one(exchange in exchange()) {
        let full = exchange.clone().policy(CachePolicy::rfc()).stored();
        let safe = exchange.policy(CachePolicy::new()).stored();
        prop_assert!(safe.is_err() || full.is_ok());
    }

    #[test]
    fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..40), name in 0_usize..6) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let names = ["content-location", "content-range", "etag", "cache-control", "cdn-cache-control", "last-modified"];
        for (method, status) in [(Method::POST, 200), (Method::GET, 206)] {
            let mut exchange = cache_control("max-age=60").policy(CachePolicy::rfc()).method(method).status(status);
            exchange.response.insert(names[name], value.clone());
            let _ = exchange.stored();
        }
    }
}
