//! The proxy with a cache, over real sockets: what is answered from the store, and how it reads on the wire.

mod support;

use bartizan::cache::{CacheLayer, CachePolicy, ResponseCache};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{net::SocketAddr, time::Duration};
use support::{wire::*, *};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const FRESH: &str = "cache-control: max-age=60\r\netag: \"1\"\r\n";

#[tokio::test]
async fn the_second_request_is_a_hit_and_says_so() {
    let origin = Origin::saying(ok(FRESH, "hello")).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    let first = client.ask(&ask("/", "")).await;
    assert_eq!((first.status, first.text()), (200, "hello"));
    assert!(first.how().starts_with("bartizan; fwd=uri-miss; stored; ttl="), "{first:?}");
    assert_eq!(first.field("age"), "", "it comes from the origin itself");
    let second = client.ask(&ask("/", "")).await;
    assert_eq!((second.status, second.text()), (200, "hello"));
    assert!(second.how().starts_with("bartizan; hit; ttl="), "{second:?}");
    assert_eq!((second.field("content-length"), second.field("etag")), ("5", "\"1\""));
    assert!(second.field("age").parse::<u32>().is_ok(), "{second:?}");
    assert_eq!(second.field("via"), first.field("via"), "the proxy was on its way");
    assert!(!second.field("date").is_empty());
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn one_connection_takes_hits_of_every_kind_one_after_the_other() {
    let origin = Origin::saying(ok(FRESH, "0123456789")).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    client.ask(&ask("/", "")).await;
    for _ in 0..3 {
        let whole = client.ask(&ask("/", "")).await;
        assert_eq!((whole.status, whole.text()), (200, "0123456789"));
        let unchanged = client.ask(&ask("/", "if-none-match: \"0\", W/\"1\"\r\n")).await;
        assert_eq!((unchanged.status, unchanged.field("etag")), (304, "\"1\""));
        assert!(unchanged.is_hit() && unchanged.field("content-length").is_empty(), "{unchanged:?}");
        let part = client.ask(&ask("/", "range: bytes=2-4\r\n")).await;
        assert_eq!((part.status, part.text(), part.field("content-range")), (206, "234", "bytes 2-4/10"));
        let end = client.ask(&ask("/", "range: bytes=-3\r\n")).await;
        assert_eq!((end.status, end.text(), end.field("content-length")), (206, "789", "3"));
        let beyond = client.ask(&ask("/", "range: bytes=10-\r\n")).await;
        assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */10"));
        let changed = client.ask(&ask("/", "range: bytes=0-1\r\nif-range: \"2\"\r\n")).await;
        assert_eq!((changed.status, changed.text()), (200, "0123456789"));
        let several = client.ask(&ask("/", "range: bytes=0-1,8-9\r\n")).await;
        assert_eq!(several.status, 206);
        assert!(several.field("content-type").starts_with("multipart/byteranges"), "{several:?}");
        assert_eq!(several.field("content-length"), several.body.len().to_string());
        let head = client.ask("HEAD / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await;
        assert_eq!((head.status, head.field("content-length"), head.is_hit()), (200, "10", true));
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn pipelined_hits_come_in_order() {
    let origin = Origin::new(|_, head| ok(FRESH, head.split(' ').nth(1).expect("a path"))).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for path in ["/a", "/b"] {
        client.ask(&ask(path, "")).await;
    }
    client.send(["/a", "/b", "/a", "/b"].map(|path| ask(path, "")).concat()).await;
    for path in ["/a", "/b", "/a", "/b"] {
        let reply = client.reply(false).await.expect("an answer");
        assert!(reply.is_hit() && reply.text() == path, "{reply:?}");
    }
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_head_that_comes_first_is_no_answer_to_a_get() {
    let origin = Origin::new(|_, head| {
        let mut said = ok(FRESH, "hello");
        if head.starts_with("HEAD") {
            said.bytes.truncate(said.bytes.len() - 5);
        }
        said
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    let head = "HEAD / HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    assert_eq!(client.ask(head).await.field("content-length"), "5");
    assert_eq!(client.ask(&ask("/", "")).await.text(), "hello");
    assert!(client.ask(head).await.is_hit());
    assert!(client.ask(&ask("/", "")).await.is_hit());
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_hit_and_the_end_of_its_connection() {
    let origin = Origin::saying(ok(FRESH, "hello")).await;
    let proxy = cached(origin.addr).await;
    Peer::connect(proxy).await.ask(&ask("/", "")).await;
    let answer = rest(&mut connect_and_send(proxy, "GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn who_speaks_http2_and_who_speaks_http1_share_what_is_stored() {
    let origin = Origin::new(|_, head| ok(FRESH, head.split(' ').nth(1).expect("a path"))).await;
    let proxy = cached(origin.addr).await;
    let stream = tokio::net::TcpStream::connect(proxy).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut over_http2 = async |path: &str| {
        let request = Request::get(format!("http://shop.example{path}")).body(Empty::<bytes::Bytes>::new()).unwrap();
        let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let how = head.headers["cache-status"].to_str().unwrap().to_owned();
        let body = body.collect().await.expect("a body").to_bytes();
        (how.starts_with("bartizan; hit"), String::from_utf8(body.to_vec()).unwrap())
    };
    let mut client = Peer::connect(proxy).await;
    assert_eq!(over_http2("/a").await, (false, "/a".to_owned()));
    assert_eq!(over_http2("/a").await, (true, "/a".to_owned()));
    assert!(client.ask(&ask("/a", "")).await.is_hit());
    assert!(!client.ask(&ask("/b", "")).await.is_hit());
    assert_eq!(over_http2("/b").await, (true, "/b".to_owned()));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn each_host_has_its_own_and_a_host_is_the_same_in_any_case() {
    let origin = Origin::new(|_, head| {
        ok(FRESH, head.lines().find_map(|line| line.strip_prefix("host: ")).expect("the client's host"))
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for host in ["a.example", "b.example", "a.example:81"] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let first = client.ask(&request).await;
        assert_eq!((first.text(), first.is_hit()), (host, false));
        assert!(client.ask(&request).await.is_hit());
    }
    for same in ["A.Example", "a.example:80"] {
        let reply = client.ask(&format!("GET / HTTP/1.1\r\nhost: {same}\r\n\r\n")).await;
        assert_eq!((reply.text(), reply.is_hit()), ("a.example", true), "{same}");
    }
    let absolute = client.ask("GET http://b.example/ HTTP/1.1\r\nhost: b.example\r\n\r\n").await;
    assert_eq!((absolute.text(), absolute.is_hit()), ("b.example", true));
    assert_eq!(origin.count(), 3);
}

#[tokio::test]
async fn what_is_meant_for_one_connection_is_not_stored() {
    let fields = "connection: x-hop, keep-alive\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
                  x-mine: 1\r\nx-mine: 2\r\n";
    let origin = Origin::saying(ok(&[FRESH, fields].concat(), "hello")).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for _ in 0..2 {
        let reply = client.ask(&ask("/", "")).await;
        for gone in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
            assert!(!reply.fields.contains_key(gone), "{gone}: {reply:?}");
        }
        let mine: Vec<_> = reply.fields.get_all("x-mine").iter().collect();
        assert_eq!(mine, ["1", "2"]);
    }
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn trailers_are_stored_and_come_again_with_each_hit() {
    let fields = "cache-control: max-age=60\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n";
    let origin =
        Origin::saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n").into_bytes())
            .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    for hit in [false, true, true] {
        let reply = client.ask(&ask("/", "te: trailers\r\n")).await;
        assert_eq!((reply.text(), reply.is_hit()), ("hello", hit));
        assert_eq!(
            reply.trailers.get("x-sum").map(http::HeaderValue::as_bytes),
            Some(&b"42"[..]),
            "hit: {hit}: {reply:?}"
        );
    }
    // RFC 9110 §6.5.1: who did not ask for them is spared them.
    let without = client.ask(&ask("/", "")).await;
    assert_eq!((without.text(), without.is_hit()), ("hello", true));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn interim_responses_pass_once_and_leave_nothing_in_what_is_stored() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
    let answer = String::from_utf8(ok(FRESH, "hello").bytes).unwrap();
    let origin = Origin::saying([hints, &answer].concat().into_bytes()).await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    let interim = client.ask(&ask("/", "")).await;
    assert_eq!((interim.status, interim.field("link")), (103, "</a>; rel=preload"));
    assert!(!interim.fields.contains_key("cache-status"));
    let first = client.reply(false).await.expect("the answer");
    assert_eq!((first.status, first.text(), first.field("link")), (200, "hello", ""));
    let hit = client.ask(&ask("/", "")).await;
    assert_eq!((hit.status, hit.text(), hit.field("link"), hit.is_hit()), (200, "hello", "", true));
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn an_upgrade_passes_by_what_is_stored() {
    let origin = Origin::new(|_, head| {
        if head.contains("upgrade: echo\r\n") {
            let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\
                            cache-control: max-age=60\r\n\r\nfirst";
            return Said::from(switched).then(Then::Hang);
        }
        ok(FRESH, "hello")
    })
    .await;
    let proxy = cached(origin.addr).await;
    let mut client = Peer::connect(proxy).await;
    client.ask(&ask("/", "")).await;
    let mut switching = Peer::connect(proxy).await;
    let switched = switching.ask(&ask("/", "connection: upgrade\r\nupgrade: echo\r\n")).await;
    assert_eq!((switched.status, switched.field("upgrade")), (101, "echo"));
    assert!(switched.how().starts_with("bartizan; fwd="), "{switched:?}");
    switching.sip(5).await.expect("what follows the switch");
    let hit = client.ask(&ask("/", "")).await;
    assert_eq!((hit.text(), hit.is_hit()), ("hello", true));
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn a_request_that_changes_something_takes_back_what_is_stored() {
    let origin = Origin::new(|number, head| match head.starts_with("POST ") {
        true => Said::from("HTTP/1.1 204 No Content\r\n\r\n"),
        false => ok(FRESH, &format!("number {number}")),
    })
    .await;
    let mut client = Peer::connect(cached(origin.addr).await).await;
    client.ask(&ask("/", "")).await;
    let posted = client.ask("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((posted.status, posted.how()), (204, "bartizan; fwd=method"));
    let after = client.ask(&ask("/", "")).await;
    assert_eq!((after.text(), after.is_hit()), ("number 2", false));
}

#[tokio::test]
async fn a_whole_crowd_is_one_request_to_the_origin() {
    let origin = Origin::new(|_, _| ok(FRESH, &"x".repeat(100_000))).await;
    let proxy = cached(origin.addr).await;
    let crowd = (0..50).map(|_| async move {
        let reply = Peer::connect(proxy).await.ask(&ask("/", "")).await;
        assert_eq!(reply.body, vec![b'x'; 100_000]);
        reply.how().to_owned()
    });
    let how = futures_util::future::join_all(crowd).await;
    assert_eq!(origin.count(), 1);
    let led = how.iter().filter(|how| how.contains("stored")).count();
    assert_eq!(led, 1, "{how:?}");
}

#[tokio::test]
async fn the_rules_of_the_client_count_where_the_policy_says_so() {
    let reload = ask("/", "cache-control: no-cache\r\n");
    for (policy, count) in [(CachePolicy::new(), 1), (CachePolicy::rfc(), 2)] {
        let origin = Origin::saying(ok(FRESH, "hello")).await;
        let cache = CacheLayer::new(ResponseCache::new(1 << 20)).policy(policy);
        let mut client = Peer::connect(caching(cache, origin.addr).await).await;
        client.ask(&ask("/", "")).await;
        assert_eq!(client.ask(&reload).await.text(), "hello");
        assert_eq!(origin.count(), count);
    }
}

/// The program in front of an origin, as long as it is held, and where it listens.
async fn start(origin: SocketAddr, flags: &[&str]) -> (Child, SocketAddr) {
    let to = format!("http://{origin}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan"));
    command.args(["proxy", "--listen", "127.0.0.1:0", "--threads", "1", "--to", &to]).args(flags);
    let mut program = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut said = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    let banner = said.next_line().await.expect("UTF-8").expect("what runs");
    let addr = banner.split(' ').find_map(|word| word.strip_prefix("http://")).expect("a URL");
    (program, addr.parse().expect("an address"))
}

#[tokio::test]
async fn the_program_stores_when_it_is_told_to() {
    for (flags, how) in [
        (&[][..], ""),
        (&["--cache", "1MiB"], "bartizan; hit; ttl="),
        (&["--cache", "1MiB", "--cache-policy", "rfc"], "bartizan; hit; ttl="),
    ] {
        let origin = Origin::saying(ok(FRESH, "hello")).await;
        let (_program, addr) = start(origin.addr, flags).await;
        let mut client = Peer::connect(addr).await;
        client.ask(&ask("/", "")).await;
        let second = client.ask(&ask("/", "")).await;
        assert_eq!(second.text(), "hello");
        assert!(second.how().starts_with(how) && second.how().is_empty() == how.is_empty(), "{second:?}");
    }
}

#[tokio::test]
async fn the_program_stores_what_a_query_asks_for_when_it_is_told_to() {
    let ask = |content: &str| {
        format!("QUERY / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {}\r\n\r\n{content}", content.len())
    };
    for (flags, is_stored) in [(&["--cache", "1MiB"][..], false), (&["--cache", "1MiB", "--cache-query", "1KiB"], true)]
    {
        let origin = Origin::new(|number, _| ok(FRESH, &format!("number {number}"))).await;
        let (_program, addr) = start(origin.addr, flags).await;
        let mut client = Peer::connect(addr).await;
        let first = client.ask(&ask("shoes")).await.text().to_owned();
        let again = client.ask(&ask("shoes")).await;
        assert_eq!((again.is_hit(), again.text() == first), (is_stored, is_stored), "{again:?}");
        assert!(!client.ask(&ask("hats")).await.is_hit());
        // What the service never sees of it is no part of what it asks for.
        let named = "connection: content-language\r\ncontent-language: de\r\ncontent-length";
        let named = client.ask(&ask("shoes").replace("content-length", named)).await;
        assert_eq!(named.is_hit(), is_stored, "{named:?}");
        let long = "x".repeat(1025);
        for _ in 0..2 {
            assert!(!client.ask(&ask(&long)).await.is_hit());
        }
    }
}

#[tokio::test]
async fn the_program_waits_for_what_a_query_asks_for_no_longer_than_for_a_head() {
    let origin = Origin::saying(ok(FRESH, "hello")).await;
    let flags = ["--cache", "1MiB", "--cache-query", "1KiB", "--head-within", "200ms"];
    let (_program, addr) = start(origin.addr, &flags).await;
    let mut client = Peer::connect(addr).await;
    let stalls = client.ask("QUERY / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 9\r\n\r\nshoes");
    let reply = timeout(Duration::from_secs(20), stalls).await.expect("it is not held");
    assert!(reply.how().contains("not-read"), "{reply:?}");
}
