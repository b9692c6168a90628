//! The program `bartizan`, as somebody starts and stops it.
#![cfg(unix)]

mod support;

use axum::{Router, extract::Request};
use std::{
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    process::{ExitStatus, Stdio},
};
use support::{wire::Peer, *};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

struct Program {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    noted: Lines<BufReader<ChildStderr>>,
    addr: SocketAddr,
    banner: String,
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan"));
    command.env_remove("RUST_LOG");
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts a proxy on a free port, and waits until it says that it runs.
async fn start(to: SocketAddr, flags: &[&str]) -> Program {
    start_with(to, flags, "").await
}

/// The same, with so much of what it notes.
async fn start_with(to: SocketAddr, flags: &[&str], rust_log: &str) -> Program {
    let to = format!("http://{to}");
    let mut command = command(&[&["proxy", "--listen", "127.0.0.1:0", "--to", &to], flags].concat());
    let mut child = command.env("RUST_LOG", rust_log).spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut noted = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let banner = match flags.contains(&"--access-log") {
        true => next(&mut noted).await,
        false => next(&mut said).await,
    };
    let addr =
        banner.split(' ').find_map(|word| word.strip_prefix("http://")).expect("a URL").parse().expect("an address");
    Program { child, said, noted, addr, banner }
}

async fn next(lines: &mut Lines<impl AsyncBufRead + Unpin>) -> String {
    timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("UTF-8").expect("a line")
}

impl Program {
    async fn signal(&self, signal: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.expect("kill").success());
    }

    async fn ends(mut self) -> (ExitStatus, String) {
        let status = timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("an end");
        let mut notes = String::new();
        self.noted.get_mut().read_to_string(&mut notes).await.expect("UTF-8");
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
        (&["proxy", "--listen", "localhost:8410"], 2, "such as 127.0.0.1:8410 or [::1]:8410, not \"localhost:8410\""),
        (&["proxy", "--listen", "192.0.2.1:1", "--to", "http://h"], 1, "is not an address of this machine"),
    ] {
        let output = timeout(PATIENCE, command(flags).output()).await.unwrap().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{notes}");
        assert!(notes.contains(says) && notes.lines().count() == 1, "{notes}");
    }
    let output = command(&["proxy", "--listen", "127.0.0.1:0", "--to", "http://h"]).env("RUST_LOG", "loud").output();
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{notes}");
    assert!(notes.starts_with("bartizan: RUST_LOG takes levels such as info") && notes.lines().count() == 1, "{notes}");
    let no_text = std::ffi::OsStr::from_bytes(b"http://\xff");
    let output = timeout(PATIENCE, command(&["proxy", "--to"]).arg(no_text).output()).await.unwrap().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{notes}");
    assert!(notes.contains("--to takes a URL such as") && notes.lines().count() == 1, "{notes}");
    let output = command(&["proxy", "--help"]).output().await.unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("--head-within TIME"));
}

#[tokio::test]
async fn help_is_given_whatever_the_environment_says() {
    for (flags, says) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["--help"], "proxy"),
        (&["proxy", "--help"], "--trust CIDR"),
    ] {
        let output = timeout(PATIENCE, command(flags).env("RUST_LOG", "my_crate").output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{flags:?}: {output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(says), "{flags:?}");
        assert!(output.stderr.is_empty(), "{flags:?}");
    }
}

#[tokio::test]
async fn each_request_is_a_line_on_standard_output_if_that_is_asked_for() {
    for (form, cache, says) in [
        ("json", None, &["{\"ts\":\"", "\"path\":\"/a\"", "\"status\":200", "\"bytes_out\":5"][..]),
        ("combined", Some("--cache=1MiB"), &["127.0.0.1 - - [", "] \"GET /a HTTP/1.1\" 200 5 "]),
        ("text", Some("--trust=127.0.0.0/8"), &["path=/a", "status=200", "client.address=203.0.113.7"]),
    ] {
        let behind = service(Router::new().fallback(|| async { "hello" })).await;
        let mut program = start(behind, &[&["--access-log", form], cache.as_slice()].concat()).await;
        assert_eq!(next(&mut program.noted).await.trim(), format!("curl -i http://{}/", program.addr));
        let request = "GET /a HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 203.0.113.7\r\nconnection: close\r\n\r\n";
        rest(&mut connect_and_send(program.addr, request).await).await;
        let line = next(&mut program.said).await;
        assert!(says.iter().all(|says| line.contains(says)), "{form}: {line}");
    }
}

#[tokio::test]
async fn warnings_are_seen_on_standard_error() {
    let behind = service(Router::new()).await;
    let mut program = start(behind, &["--access-log", "json"]).await;
    next(&mut program.noted).await; // how to try it
    let forwarded = "GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 203.0.113.7\r\nconnection: close\r\n\r\n";
    rest(&mut connect_and_send(program.addr, forwarded).await).await;
    let warning = next(&mut program.noted).await;
    assert!(warning.contains(" WARN bartizan::") && warning.contains("no proxy is trusted"), "{warning}");
    assert!(warning.contains("--trust 10.0.0.0/8"), "how to trust one: {warning}");
    // Nobody reads what is written there any more: it is told once, and requests go on.
    let Program { said, mut noted, addr, child: _child, .. } = program;
    drop(said);
    for _ in 0..2 {
        assert_eq!(get(addr, "/").await.status, 404);
    }
    let warning = next(&mut noted).await;
    assert!(warning.contains(" WARN bartizan::") && warning.contains("could not be written"), "{warning}");
}

#[tokio::test]
async fn why_a_service_does_not_answer_is_told_to_who_asks_for_it() {
    let mut program = start_with(dead().await, &[], "warn,bartizan_gateway=info").await;
    assert_eq!(get(program.addr, "/").await.status, 502);
    let told = next(&mut program.noted).await;
    assert!(told.contains(" INFO bartizan_gateway::") && told.contains("Connection refused"), "{told}");
    let program = start(dead().await, &[]).await;
    assert_eq!(get(program.addr, "/").await.status, 502);
    program.signal("-TERM").await;
    let (_, notes) = program.ends().await;
    assert!(notes.starts_with("stopping: "), "nothing was told before: {notes}");
}

/// Sends so many requests with a path that makes a long line, and has an answer to each.
async fn fill(addr: SocketAddr, count: usize) {
    let mut peer = Peer::connect(addr).await;
    let path = "x".repeat(6_000);
    for number in 0..count {
        assert_eq!(peer.ask(&format!("GET /{number}/{path} HTTP/1.1\r\nhost: h\r\n\r\n")).await.status, 200);
    }
}

#[tokio::test]
async fn an_access_log_that_nobody_reads_holds_up_no_request_and_not_the_end() {
    let behind = service(Router::new().fallback(|| async { "hello" })).await;
    for threads in ["1", "2"] {
        let program = start(behind, &["--access-log", "json", "--threads", threads]).await;
        fill(program.addr, 2_000).await;
        program.signal("-TERM").await;
        let (status, notes) = program.ends().await;
        assert!(status.success() && notes.contains("\ndrained: "), "{notes}");
        let warnings = notes.lines().filter(|note| note.contains("lines of the access log are lost")).count();
        assert_eq!(warnings, 2, "as the first is lost, and how many at the end: {notes}");
    }
}

#[tokio::test]
async fn neither_do_notes_that_nobody_reads() {
    let mut program = start_with(dead().await, &[], "bartizan_gateway=info").await;
    let mut peer = Peer::connect(program.addr).await;
    for _ in 0..1_000 {
        assert_eq!(peer.ask("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 502);
    }
    program.signal("-TERM").await;
    let ended = timeout(PATIENCE, program.child.wait()).await.expect("in time").expect("an end");
    assert!(ended.success());
}

#[tokio::test]
async fn who_reads_the_access_log_late_has_all_of_it_at_the_end() {
    let behind = service(Router::new().fallback(|| async { "hello" })).await;
    let mut program = start(behind, &["--access-log", "json"]).await;
    fill(program.addr, 300).await;
    program.signal("-TERM").await;
    for number in 0..300 {
        let line = next(&mut program.said).await;
        assert!(line.contains(&format!("\"path\":\"/{number}/x")) && line.ends_with('}'), "{number}: {line}");
    }
    let (status, notes) = program.ends().await;
    assert!(status.success() && !notes.contains("lost"), "{notes}");
}
