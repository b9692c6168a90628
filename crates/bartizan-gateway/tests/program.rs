//! The program `bartizan`, as somebody starts and stops it.
#![cfg(unix)]

mod support;

use axum::{Router, extract::Request};
use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
};
use support::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

struct Program {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    addr: SocketAddr,
    banner: String,
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan"));
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts a proxy on a free port, and waits until it says that it runs.
async fn start(to: SocketAddr, flags: &[&str]) -> Program {
    let to = format!("http://{to}");
    let mut child =
        command(&[&["proxy", "--listen", "127.0.0.1:0", "--to", &to], flags].concat()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let banner = timeout(PATIENCE, said.next_line()).await.expect("in time").expect("UTF-8").expect("what runs");
    let addr =
        banner.split(' ').find_map(|word| word.strip_prefix("http://")).expect("a URL").parse().expect("an address");
    Program { child, said, addr, banner }
}

impl Program {
    async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.expect("kill").success());
    }

    async fn ends(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("an end");
        let mut notes = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut notes).await.expect("UTF-8");
        (status, notes)
    }
}

#[tokio::test]
async fn it_says_what_runs_and_how_to_try_it_and_passes_requests_on() {
    let behind = Router::new().fallback(|request: Request| async move {
        let field = |name| request.headers()[name].to_str().unwrap().to_owned();
        [field("host"), field("via"), field("forwarded")].join(" ")
    });
    let behind = service(behind).await;
    let mut program = start(behind, &["--forwarded", "forwarded", "--threads", "1"]).await;
    assert!(program.banner.contains(&format!("-> http://{behind}")), "{}", program.banner);
    let curl = program.said.next_line().await.unwrap().unwrap();
    assert_eq!(curl.trim(), format!("curl -i http://{}/", program.addr));
    let request = "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n";
    let answer = rest(&mut connect_and_send(program.addr, request).await).await;
    let body = "shop.example 1.1 bartizan for=127.0.0.1;host=\"shop.example\";proto=http";
    assert!(answer.ends_with(body), "{answer}");
}

#[tokio::test]
async fn the_service_may_be_named_instead() {
    let behind = Router::new()
        .fallback(|request: Request| async move { request.headers()["host"].to_str().unwrap().to_owned() });
    let behind = service(behind).await;
    let program = start(behind, &["--host", "service"]).await;
    assert_eq!(get(program.addr, "/").await.body, behind.to_string());
}

#[tokio::test]
async fn a_service_that_is_dead_or_slow_is_a_502_or_504() {
    let program = start(dead().await, &[]).await;
    assert_eq!(get(program.addr, "/").await.status, 502);
    let program = start(silent().await, &["--head-within", "200ms"]).await;
    assert_eq!(get(program.addr, "/").await.status, 504);
}

#[tokio::test]
async fn signals_let_requests_finish() {
    for signal in ["-INT", "-TERM"] {
        let (begin, mut begun) = tokio::sync::mpsc::unbounded_channel();
        let (end, ended) = tokio::sync::watch::channel(false);
        let slow = Router::new().fallback(move || async move {
            let _ = begin.send(());
            let _ = ended.clone().wait_for(|ended| *ended).await;
            "slow"
        });
        let program = start(service(slow).await, &[]).await;
        let mut stream = connect_and_send(program.addr, "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
        begun.recv().await.unwrap();
        program.signal(signal).await;
        while tokio::net::TcpStream::connect(program.addr).await.is_ok() {
            tokio::time::sleep(ms(10)).await; // real time: another process closes its port
        }
        end.send_replace(true);
        assert!(rest(&mut stream).await.ends_with("slow"));
        let (status, notes) = program.ends().await;
        assert!(status.success(), "{notes}");
        assert!(notes.contains("stopping: up to 30s") && notes.contains("drained: all connections"), "{notes}");
    }
}

#[tokio::test]
async fn a_mistake_is_one_line_and_the_status_says_so() {
    for (flags, status, says) in [
        (&["proxy", "--to", "http://h"][..], 2, "bartizan: where shall it listen? --listen 127.0.0.1:8410"),
        (&["proxy", "--listen", "8410"], 2, "bartizan: --listen takes an address with a port"),
        (&["proxy", "--listen", "192.0.2.1:1", "--to", "http://h"], 1, "is not an address of this machine"),
    ] {
        let output = timeout(PATIENCE, command(flags).output()).await.unwrap().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{notes}");
        assert!(notes.contains(says) && notes.lines().count() == 1, "{notes}");
    }
    let output = command(&["proxy", "--help"]).output().await.unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("--head-within TIME"));
}
