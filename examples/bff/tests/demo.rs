//! The demo as a user meets it: the real binary, on free ports, and what it prints taken at its word.
#![allow(clippy::unwrap_used, reason = "all of this is a test; clippy sees only the functions that are marked so")]

use axum::body::Body;
use bartizan_gateway::client;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Long enough that it only ever passes when something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

struct Demo {
    child: Child,
    /// What it writes to stderr. Read all the time: a demo whose log nobody takes stands still.
    log: JoinHandle<String>,
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
        let mut stderr = child.stderr.take().expect("a pipe");
        let log = tokio::spawn(async move {
            let mut log = String::new();
            stderr.read_to_string(&mut log).await.expect("UTF-8");
            log
        });
        Self { child, log, addr: (Ipv4Addr::LOCALHOST, port).into(), banner }
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

    /// What another `bff`, which is told to do this, says.
    async fn command(&self, line: &str) -> String {
        let output = bff(&line.split(' ').collect::<Vec<_>>()).output();
        let output = timeout(PATIENCE, output).await.expect("in time").expect("it ran");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The most memory that it has held so far, in bytes.
    fn peak_memory(&self) -> usize {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// Ctrl-C, and what it left on stderr.
    async fn interrupt(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().expect("it runs").to_string();
        // The shell's own `kill`: not every machine has one as a program.
        Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().await.expect("a signal");
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("it ended");
        (status, self.log.await.expect("a log"))
    }
}

fn bff(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bff"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The ports that a demo takes, counted from its first.
const TAKEN: [u16; 11] = [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15];

/// The first of sixteen free ports in a row, none of which a test beside this one gets.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 25).expect("small") * 400;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) * 16;
        if TAKEN.iter().all(|offset| TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset)).is_ok()) {
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

    fn cache_status(&self) -> &str {
        self.headers["cache-status"].to_str().expect("ASCII")
    }
}

/// The requests of a printed line, in order: with its loops over `$(seq n)` and over tenants.
fn requests(line: &str) -> Vec<Request<Body>> {
    let between = |start: &str, end: char| Some(line.split_once(start)?.1.split_once(end)?.0);
    let counted = between("$(seq ", ')').map(|times| times.parse().expect("a number"));
    let times = counted.or(between("for i in 1 ", ';').map(|last| last.parse().expect("a number"))).unwrap_or(1);
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
            let body =
                line.split_once("-d '").and_then(|(_, rest)| rest.split_once('\'')).map(|(body, _)| body.to_owned());
            let method = between("-X ", ' ').unwrap_or(if body.is_some() { "POST" } else { "GET" });
            let request = request.method(method);
            all.push(request.body(body.map_or(Body::empty(), Body::from)).expect("a request"));
        }
    }
    all
}

#[tokio::test]
async fn every_printed_line_does_what_is_said_of_it() {
    let demo = Demo::start().await;
    let mut checked = (0, 0);
    for line in demo.banner.lines().map(str::trim) {
        if let Some(command) = line.strip_prefix("cargo run -qp bff -- ") {
            check_command(&demo, command.split(" --port").next().expect("a command"), command).await;
            checked.0 += 1;
        } else if line.contains("curl ") {
            check_curl(&demo, line).await;
            checked.1 += 1;
        }
    }
    assert_eq!(checked, (8, 19));
}

async fn check_curl(demo: &Demo, line: &str) {
    if line.starts_with("sleep 1;") || line.contains("acme globex") {
        sleep(Duration::from_secs(1)).await; // real time: as the line says, or as those before have left of the limit
    }
    let mut answers = Vec::new();
    let mut path = String::new();
    for request in requests(line) {
        request.uri().path().clone_into(&mut path);
        let tenant = request.headers().get("x-tenant-id").map(|tenant| tenant.to_str().unwrap().to_owned());
        answers.push((tenant.unwrap_or_default(), send(request).await));
    }
    let (tenant, answer) = &answers[0];
    let of_the_bff = line.contains(&demo.addr.to_string());
    assert!(answers.iter().all(|(_, answer)| answer.headers.contains_key("x-request-id") == of_the_bff), "{line}");
    match (path.as_str(), tenant.as_str()) {
        ("/dashboard/web/u1", _) => {
            let page = answer.json();
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(
                (page["user"]["number"].as_u64(), page["orders"].as_array().unwrap().len()),
                (Some(12_345_678), 20)
            );
            let sources = page["_meta"]["sources"].as_object().unwrap();
            assert_eq!(sources.len(), 4);
            assert_eq!(sources["user"]["cache"], "miss", "it is asked for the first time");
            assert!(!answer.body.contains("internal_ref") && !answer.body.contains("credit_score"));
        }
        ("/dashboard/mobile/u1", _) => {
            let page = answer.json();
            assert_eq!(page["user"].as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "plan"]);
            assert_eq!(page["orders"].as_array().unwrap().len(), 3);
            assert_eq!(page["unread"], 2);
            assert_eq!(page["_meta"]["sources"]["user"]["cache"], "hit", "it is stored for every page");
        }
        ("/dashboard/web/nobody", _) => {
            assert_eq!(answer.status, StatusCode::NOT_FOUND);
            assert_eq!(answer.json()["sources"]["user"]["http"], 404);
        }
        ("/orders", _) => {
            assert_eq!(answers.len(), 2);
            assert!(answers.iter().all(|(_, answer)| answer.status == StatusCode::CREATED), "{}", answer.body);
            assert_eq!(answers[1].1.body, answer.body, "it is the same order");
            assert!(!answer.headers.contains_key("idempotent-replayed"));
            assert_eq!(answers[1].1.headers["idempotent-replayed"], "true");
        }
        ("/reports/orders.json", _) => assert_is_the_report(&answer.body),
        ("/livez", _) => assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "alive\n")),
        ("/users/u1", "") => {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST);
            assert_eq!(answer.json()["code"], "tenant_missing");
        }
        ("/users/u1", "initech") => assert_eq!(answer.status, StatusCode::FORBIDDEN),
        ("/users/u3", "") => assert_eq!(answer.json()["plan"], "team"),
        ("/users/u3", "acme") if answers.len() == 3 => {
            let said: Vec<_> = answers.iter().map(|(_, answer)| answer.cache_status()).collect();
            assert!(said[0].contains("fwd=uri-miss; stored") && said[1].contains("hit"), "{said:?}");
            assert!(said[2].contains("fwd=uri-miss; stored"), "{said:?}");
        }
        ("/users/u3", "acme") => {
            let is_stored = answer.cache_status().contains("hit");
            assert_eq!(answer.json()["plan"], if is_stored { "free" } else { "team" }, "{}", answer.cache_status());
        }
        ("/purge", _) => assert_eq!(answer.json()["tenants"], json!(["acme", "globex"])),
        ("/cache", _) => assert!(answer.json()["hits"].as_u64() > Some(0), "{}", answer.body),
        ("/users/u9", "acme") => {
            let statuses: Vec<_> = answers.iter().map(|(_, answer)| answer.status.as_u16()).collect();
            assert_eq!((statuses[0], statuses[8]), (502, 503), "{statuses:?}");
            assert!(answers[8].1.headers.contains_key("retry-after"));
        }
        ("/users/u1", "acme") => {
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.headers["via"], "1.1 bartizan");
            assert!(answer.headers.contains_key("ratelimit"), "{:?}", answer.headers);
            assert!(answer.cache_status().starts_with("bartizan; "), "{:?}", answer.headers);
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
}

/// Runs it, unless it is the tour, which a test of its own plays.
async fn check_command(demo: &Demo, what: &str, command: &str) {
    if what == "tour" {
        return;
    }
    let said = demo.command(command).await;
    match what {
        "chaos recommendations --latency 2s --for 15s" => {
            assert!(said.contains("latency 2s (for another 15s)"), "{said}");
            let answer = demo.get("/dashboard/web/u40", Some("acme")).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert!(answer.body.contains("Desk"), "bestsellers: {}", answer.body);
        }
        "chaos orders-a --down --for 15s" => {
            assert!(said.contains("reset (for another 15s)"), "{said}");
            for _ in 0..10 {
                let page = demo.get("/dashboard/web/u1", Some("acme")).await.json();
                assert_eq!(page["orders"].as_array().expect("orders").len(), 20, "nobody notices");
            }
        }
        "chaos users --down --for 15s" => assert_eq!(said.matches("reset (for").count(), 2, "{said}"),
        "purge recommendations --tenant acme" => {
            assert_eq!(said, "What has the tag recommendations is fetched anew for acme.\n");
        }
        "chaos" => assert!(said.contains("latency 2s (for") && said.contains("reset (for"), "{said}"),
        "chaos heal" => assert!(!said.contains("(for"), "{said}"),
        "load --rate 200 --for 5s" => {
            let word_after = |word: &str| {
                let mut words = said.split_whitespace().skip_while(move |next| *next != word).skip(1);
                words.next().expect("a number").parse::<f64>().expect("a number")
            };
            assert_eq!((word_after("due"), word_after("answered")), (1000., 1000.), "{said}");
            assert!(word_after("p50") <= word_after("p95") && word_after("p99") <= word_after("p99.9"), "{said}");
        }
        other => panic!("nothing is known of {other:?}"),
    }
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
    let (_, log) = demo.interrupt().await;
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
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("it begins");
        assert_eq!(&head, b"HTTP/1.1 200");
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

    let (status, log) = ended.await.unwrap();
    assert!(status.success());
    assert!(log.contains("stopping: up to 10 s"), "{log}");
    assert!(log.contains("drained: all connections came to their end"), "{log}");
}

#[tokio::test]
async fn a_taken_port_is_one_line_with_the_flag_that_helps() {
    for taken in TAKEN {
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
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("bff: there is no flag \"--prot\"") && said.lines().count() == 1, "{said}");
    let output = bff(&["--help"]).output().await.unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("--port N"));
}

#[tokio::test]
async fn without_a_demo_the_others_say_so_in_one_line() {
    let port = free_ports().to_string();
    for command in
        [&["chaos", "--port", &port][..], &["chaos", "users", "heal", "--port", &port], &["load", "--port", &port]]
    {
        let output = bff(command).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(&format!("cargo run -p bff -- --port {port}")) && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test]
async fn faults_are_switched_over_http_and_nonsense_changes_none() {
    let demo = Demo::start().await;
    let faults = |method: &str, body: &'static str| {
        let uri = format!("http://127.0.0.1:{}/faults", demo.addr.port() + 11);
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        send(request.body(Body::from(body)).expect("a request"))
    };
    let put = faults("PUT", r#"{"error_rate": 1.0, "status": 500, "for_ms": 60000}"#).await.json();
    assert_eq!(put["faults"][0]["what"], "status 500");
    assert!((50_000..=60_000).contains(&put["faults"][0]["heals_in_ms"].as_u64().expect("a time")), "{put}");
    let direct = || async {
        let uri = format!("http://127.0.0.1:{}/users/u1", demo.addr.port() + 1);
        send(Request::get(uri).body(Body::empty()).expect("a request")).await.status.as_u16()
    };
    assert_eq!(direct().await, 500);
    for nonsense in
        [r#"{"error_rate": 2}"#, r#"{"eror_rate": 1}"#, "{}", "[", r#"{"latency_ms": -1}"#, r#"{"status": 99}"#]
    {
        let answer = faults("PUT", nonsense).await;
        assert!(answer.status.is_client_error(), "{nonsense}: {}", answer.status);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{nonsense}");
    }
    assert_eq!(faults("GET", "").await.json()["faults"][0]["what"], "status 500", "all is as it was");
    assert_eq!(faults("DELETE", "").await.json()["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!(direct().await, 200);
    let state = faults("GET", "").await.json();
    assert_eq!((&state["received"]["GET"], &state["harmed"]), (&2.into(), &1.into()), "{state}");
}

#[tokio::test]
async fn a_purge_is_for_its_tag_and_its_tenant_and_nonsense_purges_nothing() {
    let demo = Demo::start().await;
    let port = |offset: u16, path: &str| format!("http://127.0.0.1:{}{path}", demo.addr.port() + offset);
    let purge = |body: &'static str, host: &'static str| {
        let request = Request::post(port(11, "/purge")).header("content-type", "application/json").header("host", host);
        send(request.body(Body::from(body)).expect("a request"))
    };
    let plan = async |user: &str, tenant| {
        let answer = demo.get(&format!("/users/{user}"), Some(tenant)).await;
        (answer.json()["plan"].as_str().expect("a plan").to_owned(), answer.cache_status().contains("hit"))
    };
    for user in ["u1", "u2"] {
        for tenant in ["acme", "globex"] {
            assert_eq!(plan(user, tenant).await, ("pro".to_owned(), false));
        }
        let change = Request::put(port(1, &format!("/users/{user}"))).header("content-type", "application/json");
        let change = change.body(Body::from(r#"{"plan":"team"}"#)).expect("a request");
        assert_eq!(send(change).await.status, StatusCode::OK);
    }
    for (nonsense, host, status) in [
        (r#"{"tag": "user-u1"}"#, "evil.example", 403),
        (r#"{"tag": ""}"#, "localhost", 400),
        (r#"{"tag": "user-u1", "tenant": "initech"}"#, "localhost", 400),
        (r#"{"tags": ["user-u1"]}"#, "localhost", 422),
        ("[", "localhost", 400),
    ] {
        let answer = purge(nonsense, host).await;
        assert_eq!(answer.status.as_u16(), status, "{nonsense}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{nonsense}");
    }
    assert_eq!(plan("u1", "acme").await, ("pro".to_owned(), true), "nothing was purged");

    assert_eq!(purge(r#"{"tag": "user-u1", "tenant": "acme"}"#, "localhost").await.status, StatusCode::OK);
    assert_eq!(plan("u1", "acme").await, ("team".to_owned(), false));
    assert_eq!(plan("u1", "globex").await, ("pro".to_owned(), true), "it is another tenant's");
    assert_eq!(plan("u2", "acme").await, ("pro".to_owned(), true), "it has another tag");
    assert_eq!(purge(r#"{"tag": "user-u2"}"#, "localhost").await.json()["tenants"], json!(["acme", "globex"]));
    assert_eq!(plan("u2", "acme").await, ("team".to_owned(), false));
    let tagged = demo.get("/users/u2", Some("acme")).await;
    assert!(!tagged.headers.contains_key("cache-tag"), "tags are for the cache alone");
}

#[tokio::test]
async fn no_field_of_a_strangers_leads_to_what_is_stored_for_another_tenant() {
    let demo = Demo::start().await;
    assert_eq!(demo.get("/users/u7", Some("acme")).await.cache_status(), "bartizan; fwd=uri-miss; stored; ttl=4");
    let ask = async |fields: &str| {
        let request = format!("GET /users/u7 HTTP/1.1\r\nhost: h\r\nconnection: close, x-tenant-id\r\n{fields}\r\n");
        let (mut stream, mut answer) = (demo.connect_and_send(&request).await, String::new());
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("readable");
        answer
    };
    let globex = ask("x-tenant-id: globex\r\nx-forwarded-host: users\r\nx-forwarded-proto: https\r\n").await;
    assert!(globex.contains("cache-status: bartizan; fwd=uri-miss; stored"), "{globex}");
    let both = ask("x-tenant-id: globex\r\nx-tenant-id: acme\r\n").await;
    assert!(both.starts_with("HTTP/1.1 400") && !both.contains("cache-status"), "{both}");
    let acme = ask("x-tenant-id: acme\r\nx-forwarded-proto: https\r\nx-original-url: /users/u8\r\n").await;
    assert!(acme.contains("cache-status: bartizan; hit") && acme.contains("\"u7\""), "{acme}");
}
