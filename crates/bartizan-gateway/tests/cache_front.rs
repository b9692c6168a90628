//! The program with a cache: what a client says on the way in, and what of it makes an answer another one.

mod support;

use std::net::SocketAddr;
use support::wire::*;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpSocket,
    process::{Child, Command},
};

/// The program in front of an origin, as long as it is held, and where it listens.
async fn start(origin: SocketAddr, flags: &[&str]) -> (Child, SocketAddr) {
    let to = format!("http://{origin}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan"));
    command.args(["proxy", "--listen", "127.0.0.1:0", "--threads", "1", "--cache", "1MiB", "--to", &to]).args(flags);
    let mut program = command.stdout(std::process::Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut said = BufReader::new(program.stdout.take().expect("it is piped")).lines();
    let banner = said.next_line().await.expect("UTF-8").expect("what runs");
    let addr = banner.split(' ').find_map(|word| word.strip_prefix("http://")).expect("a URL");
    (program, addr.parse().expect("an address"))
}

/// A client that connects from an address of its own.
async fn from(address: [u8; 4], to: SocketAddr) -> Peer {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((address, 0).into()).expect("all of 127.0.0.0/8 is this machine");
    Peer::of(socket.connect(to).await.expect("it listens"))
}

/// An origin that answers with the value of a field, fresh for a minute.
async fn telling(name: &'static str, fields: &'static str) -> Origin {
    Origin::new(move |_, head| {
        let prefix = format!("{name}: ");
        let value = head.lines().find_map(|line| line.strip_prefix(&*prefix)).unwrap_or("nothing");
        ok(&format!("cache-control: max-age=60\r\n{fields}"), value)
    })
    .await
}

#[tokio::test]
async fn a_field_that_connection_names_does_not_select_what_is_stored() {
    let origin = telling("accept-language", "vary: accept-language\r\n").await;
    let (_program, addr) = start(origin.addr, &[]).await;
    let mut client = Peer::connect(addr).await;
    let named = client.ask(&ask("/", "accept-language: fr\r\nconnection: accept-language\r\n")).await;
    assert_eq!(named.text(), "nothing", "the origin never saw it");
    let french = client.ask(&ask("/", "accept-language: fr\r\n")).await;
    assert_eq!((french.text(), french.is_hit()), ("fr", false));
    let none = client.ask(&ask("/", "")).await;
    assert_eq!((none.text(), none.is_hit()), ("nothing", true));
}

#[tokio::test]
async fn a_scheme_that_a_stranger_claims_is_no_part_of_what_is_stored() {
    let origin = telling("x-forwarded-proto", "").await;
    let (_program, addr) = start(origin.addr, &["--trust", "127.0.0.2/32"]).await;
    let mut stranger = from([127, 0, 0, 1], addr).await;
    assert_eq!(stranger.ask(&ask("/", "x-forwarded-proto: https\r\n")).await.text(), "http");
    let mut trusted = from([127, 0, 0, 2], addr).await;
    for is_hit in [false, true] {
        let reply = trusted.ask(&ask("/", "x-forwarded-proto: https\r\n")).await;
        assert_eq!((reply.text(), reply.is_hit()), ("https", is_hit));
    }
}

#[tokio::test]
async fn what_varies_by_who_asks_is_not_stored_as_the_proxy_says_that_behind_the_cache() {
    for (flags, name) in [(&[][..], "x-forwarded-for"), (&["--forwarded", "forwarded"], "forwarded")] {
        let vary: &'static str = if name == "forwarded" { "vary: forwarded\r\n" } else { "vary: x-forwarded-for\r\n" };
        let origin = telling(name, vary).await;
        let (_program, addr) = start(origin.addr, flags).await;
        for last in [1, 2, 1] {
            let reply = from([127, 0, 0, last], addr).await.ask(&ask("/", "")).await;
            assert!(reply.text().contains(&format!("127.0.0.{last}")), "{reply:?}");
        }
        assert_eq!(origin.count(), 3);
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_was_asked_for_reaches_the_origin_and_tells_answers_apart() {
    let trust = ["--trust", "127.0.0.2/32"];
    let origin = telling("x-forwarded-host", "").await;
    let (_program, addr) = start(origin.addr, &trust).await;
    for is_hit in [false, true] {
        for host in ["one.example", "two.example"] {
            let mut trusted = from([127, 0, 0, 2], addr).await;
            let reply = trusted.ask(&ask("/", &format!("x-forwarded-host: {host}\r\n"))).await;
            assert_eq!((reply.text(), reply.is_hit()), (host, is_hit));
        }
    }
    let reply = from([127, 0, 0, 1], addr).await.ask(&ask("/", "x-forwarded-host: one.example\r\n")).await;
    assert_eq!((reply.text(), reply.is_hit()), ("shop.example", false), "a stranger says nothing");

    let origin = telling("forwarded", "").await;
    let (_program, addr) = start(origin.addr, &[&trust[..], &["--forwarded", "forwarded"]].concat()).await;
    let mut trusted = from([127, 0, 0, 2], addr).await;
    let first = trusted.ask(&ask("/", "forwarded: for=192.0.2.1;proto=https\r\n")).await;
    assert!(first.text().starts_with("for=192.0.2.1;proto=https, for=127.0.0.2;"), "{first:?}");
    let another = trusted.ask(&ask("/", "forwarded: for=192.0.2.9;proto=https\r\n")).await;
    assert!(another.is_hit(), "who asks makes no difference: {another:?}");
    let plain = trusted.ask(&ask("/", "forwarded: for=192.0.2.1;proto=http\r\n")).await;
    assert!(!plain.is_hit(), "{plain:?}");
}

#[tokio::test]
async fn the_origin_cannot_take_away_by_connection_what_its_answer_varies_by() {
    let fields = "vary: accept-language\r\nconnection: vary, etag, cache-control\r\netag: \"1\"\r\n";
    let origin = telling("accept-language", fields).await;
    let (_program, addr) = start(origin.addr, &[]).await;
    let mut client = Peer::connect(addr).await;
    for language in ["de", "fr"] {
        let reply = client.ask(&ask("/", &format!("accept-language: {language}\r\n"))).await;
        assert_eq!((reply.text(), reply.field("vary"), reply.field("etag")), (language, "accept-language", "\"1\""));
    }
}

/// RFC 9112 §3.2.2: what the target says goes before `Host`.
#[tokio::test]
async fn what_is_changed_under_the_host_of_the_target_is_taken_back_whatever_host_says() {
    let origin = telling("host", "").await;
    let (_program, addr) = start(origin.addr, &[]).await;
    let mut client = Peer::connect(addr).await;
    client.ask(&ask("/", "")).await;
    let post = "POST http://shop.example/ HTTP/1.1\r\nhost: other.example\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.ask(post).await.text(), "shop.example");
    assert!(!client.ask(&ask("/", "")).await.is_hit());
}

#[tokio::test]
async fn tags_stay_on_this_side_of_the_cache_in_interim_responses_too() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\ncache-tag: a\r\nsurrogate-key: b\r\n\r\n";
    let answer = String::from_utf8(ok("cache-control: max-age=60\r\n", "hello").bytes).expect("text");
    let origin = Origin::saying([hints, &answer].concat().into_bytes()).await;
    let (_program, addr) = start(origin.addr, &[]).await;
    let interim = Peer::connect(addr).await.ask(&ask("/", "")).await;
    assert_eq!((interim.status, interim.field("link")), (103, "</a>; rel=preload"));
    assert!(!interim.fields.contains_key("cache-tag") && !interim.fields.contains_key("surrogate-key"), "{interim:?}");
}
