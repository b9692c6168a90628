mod paths;
mod waiting;

use super::{
    Answer, Assurance, CachedDirectory, Directory, Event, Refused, Source, Tenant, TenantId, TenantLayer, TenantSet,
    from_extension, from_fn, from_header, from_path, from_path_stripped, from_subdomain,
};
use crate::shared::{Context, Deadline, Notes, Refusal, RequestId, ResponseBody};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

// ===== what is read =====

fn head(uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn read(source: &Source, head: &Parts) -> Result<Option<String>, Refused> {
    source.read(head).map(|named| named.map(|named| String::from_utf8(named.name.into_owned()).unwrap()))
}

#[track_caller]
fn names(source: &Source, uri: &str, fields: &[(&str, &str)], expected: Result<Option<&str>, Refused>) {
    assert_eq!(read(source, &head(uri, fields)), expected.map(|name| name.map(str::to_owned)), "{uri} {fields:?}");
}

#[test]
fn a_field_is_taken_as_it_stands_or_refused() {
    let source = from_header("x-tenant-id");
    for (value, expected) in [
        ("acme", Ok(Some("acme"))),
        ("a", Ok(Some("a"))),
        ("0-9", Ok(Some("0-9"))),
        ("", Err(Refused::Malformed)),
        ("Acme", Err(Refused::Malformed)),
        ("-acme", Err(Refused::Malformed)),
        ("acme-", Err(Refused::Malformed)),
        ("ac me", Err(Refused::Malformed)),
        ("acme,globex", Err(Refused::Malformed)),
        ("a.b", Err(Refused::Malformed)),
        ("a_b", Err(Refused::Malformed)),
        ("ümlaut", Err(Refused::Malformed)),
    ] {
        names(&source, "/", &[("x-tenant-id", value)], expected);
    }
    names(&source, "/", &[], Ok(None));
    names(&source, "/", &[("x-tenant-id", &"a".repeat(63))], Ok(Some(&"a".repeat(63))));
    names(&source, "/", &[("x-tenant-id", &"a".repeat(64))], Err(Refused::Malformed));
}

#[test]
fn a_field_on_two_lines_is_a_conflict_even_if_they_agree() {
    let fields = [("x-tenant-id", "acme"), ("x-tenant-id", "acme")];
    names(&from_header("x-tenant-id"), "/", &fields, Err(Refused::Conflict));
    names(&from_subdomain("example.com"), "/", &[("host", "a.example.com"); 2], Err(Refused::Conflict));
}

#[test]
fn a_subdomain_is_one_label_below_the_base_in_any_case() {
    let source = from_subdomain("example.com");
    for (host, expected) in [
        ("acme.example.com", Ok(Some("acme"))),
        ("acme.example.com:8080", Ok(Some("acme"))),
        ("acme.example.com:", Ok(Some("acme"))),
        ("acme.example.com.", Ok(Some("acme"))),
        ("ACME.Example.COM:1", Ok(Some("acme"))),
        ("example.com", Ok(None)),
        ("notexample.com", Ok(None)),
        ("acme.example.com.evil.org", Ok(None)),
        ("localhost:3000", Ok(None)),
        ("127.0.0.1:3000", Ok(None)),
        ("[::1]:3000", Ok(None)),
        ("[::1]", Ok(None)),
        ("", Ok(None)),
        (".example.com", Err(Refused::Malformed)),
        ("a.b.example.com", Err(Refused::Malformed)),
        ("a_b.example.com", Err(Refused::Malformed)),
        ("user@acme.example.com", Err(Refused::Malformed)),
        ("acme.example.com:80x", Err(Refused::Malformed)),
        ("acme.example.com:1:2", Err(Refused::Malformed)),
        ("äcme.example.com", Err(Refused::Malformed)),
    ] {
        names(&source, "/", &[("host", host)], expected);
    }
    names(&source, "/", &[], Ok(None));
}

#[test]
fn what_no_host_could_be_below_is_no_base() {
    for base in ["", ".", "example.com:3000", "*.example.com", "http://example.com", "a..b", "a b", "bücher.example"] {
        assert!(std::panic::catch_unwind(|| from_subdomain(base)).is_err(), "{base:?}");
    }
    for base in ["localhost", ".example.com.", "EXAMPLE.com", "xn--bcher-kva.example", "my_service.internal"] {
        let host = format!("acme.{}", base.trim_matches('.'));
        names(&from_subdomain(base), "/", &[("host", &host)], Ok(Some("acme")));
    }
}

#[test]
fn the_host_in_the_target_counts_and_a_field_that_differs_is_a_conflict() {
    let source = from_subdomain(".example.com");
    names(&source, "http://acme.example.com:81/x", &[], Ok(Some("acme")));
    names(&source, "http://acme.example.com/", &[("host", "ACME.example.com:80")], Ok(Some("acme")));
    names(&source, "http://acme.example.com/", &[("host", "globex.example.com")], Err(Refused::Conflict));
    names(&source, "http://acme.example.com/", &[("host", "elsewhere.org")], Err(Refused::Conflict));
}

#[test]
fn a_path_names_its_tenant_in_one_segment() {
    let (under_t, first) = (from_path("/t"), from_path("/"));
    names(&under_t, "/t/acme/orders", &[], Ok(Some("acme")));
    names(&under_t, "/t/acme?x=/t/globex", &[], Ok(Some("acme")));
    names(&under_t, "/health", &[], Ok(None));
    names(&under_t, "/tea/acme", &[], Ok(None));
    names(&under_t, "/t", &[], Ok(None));
    names(&under_t, "/t/%61cme", &[], Err(Refused::Malformed));
    names(&under_t, "/t/../acme", &[], Err(Refused::Malformed));
    names(&first, "/acme", &[], Ok(Some("acme")));
    names(&first, "/", &[], Ok(None));
    names(&first, "*", &[], Ok(None));
}

#[test]
fn a_stripped_path_starts_with_exactly_one_slash() {
    let source = from_path_stripped("t/");
    for (uri, expected) in [
        ("/t/acme/orders?page=2", Some("/orders?page=2")),
        ("/t/acme", Some("/")),
        ("/t/acme/", Some("/")),
        ("/t/acme?page=2", Some("/?page=2")),
        ("/t/acme/a//b", Some("/a//b")),
        ("http://example.com:80/t/acme/x", Some("http://example.com:80/x")),
        ("/t/acme//evil.org", None),
        (r"/t/acme/\evil.org", None),
        (r"/t/acme/a\b", Some(r"/a\b")),
    ] {
        let head = head(uri, &[]);
        let stripped =
            source.read(&head).map(|named| named.and_then(|named| named.stripped).map(|uri| uri.to_string()));
        assert_eq!(stripped, expected.map(|uri| Some(uri.to_owned())).ok_or(Refused::Malformed), "{uri}");
    }
}

#[test]
fn sources_that_differ_are_a_conflict_in_either_order() {
    let header = from_header("x-tenant-id");
    let path = from_path("/t");
    for source in [header.clone().or(path.clone()), path.or(header)] {
        names(&source, "/t/acme", &[("x-tenant-id", "acme")], Ok(Some("acme")));
        names(&source, "/t/acme", &[], Ok(Some("acme")));
        names(&source, "/", &[("x-tenant-id", "globex")], Ok(Some("globex")));
        names(&source, "/t/acme", &[("x-tenant-id", "globex")], Err(Refused::Conflict));
        names(&source, "/t/acme", &[("x-tenant-id", "ACME")], Err(Refused::Malformed));
        names(&source, "/", &[], Ok(None));
    }
}

#[test]
fn a_claim_or_a_function_is_checked_like_any_other_source() {
    #[derive(Clone)]
    struct Claim(&'static str);
    let claim = from_extension(|claim: &Claim| Some(claim.0));
    let mut head = head("/?tenant=Acme", &[]);
    assert_eq!(read(&claim, &head), Ok(None));
    head.extensions.insert(Claim("acme"));
    assert_eq!(read(&claim, &head), Ok(Some("acme".into())));
    head.extensions.insert(Claim("a c m e"));
    assert_eq!(read(&claim, &head), Err(Refused::Malformed));
    let query = from_fn(|head| head.uri.query()?.strip_prefix("tenant=").map(|name| name.to_lowercase().into()));
    assert_eq!(read(&query, &head), Ok(Some("acme".into())));
}

proptest! {
    #[test]
    fn only_the_alphabet_passes_and_nothing_panics(
        value in prop::collection::vec(prop_oneof![Just(b'\t'), b' '..=b'~', b'\x80'..], 0..80),
    ) {
        let mut head = head("/", &[]);
        let value = HeaderValue::from_bytes(&value).expect("bytes that a field can hold");
        head.headers.insert("x-tenant-id", value.clone());
        head.headers.insert(header::HOST, value.clone());
        let _ = read(&from_subdomain("example.com"), &head);
        let _ = read(&from_subdomain("a"), &head);
        match read(&from_header("x-tenant-id"), &head) {
            Ok(name) => {
                let name = name.expect("the field is there");
                prop_assert_eq!(name.as_bytes(), value.as_bytes());
                prop_assert!(matches_the_rule(&name));
            }
            Err(refused) => {
                prop_assert_eq!(refused, Refused::Malformed);
                prop_assert!(!value.to_str().is_ok_and(matches_the_rule));
            }
        }
    }

    #[test]
    fn names_near_the_rule_are_told_apart(name in "[a-z0-9A-Z_.-]{0,66}") {
        prop_assert_eq!(TenantId::new(&name).is_ok(), matches_the_rule(&name));
    }

    #[test]
    fn two_different_names_are_always_a_conflict(a in "[a-z0-9]{1,4}", b in "[a-z0-9]{1,4}", c in "[a-z0-9]{1,4}") {
        let source = from_header("x-tenant-id").or(from_subdomain("example.com")).or(from_path_stripped("/"));
        let host = format!("{b}.example.com");
        let found = read(&source, &head(&format!("/{c}/x"), &[("x-tenant-id", &a), ("host", &host)]));
        prop_assert_eq!(found, if a == b && b == c { Ok(Some(a)) } else { Err(Refused::Conflict) });
    }

    #[test]
    fn what_is_stripped_is_the_start_of_the_path_and_no_more(
        rest in r"(/[a-z/.%0-9\\]{0,12})?",
        query in r"(\?[a-z/=]{0,8})?",
    ) {
        prop_assume!(format!("/t/acme{rest}{query}").parse::<Uri>().is_ok());
        let head = head(&format!("/t/acme{rest}{query}"), &[]);
        match from_path_stripped("/t").read(&head) {
            Ok(named) => {
                let uri = named.and_then(|named| named.stripped).expect("stripped");
                prop_assert!(uri.path().starts_with('/') && !uri.path().starts_with("//") && !uri.path().starts_with(r"/\"));
                prop_assert_eq!(uri.path(), if rest.is_empty() { "/" } else { &*rest });
                prop_assert_eq!(uri.query(), head.uri.query());
            }
            Err(refused) => {
                prop_assert_eq!(refused, Refused::Malformed);
                let spelled = ["%2e.", "%2f/", "%5c/", "%3b;"].iter().fold(rest.clone(), |rest, pair| {
                    let (escape, plain) = pair.split_at(3);
                    rest.replace(escape, plain)
                });
                let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
                let leads_away = rest.starts_with("//") || rest.starts_with(r"/\");
                prop_assert!(leads_away || spelled.split(['/', '\\']).any(dots), "{}", rest);
            }
        }
    }
}

/// The rule as a person would read it out.
fn matches_the_rule(name: &str) -> bool {
    let labels = "abcdefghijklmnopqrstuvwxyz0123456789-";
    !name.is_empty()
        && name.len() <= 63
        && name.chars().all(|c| labels.contains(c))
        && !name.starts_with('-')
        && !name.ends_with('-')
}

// ===== the service =====

type Body = Full<Bytes>;

/// Answers with the tenant's name and the path that it saw.
async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let tenant = Tenant::of(request.extensions()).map_or("nobody", Tenant::id);
    Ok(Response::new(format!("{tenant} {}", request.uri()).into()))
}

fn by_header() -> TenantLayer {
    TenantLayer::new(from_header("x-tenant-id"))
}

fn request(tenant: &str) -> Request<Body> {
    Request::builder().uri("/").header("x-tenant-id", tenant).body(Body::default()).expect("a request")
}

fn nameless() -> Request<Body> {
    Request::new(Body::default())
}

async fn send(layer: &TenantLayer, request: Request<Body>) -> Response<ResponseBody<Body>> {
    layer.layer(service_fn(echo)).oneshot(request).await.expect("infallible")
}

async fn text(response: Response<ResponseBody<Body>>) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

async fn status(layer: &TenantLayer, tenant: &str) -> StatusCode {
    send(layer, request(tenant)).await.status()
}

#[tokio::test]
async fn a_refusal_says_why_marks_itself_and_never_repeats_the_client() {
    let layer = by_header().known(TenantSet::new(["acme"]).unwrap());
    for (request, status, error_type) in [
        (nameless(), StatusCode::BAD_REQUEST, "tenant_missing"),
        (request("EVIL"), StatusCode::BAD_REQUEST, "tenant_malformed"),
        (request("evil"), StatusCode::FORBIDDEN, "tenant_unknown"),
    ] {
        let mut request = request;
        let id = RequestId::new(HeaderValue::from_static("r-1"));
        Context::of_mut(request.extensions_mut()).id = id;
        let response = send(&layer, request).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.extensions().get::<Refusal>().map(|mark| mark.error_type()), Some(error_type));
        let body = text(response).await;
        assert!(!body.to_lowercase().contains("evil"), "{body}");
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(json["code"], error_type);
        assert_eq!(json["instance"], "urn:request:r-1");
        assert_eq!(json["status"], status.as_u16());
    }
}

#[tokio::test]
async fn a_refusal_can_be_replaced_and_stays_marked() {
    let layer = by_header().on_refusal(|&refused, _| {
        Response::builder().status(StatusCode::NOT_FOUND).body(refused.error_type().into()).expect("a response")
    });
    let response = send(&layer, nameless()).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.extensions().get(), Some(&Refusal::new("tenant_missing")));
    assert_eq!(text(response).await, "tenant_missing");
}

#[tokio::test(start_paused = true)]
async fn who_replaces_a_refusal_need_not_think_of_when_to_come_back() {
    let slow = Slow::default();
    slow.becomes(FAILING);
    let said = |field: Option<&'static str>| {
        let layer = slow.layer().on_refusal(move |_, _| {
            let answer = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
            let answer = field.into_iter().fold(answer, |answer, value| answer.header(header::RETRY_AFTER, value));
            answer.body(Bytes::new()).expect("a response")
        });
        async move { send(&layer, request("acme")).await.headers()[header::RETRY_AFTER].clone() }
    };
    assert_eq!((said(None).await, said(Some("60")).await), (HeaderValue::from(5), HeaderValue::from(60)));
    let missing = by_header().on_refusal(|_, _| Response::default());
    assert_eq!(send(&missing, nameless()).await.headers().get(header::RETRY_AFTER), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_grpc_is_refused_in_its_own_words() {
    let slow = Slow::default();
    slow.becomes(FAILING);
    let known = by_header().known(TenantSet::new(["acme"]).unwrap());
    let mut two = request("acme");
    two.headers_mut().append("x-tenant-id", HeaderValue::from_static("globex"));
    for (layer, mut request, status, pushback, error_type) in [
        (&known, nameless(), "3", "-1", "tenant_missing"),
        (&known, request("EVIL"), "3", "-1", "tenant_malformed"),
        (&known, two, "3", "-1", "tenant_conflict"),
        (&known, request("evil"), "7", "-1", "tenant_unknown"),
        (&slow.layer(), request("acme"), "14", "5000", "tenant_directory_unavailable"),
    ] {
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let response = send(layer, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], status);
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], pushback);
        assert_eq!(response.extensions().get(), Some(&Refusal::new(error_type)));
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn a_request_without_a_tenant_is_for_the_default_one_or_for_nobody() {
    let default = by_header().default_tenant(TenantId::new("public").unwrap());
    assert_eq!(text(send(&default, nameless()).await).await, "public /");
    assert_eq!(send(&default, request("NOT VALID")).await.status(), StatusCode::BAD_REQUEST);
    let anonymous = by_header().allow_anonymous();
    assert_eq!(text(send(&anonymous, nameless()).await).await, "nobody /");
    assert_eq!(text(send(&anonymous, request("acme")).await).await, "acme /");
}

#[tokio::test]
async fn the_service_sees_the_path_without_its_tenant() {
    let layer = TenantLayer::new(from_path_stripped("/t"));
    let request = Request::builder().uri("/t/acme/orders?page=2").body(Body::default()).unwrap();
    assert_eq!(text(send(&layer, request).await).await, "acme /orders?page=2");
}

#[tokio::test]
async fn key_scope_and_data_are_the_tenants() {
    let gold = Tenant::from(TenantId::new("acme").unwrap()).with("gold");
    let layer = by_header().known(TenantSet::new([gold]).unwrap());
    let service = layer.layer(service_fn(async |request: Request<Body>| {
        let (head, _) = request.into_parts();
        let tenant = Tenant::of(&head.extensions).expect("a tenant");
        assert_eq!(tenant.data::<&str>(), Some(&"gold"));
        assert_eq!(tenant.data::<u8>(), None);
        assert_eq!(Tenant::key(&head).map(|key| key.to_string()).as_deref(), Some("acme"));
        Ok::<_, Infallible>(Response::new(Body::default()))
    }));
    service.oneshot(request("acme")).await.unwrap();
}

#[tokio::test]
async fn the_access_log_and_the_observer_are_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let layer = by_header().known(TenantSet::new(["acme"]).unwrap()).allow_anonymous().observe({
        let told = Arc::clone(&told);
        move |event| {
            told.lock().unwrap().push(match event {
                Event::Admitted { tenant, assurance: Assurance::Known } => tenant.id().to_owned(),
                Event::Admitted { .. } => "unsure".into(),
                Event::Anonymous => "anonymous".into(),
                Event::Refused(refused) => refused.error_type().into(),
            });
        }
    });
    let notes = Notes::default();
    let mut request_with_notes = request("acme");
    Context::of_mut(request_with_notes.extensions_mut()).notes = Some(notes.clone());
    send(&layer, request_with_notes).await;
    send(&layer, nameless()).await;
    send(&layer, request("globex")).await;
    assert_eq!(notes.lock().tenant.as_deref(), Some("acme"));
    assert_eq!(*told.lock().unwrap(), ["acme", "anonymous", "tenant_unknown"]);
}

#[test]
fn the_span_round_the_layer_learns_the_tenant() {
    use std::io::Write;
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let made = sink.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || made.clone()).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("request", tenant_id = tracing::field::Empty);
        let _entered = span.enter();
        let mut service = by_header().layer(service_fn(echo));
        drop(service.call(request("acme")));
        tracing::info!("here");
    });
    let logged = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("tenant_id=\"acme\""), "{logged}");
}

#[test]
fn a_set_finds_names_of_every_length_and_no_others() {
    let names = || (1..=63).map(|length| "abcdefghi".chars().cycle().take(length).collect::<String>());
    let set = TenantSet::new(names()).unwrap();
    for name in names() {
        assert_eq!(set.get(&name).map(Tenant::id), Some(name.as_str()));
        let other = name.replacen('a', "0", 1);
        assert_eq!(set.get(&other), None, "{other}");
    }
}

// ===== the directory =====

/// A directory that knows `acme`, takes a second to say so, and counts how often it is asked and how often left.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
    mood: Arc<AtomicUsize>,
}

const WELL: usize = 0;
const FAILING: usize = 1;
const HANGING: usize = 2;
const PANICKING: usize = 3;

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Directory for Slow {
    type Error = io::Error;

    async fn look_up(&self, id: TenantId) -> Result<Answer, io::Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let _leaves = Leaves(Arc::clone(&self.under_way));
        sleep(SECOND).await;
        match self.mood.load(Ordering::SeqCst) {
            FAILING => Err(io::Error::other("down")),
            HANGING => pending().await,
            PANICKING => panic!("a bug in the directory"),
            _ => Ok((id.as_str() == "acme").then_some("gold").into()),
        }
    }
}

impl Slow {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    fn becomes(&self, mood: usize) {
        self.mood.store(mood, Ordering::SeqCst);
    }

    fn layer(&self) -> TenantLayer {
        by_header().directory(CachedDirectory::new(self.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn found_and_unknown_are_kept_for_their_times_over_all_layers() {
    let slow = Slow::default();
    let layer = slow.layer();
    for _ in 0..100 {
        assert_eq!(status(&layer, "acme").await, StatusCode::OK);
        assert_eq!(status(&layer, "globex").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(slow.asked(), 2);
    advance(Duration::from_secs(9)).await;
    status(&layer, "globex").await;
    assert_eq!(slow.asked(), 2, "an unknown name stands for ten seconds");
    advance(SECOND).await;
    status(&layer, "globex").await;
    assert_eq!(slow.asked(), 3);
    advance(Duration::from_secs(46)).await;
    status(&layer, "acme").await;
    assert_eq!(slow.asked(), 3, "a found tenant stands for sixty seconds");
    advance(Duration::from_secs(3)).await;
    status(&layer, "acme").await;
    assert_eq!(slow.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_at_once_are_one_question() {
    let slow = Slow::default();
    let layer = slow.layer();
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let layer = layer.clone();
            tokio::spawn(async move { status(&layer, "acme").await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(slow.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_to_all_who_wait_and_kept_for_nobody() {
    let slow = Slow::default();
    slow.becomes(FAILING);
    let layer = slow.layer();
    let (one, two) = tokio::join!(send(&layer, request("acme")), send(&layer, request("acme")));
    assert_eq!(one.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(one.headers()[header::RETRY_AFTER], "5");
    assert_eq!(two.extensions().get(), Some(&Refusal::new("tenant_directory_unavailable")));
    assert_eq!(slow.asked(), 1);
    slow.becomes(WELL);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_hangs_or_panics_is_down() {
    let slow = Slow::default();
    for mood in [HANGING, PANICKING] {
        slow.becomes(mood);
        assert_eq!(status(&slow.layer(), "acme").await, StatusCode::SERVICE_UNAVAILABLE);
        let unverified = send(&slow.layer().admit_when_down(), request("acme")).await;
        assert_eq!(text(unverified).await, "acme /");
    }
    assert_eq!(slow.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_stands_longer_only_while_the_directory_is_down() {
    let slow = Slow::default();
    let directory = CachedDirectory::new(slow.clone()).stale_if_error(Duration::from_secs(300));
    let layer = by_header().directory(directory);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    advance(Duration::from_secs(100)).await;
    slow.becomes(FAILING);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    assert_eq!(status(&layer, "globex").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(slow.asked(), 3);
    advance(Duration::from_secs(300)).await;
    assert_eq!(status(&layer, "acme").await, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_on_when_the_first_who_asked_leaves_and_ends_when_all_have() {
    let slow = Slow::default();
    let layer = slow.layer();
    let mut first = Box::pin(send(&layer, request("acme")));
    let mut second = Box::pin(send(&layer, request("acme")));
    poll_once(first.as_mut()).await;
    poll_once(second.as_mut()).await;
    advance(SECOND / 2).await;
    drop(first);
    let start = tokio::time::Instant::now();
    assert_eq!(second.await.status(), StatusCode::OK);
    assert_eq!(start.elapsed(), SECOND / 2, "it was not begun anew");
    assert_eq!(slow.asked(), 1);

    let mut alone = Box::pin(send(&layer, request("globex")));
    poll_once(alone.as_mut()).await;
    assert_eq!(slow.under_way(), 1);
    drop(alone);
    assert_eq!(slow.under_way(), 0);
    assert_eq!(status(&layer, "globex").await, StatusCode::FORBIDDEN);
}

async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = Some(future);
    std::future::poll_fn(|cx| {
        assert!(future.take().expect("polled once").poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_names_neither_asks_without_bound_nor_forgets_who_is_known() {
    let slow = Slow::default();
    let layer = by_header().directory(CachedDirectory::new(slow.clone()).at_once(8).capacity(100)).admit_when_down();
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    let flood: Vec<_> = (0..2_000)
        .map(|n| {
            let layer = layer.clone();
            tokio::spawn(async move { status(&layer, &format!("invented-{n}")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(slow.under_way(), 8);
    for request in flood {
        assert_ne!(request.await.unwrap(), StatusCode::OK, "who is not heard is not let in");
    }
    assert_eq!(slow.asked(), 9);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    assert_eq!(slow.asked(), 9);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_the_deadline_and_nobody_gets_in_by_it() {
    let layer = Slow::default().layer().admit_when_down();
    let mut request = request("acme");
    Deadline::after(SECOND / 10).tighten(request.extensions_mut());
    let start = tokio::time::Instant::now();
    assert_eq!(send(&layer, request).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(start.elapsed(), SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_asked_again_even_if_the_answer_was_on_its_way() {
    let slow = Slow::default();
    let directory = CachedDirectory::new(slow.clone());
    let layer = by_header().directory(directory.clone());
    status(&layer, "acme").await;
    directory.forget("acme");
    let mut on_its_way = Box::pin(send(&layer, request("acme")));
    poll_once(on_its_way.as_mut()).await;
    directory.forget("acme");
    on_its_way.await;
    assert_eq!(slow.asked(), 2);
    status(&layer, "acme").await;
    assert_eq!(slow.asked(), 3);
    status(&layer, "acme").await;
    assert_eq!(slow.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn dropped_at_any_poll_nothing_stays_behind() {
    for polls in 0..4 {
        let slow = Slow::default();
        let directory = CachedDirectory::new(slow.clone());
        let layer = by_header().directory(directory.clone());
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let service = layer.layer(service_fn(move |_: Request<Body>| {
            let held = Arc::clone(&held);
            async move {
                sleep(SECOND).await;
                drop(held);
                Ok::<_, Infallible>(Response::new(Body::default()))
            }
        }));
        let mut future = Box::pin(service.oneshot(request("acme")));
        for _ in 0..polls {
            std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
            advance(SECOND).await;
        }
        drop(future);
        assert_eq!(slow.under_way(), 0);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert_eq!(directory.questions_under_way(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_instance_that_was_polled_ready_is_called() {
    let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    let mut service = Slow::default().layer().layer(service);
    handle.allow(1);
    let response = tokio::spawn(service.ready().await.unwrap().call(request("acme")));
    let (seen, answer) = handle.next_request().await.expect("a call");
    assert_eq!(Tenant::of(seen.extensions()).and_then(Tenant::data::<&str>), Some(&"gold"));
    answer.send_response(Response::new(Body::default()));
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_before_its_first_poll_takes_its_question_along() {
    let directory = CachedDirectory::new(async |_: TenantId| Ok::<_, io::Error>(true)).at_once(4);
    let layer = TenantLayer::new(from_header("x-tenant-id")).directory(directory.clone());
    let mut service = layer.layer(service_fn(echo));
    for n in 0..4 {
        drop(service.call(request(&format!("t{n}"))));
    }
    assert_eq!(directory.questions_under_way(), 0);
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_ends_before_a_directory_that_is_down_answers_is_met_with_the_last_answer() {
    let hangs = Arc::new(AtomicUsize::new(0));
    let hanging = Arc::clone(&hangs);
    let directory = CachedDirectory::new(move |_: TenantId| {
        let hangs = hanging.load(Ordering::SeqCst) == 1;
        async move {
            if hangs {
                pending::<()>().await;
            }
            Ok::<_, io::Error>(true)
        }
    });
    let layer =
        TenantLayer::new(from_header("x-tenant-id")).directory(directory.found_for(SECOND).stale_if_error(SECOND * 60));
    assert_eq!(status(&layer, "acme").await, StatusCode::OK);
    hangs.store(1, Ordering::SeqCst);
    advance(SECOND * 2).await;
    assert_eq!(status(&layer, "globex").await, StatusCode::SERVICE_UNAVAILABLE, "it is down from here on");
    let mut request = request("acme");
    Deadline::after(SECOND).tighten(request.extensions_mut());
    assert_eq!(send(&layer, request).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_travels_on_is_the_tenant_that_was_let_in_and_not_what_a_stranger_wrote() {
    let name = http::HeaderName::from_static("x-tenant-id");
    let layer = TenantLayer::new(from_subdomain("example.com")).forward_as(name.clone()).allow_anonymous();
    for (host, travels) in [("acme.example.com", Some("acme")), ("other.org", None)] {
        let service = service_fn(|request: Request<Body>| async move {
            let sent = request.headers().get("x-tenant-id").cloned();
            Ok::<_, Infallible>(Response::builder().extension(sent).body(Body::default()).unwrap())
        });
        let mut asked = request("globex");
        asked.headers_mut().insert("host", host.parse().unwrap());
        let response = layer.layer(service).oneshot(asked).await.unwrap();
        let sent = response.extensions().get::<Option<http::HeaderValue>>().unwrap();
        assert_eq!(sent.as_ref().map(|value| value.to_str().unwrap()), travels);
    }
}
