//! The proxy with a cache between origins and clients that behave as badly as a socket lets them: nothing that broke off
//! is ever stored, nothing of one answer gets into another, and nobody is left waiting.

mod support;

use bartizan::cache::{CacheLayer, ResponseCache};
use std::io;
use support::{wire::*, *};

const FRESH: &str = "cache-control: max-age=60\r\netag: \"1\"\r\n";
const BODY: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// The answers of an origin that is well, of each framing; the last ends with its connection.
fn framings() -> [(&'static str, Vec<u8>); 3] {
    let head = format!("HTTP/1.1 200 OK\r\n{FRESH}");
    [
        ("a length", ok(FRESH, BODY).bytes),
        (
            "chunked",
            format!("{head}transfer-encoding: chunked\r\n\r\n24\r\n{BODY}\r\n0\r\nx-sum: 1\r\n\r\n").into_bytes(),
        ),
        ("until the end", format!("{head}connection: close\r\n\r\n{BODY}").into_bytes()),
    ]
}

/// An origin that ends after so many bytes of its first answer, and is well from then on.
async fn ends_after(answer: &[u8], at: usize, then: Then) -> Origin {
    let answer = answer.to_vec();
    Origin::new(move |number, _| match number {
        0 => Said::from(&answer[..at]).then(then),
        _ => Said::from(answer.clone()).then(Then::Close),
    })
    .await
}

#[tokio::test]
async fn an_origin_that_resets_or_closes_at_every_byte_leaves_nothing_broken_in_the_store() {
    for (name, answer) in framings() {
        for at in 0..answer.len() {
            for then in [Then::Reset, Then::Close] {
                let what = format!("{name}, {then:?} after {at} of {}", answer.len());
                let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
                // A close is how such a body ends: nobody can tell that it was to go on.
                let looks_whole = name == "until the end" && then == Then::Close && at >= head;
                let origin = ends_after(&answer, at, then).await;
                let proxy = cached(origin.addr).await;
                let mut client = Peer::connect(proxy).await;
                client.send(ask("/", "")).await;
                match client.reply(false).await {
                    Ok(reply) if looks_whole => assert_eq!(reply.body, &answer[head..at], "{what}"),
                    Ok(reply) => assert_eq!(reply.status, 502, "{what}: {reply:?}"),
                    Err(_) => assert!(at >= head, "{what}: an answer to which there was a head yet is a 502"),
                }
                if looks_whole {
                    continue;
                }
                let mut client = Peer::connect(proxy).await;
                for count in [2, 2] {
                    let reply = client.ask(&ask("/", "")).await;
                    assert_eq!((reply.status, reply.text()), (200, BODY), "{what}");
                    assert_eq!(origin.count(), count, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_beginning_that_is_kept_is_completed_with_what_it_is_a_beginning_of() {
    let answer = ok(FRESH, BODY).bytes;
    let head = answer.len() - BODY.len();
    for (etag, whole) in [("\"1\"", BODY), ("\"2\"", "another altogether, and longer than what there was")] {
        let first = answer.clone();
        let origin = Origin::new(move |number, asked| {
            if number == 0 {
                return Said::from(&first[..head + 10]).then(Then::Close);
            }
            let fields = format!("cache-control: max-age=60\r\netag: {etag}\r\n");
            let range = asked.lines().find_map(|line| line.strip_prefix("range: bytes="));
            let is_same = asked.contains(&format!("if-range: {etag}\r\n"));
            match range.and_then(|range| range.strip_suffix('-')).and_then(|from| from.parse::<usize>().ok()) {
                Some(from) if is_same => {
                    let (rest, length) = (&whole[from..], whole.len());
                    let range = format!("content-range: bytes {from}-{}/{length}\r\n", length - 1);
                    let length = rest.len();
                    format!("HTTP/1.1 206 Partial Content\r\n{fields}{range}content-length: {length}\r\n\r\n{rest}")
                        .into()
                }
                _ => ok(&fields, whole),
            }
        })
        .await;
        let proxy = cached(origin.addr).await;
        let mut client = Peer::connect(proxy).await;
        client.send(ask("/", "")).await;
        client.reply(false).await.expect_err("it broke off");
        let mut client = Peer::connect(proxy).await;
        for _ in 0..2 {
            let reply = client.ask(&ask("/", "")).await;
            assert_eq!((reply.status, reply.text(), reply.field("etag")), (200, whole, etag));
        }
        assert_eq!(origin.count(), 2);
    }
}

#[tokio::test]
async fn an_origin_that_sends_less_than_it_announced_is_not_stored() {
    let short = format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 100\r\n\r\n{BODY}");
    for then in [Then::Close, Then::Reset] {
        let said = Said::from(short.clone()).then(then);
        let origin = Origin::new(
            move |number, _| if number < 2 { said.clone() } else { ok("cache-control: no-store\r\n", "whole") },
        )
        .await;
        let proxy = cached(origin.addr).await;
        for _ in 0..2 {
            let mut client = Peer::connect(proxy).await;
            client.send(ask("/", "")).await;
            client.reply(false).await.expect_err("it has no end");
        }
        assert_eq!(Peer::connect(proxy).await.ask(&ask("/", "")).await.text(), "whole");
    }
}

#[tokio::test]
async fn what_an_origin_sends_beyond_its_length_is_in_no_answer() {
    let long = [ok(FRESH, "hello").bytes, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison".to_vec()].concat();
    let origin = Origin::new(move |number, head| match number {
        0 => long.clone().into(),
        _ => ok(FRESH, head.split(' ').nth(1).expect("a path")),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for path in ["/", "/", "/b", "/c", "/b"] {
        let reply = client.ask(&ask(path, "")).await;
        assert_eq!((reply.status, reply.text()), (200, if path == "/" { "hello" } else { path }));
    }
}

#[tokio::test]
async fn nonsense_instead_of_a_head_is_a_502_and_is_not_stored() {
    let long = format!("HTTP/1.1 200 OK\r\n{FRESH}x-long: {}\r\ncontent-length: 2\r\n\r\nhi", "x".repeat(1 << 20));
    let two = format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: 2\r\ncontent-length: 3\r\n\r\nhi!");
    let negative = format!("HTTP/1.1 200 OK\r\n{FRESH}content-length: -2\r\n\r\nhi");
    let coding = format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    for nonsense in [
        "hello\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad name: 1\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\ncache-control: max-age=60\r\n\r\n",
        "\u{0}\u{1}\u{2}\u{16}\u{3}\u{1}\r\n\r\n",
        &long,
        &two,
        &negative,
        &coding,
    ] {
        let said = Said::from(nonsense).then(Then::Close);
        let origin = Origin::new(move |number, _| if number == 0 { said.clone() } else { ok(FRESH, "well") }).await;
        let mut client = Peer::connect(cached(origin.addr).await).await;
        let failed = client.ask(&ask("/", "")).await;
        let begins: String = nonsense.chars().take(60).collect();
        assert_eq!(failed.status, 502, "{begins:?}: {failed:?}");
        let reply = client.ask(&ask("/", "")).await;
        assert_eq!((reply.status, reply.text()), (200, "well"), "{begins:?}");
    }
}

#[tokio::test]
async fn a_broken_chunk_ends_the_answer_and_is_not_stored() {
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX",
        "5\r\nhello\r\n-1\r\n\r\n",
        "fffffffffffffffff\r\nhello",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ] {
        let said = Said::from(format!("HTTP/1.1 200 OK\r\n{FRESH}transfer-encoding: chunked\r\n\r\n{chunks}"));
        let origin = Origin::new(move |number, _| match number {
            0 => said.clone().then(Then::Close),
            _ => ok(FRESH, "well"),
        })
        .await;
        let proxy = cached(origin.addr).await;
        let mut client = Peer::connect(proxy).await;
        client.send(ask("/", "")).await;
        client.reply(false).await.expect_err(chunks);
        assert_eq!(Peer::connect(proxy).await.ask(&ask("/", "")).await.text(), "well", "{chunks:?}");
    }
}

#[tokio::test]
async fn an_origin_that_varies_by_something_else_each_time_gives_nobody_what_is_anothers() {
    // By this field the first time, by that the next, then by both, then by none.
    let origin = Origin::new(|number, head| {
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
                .trim_start_matches(": ")
                .to_owned()
        };
        let vary = ["vary: x-a\r\n", "vary: x-b\r\n", "vary: x-a, x-b\r\n", "vary: X-B\r\nvary: x-a\r\n"][number % 4];
        ok(&[FRESH, vary].concat(), &format!("{} {}", field("x-a"), field("x-b")))
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for round in 0..40 {
        let (a, b) = (round * 7 % 3, round * 5 % 4);
        let reply = client.ask(&ask("/", &format!("x-a: {a}\r\nx-b: {b}\r\n"))).await;
        let vary = reply.fields.get_all("vary").iter().map(|line| line.to_str().unwrap().to_ascii_lowercase());
        let vary = vary.collect::<Vec<_>>().join(" ");
        let mut said = reply.text().split(' ');
        let (said_a, said_b) = (said.next().unwrap(), said.next().unwrap());
        assert!(!vary.contains("x-a") || said_a == a.to_string(), "{a} {b}: {reply:?}");
        assert!(!vary.contains("x-b") || said_b == b.to_string(), "{a} {b}: {reply:?}");
    }
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_is_not_stored() {
    let origin = Origin::new(|number, _| match number {
        0 | 1 => Said::from(format!("HTTP/1.1 304 Not Modified\r\n{FRESH}\r\n")),
        _ => ok(FRESH, "hello"),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for _ in 0..2 {
        let odd = client.ask(&ask("/", "")).await;
        assert!(!odd.how().contains("stored"), "{odd:?}");
    }
    for hit in [false, true] {
        let reply = client.ask(&ask("/", "")).await;
        assert_eq!((reply.status, reply.text(), reply.is_hit()), (200, "hello", hit));
    }
}

#[tokio::test]
async fn a_304_about_something_else_than_what_is_stored_makes_nothing_fresh() {
    let stale = "cache-control: max-age=60\r\nage: 60\r\netag: \"1\"\r\n";
    let origin = Origin::new(move |number, _| match number {
        1 | 2 => Said::from("HTTP/1.1 304 Not Modified\r\netag: \"9\"\r\ncache-control: max-age=60\r\n\r\n"),
        _ => ok(stale, if number == 0 { "old" } else { "new" }),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for body in ["old", "old", "old", "new"] {
        let reply = client.ask(&ask("/", "")).await;
        // Who has set no condition can make nothing of a 304.
        assert_eq!((reply.status, reply.text(), reply.field("etag")), (200, body, "\"1\""), "{reply:?}");
        assert!(!reply.is_hit(), "{reply:?}");
    }
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn a_304_about_something_else_is_not_told_to_a_client_who_asked_about_a_third() {
    let stale = "cache-control: max-age=60\r\nage: 60\r\netag: \"1-gzip\"\r\n";
    let origin = Origin::new(move |number, asked| match number {
        0 => ok(stale, "ours"),
        // As Apache has it, which leaves out of its 304 what its compression has added.
        _ if asked.contains("\"1-gzip\"") => Said::from("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n"),
        _ => ok(stale, "asked about nothing"),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    client.ask(&ask("/", "")).await;
    let other = client.ask(&ask("/", "if-none-match: \"0-gzip\"\r\n")).await;
    assert_eq!((other.status, other.text()), (200, "ours"), "{other:?}");
    let same = client.ask(&ask("/", "if-none-match: \"1-gzip\"\r\n")).await;
    assert_eq!((same.status, same.field("etag")), (304, "\"1-gzip\""), "{same:?}");
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn clients_that_leave_at_every_byte_of_their_request_leave_a_proxy_that_is_well() {
    let origin = Origin::saying(ok(FRESH, BODY)).await;
    let proxy = cached(origin.addr).await;
    let request = ask("/", "accept: */*\r\n");
    for at in 0..=request.len() {
        let mut client = Peer::connect(proxy).await;
        client.send(&request[..at]).await;
        if at % 2 == 0 { client.leave() } else { drop(client) }
    }
    let mut client = Peer::connect(proxy).await;
    for _ in 0..2 {
        assert_eq!(client.ask(&request).await.text(), BODY);
    }
    assert!(origin.count() <= 2, "{}", origin.count());
}

#[tokio::test]
async fn clients_that_leave_at_every_byte_of_the_answer_leave_it_whole_for_the_others() {
    for (name, answer) in framings() {
        // The origin hands over one byte of its body after the other.
        let origin = slowly(answer.clone()).await;
        let proxy = cached(origin).await;
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let leavers = (0..answer.len() - head).map(|at| async move {
            let mut client = Peer::connect(proxy).await;
            client.send(ask(&format!("/{}", at % 3), "")).await;
            client.sip(head + at).await?;
            if at % 2 == 0 {
                client.leave();
            } else {
                drop(client);
            }
            io::Result::Ok(())
        });
        for left in futures_util::future::join_all(leavers).await {
            left.expect("as much as the client waited for");
        }
        for path in ["/0", "/1", "/2"] {
            for _ in 0..2 {
                assert_eq!(Peer::connect(proxy).await.ask(&ask(path, "")).await.text(), BODY, "{name}");
            }
        }
    }
}

/// Sends each byte by itself, and closes.
async fn slowly(answer: Vec<u8>) -> std::net::SocketAddr {
    raw(move |mut stream| {
        let answer = answer.clone();
        async move {
            let _ = stream.set_nodelay(true);
            head(&mut stream).await;
            for byte in answer {
                if tokio::io::AsyncWriteExt::write_all(&mut stream, &[byte]).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_slow_reader_slows_nobody_and_gets_the_whole() {
    const LONG: usize = 1 << 19;
    let body = "0123456789abcdef".repeat(LONG / 16);
    let origin = Origin::saying(ok(FRESH, &body)).await;
    let proxy = cached(origin.addr).await;
    let mut slow = Peer::connect(proxy).await;
    slow.send(ask("/", "")).await;
    slow.sip(1).await.expect("the beginning");
    for _ in 0..20 {
        assert_eq!(Peer::connect(proxy).await.ask(&ask("/", "")).await.text(), body);
    }
    assert_eq!(slow.reply(false).await.expect("the rest").text(), body);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_answer_too_large_to_be_stored_passes_to_each_at_his_own_pace() {
    const LONG: usize = 4 << 20;
    let body = "0123456789abcdef".repeat(LONG / 16);
    for length in [true, false] {
        let said = match length {
            true => ok(FRESH, &body),
            false => Said::from(format!("HTTP/1.1 200 OK\r\n{FRESH}\r\n{body}")).then(Then::Close),
        };
        let origin = Origin::saying(said).await;
        let cache = ResponseCache::new(8 << 20).object_limit(1 << 20);
        let proxy = caching(CacheLayer::new(cache.clone()), origin.addr).await;
        let mut slow = Peer::connect(proxy).await;
        slow.send(ask("/", "")).await;
        slow.sip(1).await.expect("the beginning");
        for _ in 0..3 {
            assert_eq!(Peer::connect(proxy).await.ask(&ask("/", "")).await.text().len(), LONG, "length: {length}");
        }
        assert_eq!(slow.reply(false).await.expect("the rest").text(), body, "length: {length}");
        assert_eq!(cache.statistics().entries, 0, "length: {length}");
    }
}

#[tokio::test]
async fn a_leader_that_leaves_before_there_is_a_head_does_not_take_the_others_with_it() {
    let (go, gate) = tokio::sync::watch::channel(false);
    let origin = raw(move |mut stream| {
        let mut gate = gate.clone();
        async move {
            head(&mut stream).await;
            let _ = gate.wait_for(|is_open| *is_open).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &ok(FRESH, BODY).bytes).await;
        }
    })
    .await;
    let proxy = cached(origin).await;
    let mut leader = Peer::connect(proxy).await;
    leader.send(ask("/", "")).await;
    let mut others = Vec::new();
    for _ in 0..10 {
        let mut other = Peer::connect(proxy).await;
        other.send(ask("/", "")).await;
        others.push(other);
    }
    leader.leave();
    go.send_replace(true);
    for other in &mut others {
        assert_eq!(other.reply(false).await.expect("an answer").text(), BODY);
    }
}
