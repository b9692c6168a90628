//! What is one's is not given to another.

use super::support::*;
use crate::cache::{Cache, CachePolicy};
use bartizan_store::Key;
use http::Method;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tower_layer::Layer;

fn by_tenant(policy: CachePolicy, origin: &Origin) -> Cache<Origin> {
    let tenant = |head: &http::request::Parts| Some(Key::new(head.headers.get("x-tenant")?.as_bytes()));
    layer().policy(policy).partition_by(tenant).layer(origin.clone())
}

fn policies() -> [CachePolicy; 2] {
    [CachePolicy::new(), CachePolicy::rfc()]
}

fn whose(head: &http::request::Parts, name: &str) -> String {
    head.headers.get(name).map_or("nobody", |value| value.to_str().unwrap()).to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_for_one_partition_is_not_seen_in_another() {
    for policy in policies() {
        let origin = Origin::new(|head, _| fresh(60).with("cache-tag", "t").body(&whose(head, "x-tenant")));
        let cache = by_tenant(policy, &origin);
        for _ in 0..2 {
            for tenant in ["a", "b", "ab", "aa"] {
                assert_eq!(send(&cache, get("/").with("x-tenant", tenant)).await.text(), tenant);
            }
        }
        assert_eq!(origin.asked(), 4);
        send(&cache, request("PUT", "/").with("x-tenant", "a")).await;
        assert!(send(&cache, get("/").with("x-tenant", "b")).await.is_hit());
        assert!(!send(&cache, get("/").with("x-tenant", "a")).await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_do_not_wait_for_each_other_and_do_not_read_along() {
    let origin = Origin::new(|head, _| fresh(60).after(5).body(&whose(head, "x-tenant")).pause(5).body("!"));
    let cache = by_tenant(CachePolicy::new(), &origin);
    let ask = |tenant: &'static str| {
        let cache = cache.clone();
        tokio::spawn(async move { timed(send(&cache, get("/").with("x-tenant", tenant))).await })
    };
    let both = [ask("a"), ask("b")];
    for (asking, tenant) in both.into_iter().zip(["a!", "b!"]) {
        let (answer, seconds) = asking.await.unwrap();
        assert_eq!((answer.text(), seconds), (tenant, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_no_partition_passes_by() {
    let origin = Origin::new(|head, _| fresh(60).body(&whose(head, "x-tenant")));
    let cache = by_tenant(CachePolicy::rfc(), &origin);
    for asked in 1..3 {
        let answer = send(&cache, get("/")).await;
        assert_eq!((answer.said().as_str(), origin.asked()), ("fwd=bypass; detail=no-key", asked));
    }
}

#[tokio::test(start_paused = true)]
async fn whose_it_is_is_not_asked_where_nothing_is_looked_for() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let layer = layer().partition_by(move |_| {
        count.fetch_add(1, Relaxed);
        Some(Key::new("a"))
    });
    let cache = layer.layer(Origin::new(|_, _| ok()));
    let rows = [(get("/").with("if-match", "\"e\""), "fwd=bypass", 0), (request("OPTIONS", "/"), "fwd=method", 0)];
    for (request, said, times) in rows.into_iter().chain([(request("POST", "/"), "fwd=method", 1)]) {
        assert_eq!((send(&cache, request).await.said().as_str(), asked.load(Relaxed)), (said, times));
    }
}

#[tokio::test(start_paused = true)]
async fn an_authorised_answer_is_for_others_only_if_it_says_so() {
    for policy in policies() {
        for (control, is_shared) in [
            ("max-age=60", false),
            ("max-age=60, private", false),
            ("max-age=60, public", true),
            ("s-maxage=60", true),
            ("max-age=60, must-revalidate", true),
            ("max-age=60, proxy-revalidate", false),
        ] {
            for other in [get("/"), get("/").with("authorization", "Basic YjpiYg")] {
                let origin = Origin::new(move |_, nth| ok().with("cache-control", control).body(&nth.to_string()));
                let cache = layer().policy(policy.clone()).layer(origin);
                send(&cache, get("/").with("authorization", "Basic YTpi")).await;
                assert_eq!(send(&cache, other).await.is_hit(), is_shared, "{control}");
            }
        }
    }
}

/// Of 40 clients of tower-http-cache, 39 got another's authorised answer.
#[tokio::test(start_paused = true)]
async fn of_many_at_once_each_gets_its_own() {
    for policy in policies() {
        for name in ["authorization", "cookie", "x-user"] {
            let origin = Origin::new(move |head, _| {
                let reply = match name {
                    "authorization" => fresh(60),
                    "cookie" => ok().with("cache-control", "private"),
                    _ => fresh(60).with("vary", "x-user"),
                };
                reply.after(5).body(&whose(head, name))
            });
            let cache = layer().policy(policy.clone()).layer(origin);
            let asking: Vec<_> = (0..40)
                .map(|user| {
                    let cache = cache.clone();
                    tokio::spawn(async move { timed(send(&cache, get("/").with(name, &user.to_string()))).await })
                })
                .collect();
            for (user, asking) in asking.into_iter().enumerate() {
                let (answer, seconds) = asking.await.unwrap();
                assert_eq!(answer.text(), user.to_string(), "{name}");
                assert!(seconds <= 10, "{name}: nobody waits for more than one other");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_cookie_is_shared_by_the_safe_rules_only_if_it_says_so() {
    for (control, by_safe, by_all) in [
        ("max-age=60", false, true),
        ("max-age=60, public", true, true),
        ("s-maxage=60", true, true),
        ("private", false, false),
    ] {
        for (policy, is_shared) in policies().into_iter().zip([by_safe, by_all]) {
            let origin = Origin::new(move |_, nth| ok().with("cache-control", control).body(&nth.to_string()));
            let cache = layer().policy(policy).layer(origin);
            send(&cache, get("/").with("cookie", "id=7")).await;
            assert_eq!(send(&cache, get("/")).await.is_hit(), is_shared, "{control}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cookie_that_is_set_is_shared_by_the_safe_rules_only_if_it_says_so() {
    for (control, by_safe, by_all) in [
        ("max-age=60", false, true),
        ("s-maxage=60", false, true),
        ("max-age=60, public", true, true),
        ("max-age=60, private=\"set-cookie\"", true, true),
        ("max-age=60, no-cache=\"set-cookie\"", true, true),
    ] {
        for (policy, is_shared) in policies().into_iter().zip([by_safe, by_all]) {
            let origin = Origin::new(move |_, _| {
                ok().with("cache-control", control).with("set-cookie", "a=1").with("set-cookie", "b=2").body("one")
            });
            let cache = layer().policy(policy).layer(origin);
            assert_eq!(send(&cache, get("/")).await.all("set-cookie"), ["a=1", "b=2"]);
            let next = send(&cache, get("/")).await;
            assert_eq!(next.is_hit(), is_shared, "{control}");
            if is_shared {
                let cookies = next.all("set-cookie");
                assert_eq!(cookies.len(), if control.contains('"') { 0 } else { 2 }, "{control}: all of them, or none");
            }
        }
    }
}

// ===== Vary =====

#[tokio::test(start_paused = true)]
async fn several_variants_are_stored_and_each_gets_its_own() {
    let origin = Origin::new(|head, _| {
        let kind = whose(head, "x-kind");
        fresh(60).with("vary", "X-Other").with("vary", "x-kind,,").body(&kind)
    });
    let cache = cache(&origin);
    for round in 0..3 {
        for kind in ["a", "b", "c"] {
            let answer = send(&cache, get("/").with("x-kind", kind)).await;
            assert_eq!((answer.text(), answer.is_hit()), (kind, round > 0));
        }
    }
    assert_eq!(send(&cache, get("/").with("x-kind", "d")).await.said(), "fwd=vary-miss; stored; ttl=60");
    assert!(!send(&cache, get("/").with("x-kind", "a").with("x-kind", "b")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn variants_that_are_known_do_not_wait_for_each_other() {
    let origin = Origin::new(|head, nth| {
        fresh(60).with("vary", "x-kind").after(if nth == 0 { 0 } else { 3 }).body(&whose(head, "x-kind"))
    });
    let cache = cache(&origin);
    send(&cache, get("/").with("x-kind", "a")).await;
    let asking: Vec<_> = ["b", "b", "c", "c"]
        .into_iter()
        .map(|kind| {
            let cache = cache.clone();
            tokio::spawn(async move { timed(send(&cache, get("/").with("x-kind", kind))).await })
        })
        .collect();
    for (asking, kind) in asking.into_iter().zip(["b", "b", "c", "c"]) {
        let (answer, seconds) = asking.await.unwrap();
        assert_eq!((answer.text(), seconds), (kind, 3));
    }
    assert_eq!(origin.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_head_tells_variants_apart() {
    let origin = Origin::new(|head, _| {
        let reply = fresh(60).with("vary", "x-kind").with("x-is", &whose(head, "x-kind"));
        if head.method == Method::HEAD { reply } else { reply.body("one") }
    });
    let cache = cache(&origin);
    send(&cache, get("/").with("x-kind", "a")).await;
    for kind in ["a", "b", "a"] {
        assert_eq!(send(&cache, request("HEAD", "/").with("x-kind", kind)).await.one("x-is"), kind);
    }
}
