//! Switches to another protocol through the proxy, over real sockets.

mod support;

use axum::{Router, extract::Request};
use bartizan_gateway::{Client, Proxy, Upstream, client};
use std::net::SocketAddr;
use support::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

fn to(addr: SocketAddr) -> Proxy<Client> {
    Proxy::new(client(), &format!("http://{addr}")).expect("a URL")
}

async fn serving(proxy: Proxy<Client>) -> SocketAddr {
    service(Router::new().fallback_service(proxy)).await
}

const SWITCH: &str = "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Switches, says the first bytes together with its head, and hands over the connection.
async fn switching() -> (SocketAddr, mpsc::UnboundedReceiver<(String, TcpStream)>) {
    let (connections, taken) = mpsc::unbounded_channel();
    let addr = raw(move |mut stream| {
        let connections = connections.clone();
        async move {
            let asked = head(&mut stream).await;
            let _ = stream.write_all(format!("{SWITCHED}first").as_bytes()).await;
            let _ = connections.send((asked, stream));
        }
    })
    .await;
    (addr, taken)
}

async fn expect(stream: &mut TcpStream, bytes: &str) {
    let mut read = vec![0; bytes.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut read)).await.expect("in time").expect("bytes");
    assert_eq!(String::from_utf8_lossy(&read), bytes);
}

#[tokio::test]
async fn bytes_pass_both_ways_until_both_ends_are_closed() {
    let (addr, mut taken) = switching().await;
    // What follows the head at once belongs to the new protocol.
    let mut client = connect_and_send(serving(to(addr).upgrades()).await, &format!("{SWITCH}early")).await;
    let answer = head(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    for there in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3p", "via: 1.1 bartizan"] {
        assert!(answer.contains(there), "{there}: {answer}");
    }
    let (asked, mut service) = taken.recv().await.unwrap();
    for there in ["upgrade: websocket\r\n", "connection: upgrade\r\n", "sec-websocket-key: dGhl"] {
        assert!(asked.contains(there), "{there}: {asked}");
    }
    assert!(!asked.contains("keep-alive"), "{asked}");
    expect(&mut client, "first").await;
    expect(&mut service, "early").await;

    client.write_all(b"ping").await.unwrap();
    expect(&mut service, "ping").await;
    service.write_all(b"pong").await.unwrap();
    expect(&mut client, "pong").await;

    // One side has ended, and the other goes on.
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut service).await, "");
    service.write_all(b"the rest").await.unwrap();
    expect(&mut client, "the rest").await;
    drop(service);
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn an_upstream_switches_too() {
    let (addr, mut taken) = switching().await;
    let upstream = Upstream::new("chat", [format!("http://{addr}")]).unwrap();
    let proxy = Proxy::new(upstream, "http://chat").unwrap().upgrades();
    let app = service(Router::new().fallback_service(proxy)).await;
    let mut client = connect_and_send(app, SWITCH).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    let (_, mut service) = taken.recv().await.unwrap();
    client.write_all(b"ping").await.unwrap();
    expect(&mut service, "ping").await;
}

#[tokio::test]
async fn a_service_that_does_not_switch_answers() {
    let behind = Router::new().fallback(|request: Request| async move { request.uri().path().to_owned() });
    let proxy = serving(to(service(behind).await).upgrades()).await;
    let mut stream = connect_and_send(proxy, SWITCH).await;
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    expect(&mut stream, "/chat").await;
    stream.write_all(b"GET /next HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("/next"));
}

#[tokio::test]
async fn no_switch_goes_on_that_was_not_allowed_or_leads_past_us() {
    for (upgrades, from, to_) in [
        (false, "upgrade: websocket", "upgrade: websocket"),
        (true, "upgrade: websocket", "upgrade: h2c"),
        (true, "connection: keep-alive, Upgrade", "connection: keep-alive"),
        (true, "host: h", "host: h\r\ncontent-length: 1"),
    ] {
        let (addr, mut taken) = switching().await;
        let proxy = if upgrades { to(addr).upgrades() } else { to(addr) };
        let request = SWITCH.replace(from, to_) + "x";
        let mut client = connect_and_send(serving(proxy).await, &request).await;
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{to_}: {answer}");
        let (asked, _) = taken.recv().await.unwrap();
        assert!(!asked.contains("upgrade"), "{asked}");
    }
}

#[tokio::test]
async fn a_switch_to_what_nobody_asked_for_is_a_502() {
    let behind = answers(SWITCHED.replace("websocket", "something")).await;
    let mut client = connect_and_send(serving(to(behind).upgrades()).await, SWITCH).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 502 "));
}
