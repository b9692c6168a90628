//! The demo as a user meets it: the real binary, on free ports, and what it prints taken at its word.

use axum::body::Body;
use bartizan_gateway::client;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Long enough that it only ever passes when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

struct Demo {
    child: Child,
    addr: SocketAddr,
    banner: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

// ===== impl Demo =====

impl Demo {
    async fn start() -> Self {
        let port = free_ports();
        let mut child = bff(&["--port", &port.to_string()]).kill_on_drop(true).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut banner = String::new();
        while !banner.contains("Ctrl-C stops it") {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable");
            banner += &line.expect("a banner");
            banner.push('\n');
        }
        Self { child, addr: (Ipv4Addr::LOCALHOST, port).into(), banner }
    }

    async fn get(&self, path: &str, tenant: Option<&str>) -> Answer {
        let mut request = Request::get(format!("http://{}{path}", self.addr));
        if let Some(tenant) = tenant {
            request = request.header("x-tenant-id", tenant);
        }
        send(request.body(Body::empty()).expect("a request")).await
    }

    async fn connect_and_send(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.expect("a connection");
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        stream
    }

    /// The most memory that it has held so far, in bytes.
    fn peak_memory(&self) -> usize {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// Ctrl-C, and what it left on stderr.
    async fn interrupt(self) -> Output {
        let pid = self.child.id().expect("it runs").to_string();
        // The shell's own `kill`: not every machine has one as a program.
        Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().await.expect("a signal");
        timeout(PATIENCE, self.child.wait_with_output()).await.expect("it ends").expect("it ended")
    }
}

fn bff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The first of six free ports in a row, none of which a test beside this one gets.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).expect("small") * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) * 6;
        if (port..port + 6).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return port;
        }
    }
}

async fn send(request: Request<Body>) -> Answer {
    let response = timeout(PATIENCE, client().request(request)).await.expect("in time").expect("an answer");
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await.expect("in time").expect("a body").to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// The requests of a printed line, in order: with its loops over `$(seq n)` and over tenants.
fn requests(line: &str) -> Vec<Request<Body>> {
    let between = |start: &str, end: char| Some(line.split_once(start)?.1.split_once(end)?.0);
    let times = between("$(seq ", ')').map_or(1, |times| times.parse().expect("a number"));
    let tenants: Vec<&str> = between("for t in ", ';').map_or(vec![""], |tenants| tenants.split(' ').collect());
    let mut all = Vec::new();
    for _ in 0..times {
        for tenant in &tenants {
            let line = line.replace("$t", tenant);
            let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL");
            let mut request = Request::get(url.trim_end_matches(';'));
            for quoted in line.split("-H ").skip(1) {
                let quote = quoted.chars().next().expect("a quote");
                let (field, _) = quoted[1..].split_once(quote).expect("the other quote");
                let (name, value) = field.split_once(": ").expect("a field");
                request = request.header(name, value);
            }
            all.push(request.body(Body::empty()).expect("a request"));
        }
    }
    all
}

#[tokio::test]
async fn every_printed_line_does_what_is_said_of_it() {
    let demo = Demo::start().await;
    let printed: Vec<&str> = demo.banner.lines().filter(|line| line.contains("curl ")).collect();
    let mut checked = 0;
    for line in printed {
        if line.trim().starts_with("sleep 1;") {
            sleep(Duration::from_secs(1)).await; // real time: as the line says
        }
        let mut answers = Vec::new();
        let mut path = String::new();
        for request in requests(line) {
            request.uri().path().clone_into(&mut path);
            let tenant = request.headers().get("x-tenant-id").map(|tenant| tenant.to_str().unwrap().to_owned());
            answers.push((tenant.unwrap_or_default(), send(request).await));
        }
        let (tenant, answer) = &answers[0];
        assert!(answers.iter().all(|(_, answer)| answer.headers.contains_key("x-request-id")), "{line}");
        match (path.as_str(), tenant.as_str()) {
            ("/dashboard/web/u1", _) => {
                let page = answer.json();
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(
                    (page["user"]["number"].as_u64(), page["orders"].as_array().unwrap().len()),
                    (Some(12_345_678), 20)
                );
                assert_eq!(page["_meta"]["sources"].as_object().unwrap().len(), 4);
                assert!(!answer.body.contains("internal_ref") && !answer.body.contains("credit_score"));
            }
            ("/dashboard/mobile/u1", _) => {
                let page = answer.json();
                assert_eq!(page["user"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "plan"]);
                assert_eq!(page["orders"].as_array().unwrap().len(), 3);
                assert_eq!(page["unread"], 2);
            }
            ("/dashboard/web/nobody", _) => {
                assert_eq!(answer.status, StatusCode::NOT_FOUND);
                assert_eq!(answer.json()["sources"]["user"]["http"], 404);
            }
            ("/reports/orders.json", _) => assert_is_the_report(&answer.body),
            ("/livez", _) => assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "alive\n")),
            ("/users/u1", "") => {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST);
                assert_eq!(answer.json()["code"], "tenant_missing");
            }
            ("/users/u1", "initech") => assert_eq!(answer.status, StatusCode::FORBIDDEN),
            ("/users/u1", "acme") => {
                assert_eq!(answer.status, StatusCode::OK);
                assert_eq!(answer.headers["via"], "1.1 bartizan");
                assert!(answer.headers.contains_key("ratelimit"), "{:?}", answer.headers);
            }
            ("/users/u1" | "/users/u2", "globex") => {
                let of =
                    |tenant: &'static str| answers.iter().filter(move |(by, _)| by == tenant).map(|(_, answer)| answer);
                assert!(of("acme").all(|answer| answer.status == StatusCode::OK), "{line}");
                let refused = of("globex").filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
                let refused: Vec<_> = refused.collect();
                assert!(!refused.is_empty() && refused.len() < of("globex").count(), "{line}");
                for answer in refused {
                    assert_eq!(answer.headers["retry-after"], "1");
                    assert_eq!(answer.headers["content-type"], "application/problem+json");
                }
            }
            other => panic!("nothing is known of {other:?}: {line}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 10);
}

fn assert_is_the_report(body: &str) {
    let orders: Vec<Value> = serde_json::from_str(body).expect("JSON, to its end");
    assert_eq!(orders.len(), 100_000);
    assert_eq!(orders[99_999]["id"], 9_000_100_000_u64);
}

#[tokio::test]
async fn the_dashboard_answers_whatever_its_optional_services_do() {
    let demo = Demo::start().await;
    let mut partial = 0;
    for user in 1..=60 {
        let answer = demo.get(&format!("/dashboard/web/u{user}"), Some("acme")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let page = answer.json();
        let complete = page["_meta"]["complete"].as_bool().unwrap();
        assert_eq!(answer.headers["x-bartizan-complete"], if complete { "?1" } else { "?0" });
        partial += usize::from(!complete);
        if page["_meta"]["sources"]["recommendations"]["status"] == "error" {
            assert_eq!(page["_meta"]["sources"]["recommendations"]["cause"], "timeout");
            assert!(page.get("recommendations").is_none());
        }
    }
    assert!((1..60).contains(&partial), "some are partial, most are not: {partial}");
    let log = String::from_utf8(demo.interrupt().await.stderr).unwrap();
    assert!(log.lines().any(|line| line.contains("flags=PA")), "{log}");
}

#[tokio::test]
async fn a_reader_that_dawdles_costs_no_memory() {
    let demo = Demo::start().await;
    let before = demo.peak_memory();
    let request = "GET /reports/orders.json HTTP/1.1\r\nhost: h\r\nx-tenant-id: acme\r\nconnection: close\r\n\r\n";
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut stream = demo.connect_and_send(request).await;
        stream.read_exact(&mut [0; 1000]).await.expect("it begins");
        readers.push(stream);
    }
    sleep(Duration::from_millis(500)).await; // real time: what would run ahead runs ahead now
    for mut stream in readers {
        let mut rest = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("in time").expect("readable");
        assert!(rest.len() > 10_000_000 && rest.ends_with(b"0\r\n\r\n"), "{}", rest.len());
    }
    // Four reports are 48 MB.
    let grown = demo.peak_memory() - before;
    assert!(grown < 12_000_000, "{grown}");
}

#[tokio::test]
async fn nonsense_is_answered_as_such() {
    let demo = Demo::start().await;
    for (path, tenant, status) in [
        ("/", Some("acme"), 404),
        ("/users/nobody", Some("acme"), 404),
        ("/users/..%2Fu1", Some("acme"), 400),
        ("/dashboard/web/..%2F..%2Fu1", Some("acme"), 400),
        ("/dashboard/web/%FF", Some("acme"), 400),
        ("/dashboard/tv/u1", Some("acme"), 404),
        ("/users/u1", Some("ACME!"), 400),
        ("/users/u1", Some("umbrella"), 403),
    ] {
        let answer = demo.get(path, tenant).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
    let large =
        "POST /users/u1 HTTP/1.1\r\nhost: h\r\nx-tenant-id: acme\r\ncontent-length: 99999\r\nconnection: close\r\n\r\n";
    let many = format!("GET /livez HTTP/1.1\r\nhost: h\r\n{}\r\n", "x-a: 1\r\n".repeat(200));
    let text = "GET /nowhere HTTP/1.1\r\nhost: h\r\naccept: text/plain\r\nconnection: close\r\n\r\n";
    for (bytes, status, says) in [
        ("DELETE /livez HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", "405", "\"instance\":\"urn:request:"),
        (large, "413", "\"instance\":\"urn:request:"),
        (text, "404", "\r\n\r\nNot Found: nothing is here"),
        (many.as_str(), "431", ""),
        ("what is this?\r\n\r\n", "400", ""),
    ] {
        let mut answer = String::new();
        let mut stream = demo.connect_and_send(bytes).await;
        let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(says), "{bytes:.40}: {answer}");
    }
    assert_eq!(demo.get("/livez", None).await.status, StatusCode::OK, "it is still alive");
}

#[tokio::test]
async fn ctrl_c_lets_a_download_finish_and_nobody_new_in() {
    let demo = Demo::start().await;
    let addr = demo.addr;
    let request = "GET /reports/orders.json HTTP/1.1\r\nhost: h\r\nx-tenant-id: acme\r\n\r\n";
    let mut stream = demo.connect_and_send(request).await;
    let mut report = vec![0; 1000];
    stream.read_exact(&mut report).await.expect("it begins");
    let ended = tokio::spawn(demo.interrupt());
    timeout(PATIENCE, async {
        while TcpStream::connect(addr).await.is_ok() {
            sleep(Duration::from_millis(10)).await; // real time: another process is at work
        }
    })
    .await
    .expect("it stops listening");
    timeout(PATIENCE, stream.read_to_end(&mut report)).await.expect("in time").expect("readable");
    assert!(report.ends_with(b"\n]\n\r\n0\r\n\r\n"), "the download is whole");

    let output = ended.await.unwrap();
    assert!(output.status.success());
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("stopping: up to 10 s"), "{log}");
    assert!(log.contains("drained: all connections came to their end"), "{log}");
}

#[tokio::test]
async fn a_taken_port_is_one_line_with_the_flag_that_helps() {
    for taken in 0..6 {
        let port = free_ports();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port + taken)).expect("a free port");
        let output = bff(&["--port", &port.to_string()]).output().await.expect("it ran");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("port {} is taken", port + taken)), "{said}");
        assert!(said.contains(&format!("cargo run -p bff -- --port {}", port + 1000)), "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn an_unknown_flag_is_one_line_and_help_tells_all() {
    let output = bff(&["--prot", "9000"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "bff: there is no flag \"--prot\" (--help lists the flags)\n"
    );
    let output = bff(&["--help"]).output().await.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("--port N"));
}
