//! The proxy with a cache in front of origins of every framing, and of origins that are gone: what is stored, and what
//! stands in.

mod support;

use bartizan::cache::{CacheKey, CacheLayer, Purge, ResponseCache};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use support::{wire::*, *};

const FRESH: &str = "cache-control: max-age=60\r\n";
/// Stored, and stale from the beginning, so that no test has to wait for it.
const STALE: &str = "cache-control: max-age=60\r\nage: 60\r\netag: \"1\"\r\n";

#[tokio::test]
async fn an_answer_is_stored_whatever_its_framing() {
    let chunked = "transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n";
    for (name, said) in [
        ("a length", ok(FRESH, "hello")),
        ("a length and close", ok(&[FRESH, "connection: close\r\n"].concat(), "hello").then(Then::Close)),
        ("chunked", format!("HTTP/1.1 200 OK\r\n{FRESH}{chunked}").into()),
        (
            "chunked and close",
            Said::from(format!("HTTP/1.1 200 OK\r\n{FRESH}connection: close\r\n{chunked}")).then(Then::Close),
        ),
        ("until the end", Said::from(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\nhello")).then(Then::Close)),
        ("HTTP/1.0", Said::from(format!("HTTP/1.0 200 OK\r\n{FRESH}\r\nhello")).then(Then::Close)),
    ] {
        let origin = Origin::saying(said).await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        for hit in [false, true, true] {
            let reply = client.ask(&ask("/", "")).await;
            assert_eq!((reply.status, reply.text(), reply.is_hit()), (200, "hello", hit), "{name}");
        }
        let last = client.ask(&ask("/", "")).await;
        assert_eq!(last.field("content-length"), "5", "{name}: its length is known now");
        assert_eq!(origin.count(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_empty_answer_is_stored_whatever_its_framing() {
    for (name, said, status) in [
        ("a length", ok(FRESH, ""), 200),
        ("chunked", format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n0\r\n\r\n").into(), 200),
        ("until the end", Said::from(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\n")).then(Then::Close), 200),
        ("no content", format!("HTTP/1.1 204 No Content\r\n{FRESH}\r\n").into(), 204),
        ("not found", format!("HTTP/1.1 404 Not Found\r\n{FRESH}content-length: 0\r\n\r\n").into(), 404),
    ] {
        let origin = Origin::saying(said).await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        for hit in [false, true, true] {
            let reply = client.ask(&ask("/", "")).await;
            assert_eq!((reply.status, reply.text(), reply.is_hit()), (status, "", hit), "{name}");
        }
        assert_eq!(origin.count(), 1, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_may_not_be_stored_is_not() {
    for (fields, why) in [
        ("cache-control: no-store\r\n", "no-store"),
        ("cache-control: private, max-age=60\r\n", "private"),
        ("cache-control: max-age=60\r\nset-cookie: a=1\r\n", "set-cookie"),
        ("cache-control: max-age=60\r\nvary: *\r\n", "vary"),
        ("", "no-freshness"),
    ] {
        let origin = Origin::saying(ok(fields, "mine")).await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        for count in 1..4 {
            let reply = client.ask(&ask("/", "")).await;
            assert_eq!((reply.text(), reply.how()), ("mine", &*format!("bartizan; fwd=uri-miss; detail={why}")));
            assert_eq!(origin.count(), count);
        }
    }
}

#[tokio::test]
async fn a_502_and_a_504_of_our_own_are_never_stored() {
    for then in [Then::Close, Then::Reset, Then::Hang] {
        let origin = Origin::new(move |number, _| match number {
            0 => Said::from("").then(then),
            _ => ok(FRESH, "back"),
        })
        .await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        let failed = client.ask(&ask("/", "")).await;
        assert_eq!(failed.status, if then == Then::Hang { 504 } else { 502 });
        assert!(failed.how().starts_with("bartizan; fwd=uri-miss") && !failed.how().contains("stored"), "{failed:?}");
        let after = client.ask(&ask("/", "")).await;
        assert_eq!((after.status, after.text()), (200, "back"), "{then:?}");
    }
    let mut client = Peer::connect(cached(dead().await).await).await;
    for _ in 0..2 {
        assert_eq!(client.ask(&ask("/", "")).await.status, 502);
    }
}

/// Says this once, and from then on nothing.
async fn once(fields: &str) -> Origin {
    let said = ok(fields, "stale");
    Origin::new(move |number, _| if number == 0 { said.clone() } else { Said::from("").then(Then::Reset) }).await
}

#[tokio::test]
async fn what_is_stale_stands_in_for_an_origin_that_is_gone() {
    let origin = once(STALE).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    client.ask(&ask("/", "")).await;
    for _ in 0..3 {
        let reply = client.ask(&ask("/", "")).await;
        assert_eq!((reply.status, reply.text()), (200, "stale"));
        assert!(reply.how().starts_with("bartizan; fwd=stale"), "{reply:?}");
        assert_eq!(client.ask(&ask("/", "if-none-match: \"1\"\r\n")).await.status, 304);
        assert_eq!(client.ask(&ask("/", "range: bytes=0-1\r\n")).await.text(), "st");
    }
    assert!(origin.count() > 3, "it was asked each time");
}

#[tokio::test]
async fn what_must_be_validated_never_stands_in() {
    for directive in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let origin = once(&[STALE, &format!("cache-control: {directive}\r\n")].concat()).await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        client.ask(&ask("/", "")).await;
        for _ in 0..2 {
            assert_eq!(client.ask(&ask("/", "")).await.status, 502, "{directive}");
        }
    }
}

#[tokio::test]
async fn a_304_of_the_origin_makes_it_fresh_again_and_the_client_gets_the_whole() {
    let origin = Origin::new(|_, head| match head.contains("if-none-match: \"1\"\r\n") {
        true => Said::from("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncache-control: max-age=60\r\nx-new: 1\r\n\r\n"),
        false => ok(STALE, "hello"),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    client.ask(&ask("/", "")).await;
    let validated = client.ask(&ask("/", "")).await;
    assert_eq!((validated.status, validated.text(), validated.field("x-new")), (200, "hello", "1"));
    assert!(validated.how().contains("fwd=stale; fwd-status=304"), "{validated:?}");
    let hit = client.ask(&ask("/", "")).await;
    assert_eq!((hit.text(), hit.is_hit(), hit.field("x-new")), ("hello", true, "1"));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_client_that_has_it_already_is_told_so_though_it_has_just_come() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\netag: \"1\"\r\n", "hello")).await;
    let proxy = cached(origin.addr).await;
    let mut client = Peer::connect(proxy).await;
    let told = client.ask(&ask("/", "if-none-match: \"1\"\r\n")).await;
    assert_eq!(told.status, 304);
    // It is read to its end for nobody.
    let mut tries = 0;
    while !client.ask(&ask("/", "")).await.is_hit() {
        tries += 1;
        assert!(tries < 100, "it was never stored");
    }
    assert!(origin.count() <= 2);
}

#[tokio::test]
async fn a_connection_that_the_origin_closes_at_any_time_costs_no_answer() {
    // Every answer is the last of its connection, though it does not say so.
    let origin =
        Origin::new(|number, _| ok("cache-control: no-store\r\n", &format!("{number}")).then(Then::Close)).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for number in 0..20 {
        let reply = client.ask(&ask("/", "")).await;
        assert_eq!((reply.status, reply.text()), (200, &*number.to_string()));
    }
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_answers_nobody_who_came_after_it() {
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Semaphore::new(0)));
    let (seen, gate) = (Arc::clone(&asked), Arc::clone(&go));
    let addr = raw(move |mut stream| {
        let (seen, gate) = (Arc::clone(&seen), Arc::clone(&gate));
        async move {
            while !head(&mut stream).await.is_empty() {
                let number = seen.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    gate.acquire().await.expect("it is never closed").forget();
                }
                let said = ok(FRESH, &format!("version {number}"));
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &said.bytes).await;
            }
        }
    })
    .await;
    let cache = ResponseCache::new(1 << 20);
    let proxy = caching(CacheLayer::new(cache.clone()), addr).await;
    let before = tokio::spawn(async move { Peer::connect(proxy).await.ask(&ask("/", "")).await });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    cache.purge(&Purge::url(CacheKey::url("http://shop.example/").unwrap()));
    let after = tokio::spawn(async move { Peer::connect(proxy).await.ask(&ask("/", "")).await });
    // Real time: long enough that the request has come to wait for the other, or to the origin.
    for _ in 0..50 {
        if asked.load(Ordering::SeqCst) > 1 {
            break;
        }
        tokio::time::sleep(ms(10)).await;
    }
    go.add_permits(1);
    assert_eq!(before.await.unwrap().text(), "version 0");
    assert_eq!(after.await.unwrap().text(), "version 1");
    assert_eq!(Peer::connect(proxy).await.ask(&ask("/", "")).await.text(), "version 1");
}
