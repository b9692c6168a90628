//! Faults as a client at the other end of a socket meets them.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use axum::{Router, routing::get};
use bartizan::fault::{Fault, FaultLayer, Faults};
use http::StatusCode;
use std::{num::NonZeroU32, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const BODY: &str = "all of the answer";

/// Asks a server that closes each connection for everything it says, and tells what came.
async fn said(fault: Fault) -> String {
    said_to("GET", fault).await
}

async fn said_to(method: &str, fault: Fault) -> String {
    let faults = Faults::new().at_most(1.0);
    faults.inject(fault);
    let app = Router::new().route("/", get(|| async { BODY })).layer(FaultLayer::new(faults));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    connection.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test]
async fn a_reset_connection_says_nothing() {
    assert_eq!(said(Fault::reset()).await, "");
}

/// The answer to `HEAD` has no body that could break.
#[tokio::test]
async fn a_reset_of_a_head_is_an_orderly_502() {
    let said = said_to("HEAD", Fault::reset()).await;
    assert!(said.starts_with("HTTP/1.1 502") && said.ends_with("\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn a_truncated_answer_promises_more_than_it_brings() {
    let said = said(Fault::truncated(3)).await;
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 17"), "{head}");
    assert_eq!(body, "all");
}

#[tokio::test]
async fn a_slow_answer_is_whole_in_the_end() {
    let started = Instant::now();
    let said = said(Fault::bandwidth(NonZeroU32::new(100).unwrap())).await;
    assert!(said.ends_with(BODY), "{said}");
    assert!(started.elapsed() >= Duration::from_millis(170), "17 bytes at 100 a second");
}

#[tokio::test]
async fn a_status_comes_alone() {
    let said = said(Fault::status(StatusCode::BAD_GATEWAY)).await;
    assert!(said.starts_with("HTTP/1.1 502") && said.contains("content-length: 0"), "{said}");
}
