//! What is the same request, and what never reaches the origin.

use super::support::*;
use crate::{
    cache::{Cache, KeyRules},
    shared::PeerAddr,
};
use bytes::Bytes;
use http::{HeaderName, Request};
use http_body_util::Full;
use tower_layer::Layer;

fn echo() -> Origin {
    Origin::new(|head, _| fresh(60).body(&format!("{} {}", head.headers["host"].to_str().unwrap(), head.uri)))
}

fn by(rules: KeyRules, origin: &Origin) -> Cache<Origin> {
    layer().keys(rules).layer(origin.clone())
}

/// http-cache-tower-server leaves the query out.
#[tokio::test(start_paused = true)]
async fn host_path_and_query_make_another_answer() {
    let origin = echo();
    let cache = cache(&origin);
    for target in ["/", "/a", "/A", "/a?q=a", "/a?q=b", "/a?", "/a/", "/%61"] {
        for _ in 0..2 {
            assert_eq!(send(&cache, get(target)).await.text(), format!("a.example {target}"));
        }
    }
    let other = Request::get("/").header("host", "b.example").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(send(&cache, other).await.text(), "b.example /");
    assert_eq!(origin.asked(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_two_hosts_or_none_passes_by_the_cache() {
    let rows: [fn() -> Ask; 3] = [
        || get("/").with("host", "b.example"),
        || Request::get("/").body(Full::default()).unwrap(),
        || get("http://b.example/"),
    ];
    for row in rows {
        let origin = Origin::new(|_, nth| fresh(60).body(&nth.to_string()));
        let cache = cache(&origin);
        for nth in 0..2 {
            let answer = send(&cache, row()).await;
            assert_eq!((answer.text(), answer.said().as_str()), (&*nth.to_string(), "fwd=bypass; detail=no-key"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_with_content_passes_by_the_cache() {
    let origin = Origin::new(|_, nth| fresh(60).body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    let fat: Ask = get("/").map(|_| Full::from("which="));
    assert_eq!(send(&cache, fat).await.said(), "fwd=bypass");
    let chunked = get("/").with("transfer-encoding", "chunked");
    assert_eq!(send(&cache, chunked).await.said(), "fwd=bypass");
    assert_eq!(send(&cache, get("/")).await.text(), "0");
}

/// "Cache Poisoned Denial of Service" (2019): the service's refusal of one would be the answer for all.
#[tokio::test(start_paused = true)]
async fn fields_that_a_service_may_be_unable_to_read_pass_by_the_cache() {
    let origin = Origin::new(|head, _| {
        status(if head.headers.contains_key("x-big") { 400 } else { 200 }).with("cache-control", "max-age=60")
    });
    let cache = cache(&origin);
    let big = |length: usize| get("/").with("x-big", &"b".repeat(length));
    assert_eq!(send(&cache, big(9_000)).await.said(), "fwd=bypass; detail=large-request");
    assert_eq!(send(&cache, get("/")).await.status, 200);
    assert!(send(&cache, big(2_000)).await.is_hit());
    let many = (0..500).fold(get("/"), |request, _| request.with("x-many", "1"));
    assert!(send(&cache, many).await.is_hit(), "what is stored answers it as well");
}

#[tokio::test(start_paused = true)]
async fn nor_do_they_refresh_what_is_stored_and_long_names_count_as_well() {
    let origin =
        Origin::new(|_, nth| ok().with("cache-control", "max-age=1, stale-while-revalidate=60").body(&nth.to_string()));
    let cache = cache(&origin);
    send(&cache, get("/")).await;
    pass(2).await;
    let name: &'static str = "n".repeat(7_000).leak();
    assert_eq!(send(&cache, get("/").with(name, "1")).await.text(), "0");
    settle().await;
    assert_eq!(origin.asked(), 1, "nothing is refreshed for it");
    assert_eq!(send(&cache, get("/other").with(name, "1")).await.said(), "fwd=bypass; detail=large-request");
    send(&cache, get("/")).await;
    settle().await;
    assert_eq!(origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_passes_by_the_cache_with_all_that_it_has() {
    let origin = Origin::new(|head, _| {
        assert!(head.extensions.get::<u8>() == Some(&7) && head.headers["upgrade"] == "websocket");
        status(101).mark(8_u8)
    });
    let cache = cache(&origin);
    let mut request = get("/").with("connection", "upgrade").with("upgrade", "websocket").with("x-forwarded-host", "b");
    request.extensions_mut().insert(7_u8);
    let response = open(&cache, request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.extensions().get::<u8>()), (101, Some(&8)));
    assert_eq!(origin.was_told("x-forwarded-host"), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn the_extensions_of_a_request_reach_the_origin() {
    let origin = Origin::new(|head, _| {
        assert!(head.extensions.get::<PeerAddr>().is_some());
        fresh(60)
    });
    let mut request = get("/");
    request.extensions_mut().insert(PeerAddr(([127, 0, 0, 1], 1).into()));
    send(&cache(&origin), request).await;
    assert_eq!(origin.asked(), 1);
}

/// "Practical Web Cache Poisoning": one client would have an answer stored that says what he likes.
#[tokio::test(start_paused = true)]
async fn fields_that_are_not_in_the_key_never_reach_the_origin() {
    let origin = Origin::new(|head, _| {
        let told = head.headers.get("x-forwarded-host").map_or("mine", |host| host.to_str().unwrap());
        fresh(60).body(told)
    });
    let cache = cache(&origin);
    let names = [
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "forwarded",
        "x-host",
        "x_http_method_override",
        "x_forwarded_host",
    ];
    let poison = names.into_iter().fold(get("/"), |request, name| request.with(name, "evil"));
    assert_eq!(send(&cache, poison).await.text(), "mine");
    for name in names {
        assert_eq!(origin.was_told(name), [""; 0], "{name}");
    }
    assert_eq!(send(&cache, get("/")).await.text(), "mine");
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_in_the_key_reaches_the_origin_and_tells_answers_apart() {
    let origin = Origin::new(|head, _| fresh(60).body(head.headers["x-forwarded-host"].to_str().unwrap()));
    let cache = by(KeyRules::new().with_field(HeaderName::from_static("x-forwarded-host")), &origin);
    for _ in 0..2 {
        for host in ["b", "c"] {
            assert_eq!(send(&cache, get("/").with("x-forwarded-host", host)).await.text(), host);
        }
    }
    assert_eq!(origin.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_scheme_in_front_is_in_the_key() {
    let origin = Origin::new(|head, _| fresh(60).body(head.headers["x-forwarded-proto"].to_str().unwrap()));
    let cache = cache(&origin);
    for _ in 0..2 {
        for scheme in ["http", "https"] {
            assert_eq!(send(&cache, get("/").with("x-forwarded-proto", scheme)).await.text(), scheme);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_in_another_order_is_the_same_where_the_rules_say_so() {
    let origin = echo();
    let cache = by(KeyRules::new().sort_query(), &origin);
    assert_eq!(send(&cache, get("/?b=2&a=1")).await.text(), "a.example /?a=1&b=2");
    assert!(send(&cache, get("/?a=1&b=2")).await.is_hit());
}

/// "Web Cache Entanglement": what is left out of the key must not change the answer.
#[tokio::test(start_paused = true)]
async fn parameters_that_are_not_in_the_key_never_reach_the_origin() {
    for rules in [KeyRules::new().without_params(["utm_*"]), KeyRules::new().only_params(["q"])] {
        let origin = echo();
        let cache = by(rules, &origin);
        assert_eq!(send(&cache, get("/?q=1&utm_source=evil")).await.text(), "a.example /?q=1");
        assert!(send(&cache, get("/?q=1")).await.is_hit());
        assert_eq!(send(&cache, get("http://a.example/?utm_x=1&q=2")).await.text(), "a.example http://a.example/?q=2");
    }
}

/// What changes something is never stored, and may mean what it says.
#[tokio::test(start_paused = true)]
async fn a_request_that_changes_something_keeps_its_query() {
    let origin = echo();
    let cache = by(KeyRules::new().without_params(["utm_*"]), &origin);
    assert_eq!(send(&cache, request("POST", "/?utm_source=1")).await.text(), "a.example /?utm_source=1");
}

#[tokio::test(start_paused = true)]
async fn all_hosts_are_one_where_the_rules_say_so() {
    let origin = echo();
    let cache = by(KeyRules::new().any_host(), &origin);
    send(&cache, get("/")).await;
    let other = Request::get("/").header("host", "b.example").body(Full::<Bytes>::default()).unwrap();
    assert!(send(&cache, other).await.is_hit());
}

/// The answer to such a `POST` answers a later `GET`.
#[tokio::test(start_paused = true)]
async fn unkeyed_fields_of_a_post_whose_answer_is_stored_reach_nobody() {
    let origin = Origin::new(|head, _| {
        let host = head.headers.get("x-forwarded-host").map_or("mine", |host| host.to_str().unwrap());
        fresh(60).with("content-location", "/").body(host)
    });
    let cache = rfc(&origin);
    send(&cache, request("POST", "/").with("x-forwarded-host", "evil")).await;
    assert_eq!(send(&cache, get("/")).await.text(), "mine");
}
