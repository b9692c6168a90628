use super::{
    Event, RequestIdLayer, Why,
    uuid_v7::{from_parts, uuid_v7},
};
use crate::shared::{PeerAddr, RequestId, TrustedProxies};
use http::{HeaderName, HeaderValue, Request, Response};
use proptest::prelude::*;
use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_layer::Layer;

const X_REQUEST_ID: &str = "x-request-id";

/// What the service saw in its request field and in the extensions, and what the client saw.
#[derive(Debug)]
struct Seen {
    lines: Vec<HeaderValue>,
    extension: String,
    response: Vec<HeaderValue>,
    events: Vec<Event>,
}

async fn send(layer: RequestIdLayer, request: Request<()>) -> Seen {
    send_by(layer, request, HeaderName::from_static(X_REQUEST_ID)).await
}

async fn send_by(layer: RequestIdLayer, request: Request<()>, name: HeaderName) -> Seen {
    let events = Arc::new(Mutex::new(Vec::new()));
    let layer = layer.observe({
        let events = Arc::clone(&events);
        move |event| events.lock().unwrap().push(*event)
    });
    let inner = {
        let name = name.clone();
        service_fn(move |request: Request<()>| {
            let lines: Vec<_> = request.headers().get_all(&name).iter().cloned().collect();
            let extension = RequestId::of(request.extensions()).map(ToString::to_string).unwrap_or_default();
            let mut response = Response::new((lines, extension));
            response.headers_mut().append(&name, HeaderValue::from_static("the-services-own"));
            response.headers_mut().append(&name, HeaderValue::from_static("and-another"));
            async move { Ok::<_, Infallible>(response) }
        })
    };
    let response = layer.layer(inner).oneshot(request).await.unwrap();
    let told = response.headers().get_all(&name).iter().cloned().collect();
    let (lines, extension) = response.into_body();
    let events = events.lock().unwrap().clone();
    Seen { lines, extension, response: told, events }
}

fn request(lines: &[&[u8]]) -> Request<()> {
    let mut request = Request::builder().extension(PeerAddr("10.0.0.1:4711".parse().unwrap()));
    for line in lines {
        request = request.header(X_REQUEST_ID, HeaderValue::from_bytes(line).unwrap());
    }
    request.body(()).unwrap()
}

impl Seen {
    /// The one id that all three places agree on.
    fn id(&self) -> &str {
        assert_eq!(self.lines, [self.extension.as_str()], "request and extension: {self:?}");
        assert_eq!(self.response, [self.extension.as_str()], "response and extension: {self:?}");
        &self.extension
    }
}

fn is_uuid_v7(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok_and(|uuid| {
        (uuid.get_version_num(), uuid.get_variant()) == (7, uuid::Variant::RFC4122)
            && uuid.hyphenated().to_string() == id
    })
}

#[tokio::test]
async fn each_request_has_one_new_id_in_its_field_its_extensions_and_its_response() {
    let first = send(RequestIdLayer::new(), request(&[])).await;
    let second = send(RequestIdLayer::new(), request(&[])).await;
    assert!(is_uuid_v7(first.id()) && is_uuid_v7(second.id()));
    assert_ne!(first.id(), second.id());
    assert_eq!(first.events, [Event::Generated]);
}

#[tokio::test]
async fn by_default_nobody_is_believed() {
    let seen = send(RequestIdLayer::new(), request(&[b"mine"])).await;
    assert!(is_uuid_v7(seen.id()));
    assert_eq!(seen.events, [Event::Generated]);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_a_stranger_is_not() {
    let trusting = |net: &str| RequestIdLayer::new().trust(TrustedProxies::new([net]).unwrap());
    let seen = send(trusting("10.0.0.0/8"), request(&[b"mine"])).await;
    assert_eq!((seen.id(), seen.events.as_slice()), ("mine", [Event::Accepted].as_slice()));
    let seen = send(trusting("192.0.2.0/24"), request(&[b"mine"])).await;
    assert!(is_uuid_v7(seen.id()));
}

#[tokio::test]
async fn an_id_is_kept_as_it_is_or_replaced_and_never_trimmed() {
    let longest = [b'a'; 128];
    let kept: &[&[u8]] = &[b"a", b"AZaz09._~+/=:@-", b"Root=1-67891233-abcdef", &longest];
    for id in kept {
        let seen = send(RequestIdLayer::new().trust_everybody(), request(&[id])).await;
        assert_eq!((seen.id().as_bytes(), seen.events.as_slice()), (*id, [Event::Accepted].as_slice()));
    }
    let too_long = [b'a'; 129];
    let replaced: &[&[u8]] = &[
        b"",
        b"a b",
        b"a,b",
        b"a;b",
        b"\"a\"",
        b"a\tb",
        b"<script>",
        b"${jndi}",
        b"caf\xe9",
        "é".as_bytes(),
        &too_long,
    ];
    for id in replaced {
        let seen = send(RequestIdLayer::new().trust_everybody(), request(&[id])).await;
        assert!(is_uuid_v7(seen.id()), "{id:?}");
        assert_eq!(seen.events, [Event::Rejected(Why::Malformed)], "{id:?}");
    }
}

#[tokio::test]
async fn several_ids_are_refused_even_if_they_agree() {
    let seen = send(RequestIdLayer::new().trust_everybody(), request(&[b"a", b"a"])).await;
    assert!(is_uuid_v7(seen.id()));
    assert_eq!(seen.events, [Event::Rejected(Why::Several)]);
}

#[tokio::test]
async fn any_field_can_carry_the_id() {
    let name = HeaderName::from_static("x-correlation-id");
    let request = Request::builder().header(&name, "mine").body(()).unwrap();
    let layer = RequestIdLayer::new().header(name.clone()).trust_everybody();
    assert_eq!(send_by(layer, request, name).await.id(), "mine");
}

#[tokio::test]
async fn a_maker_of_ones_own_is_asked_and_may_decline() {
    let layer = RequestIdLayer::new().generate_by(|head| {
        let path = head.uri.path().trim_matches('/');
        RequestId::new(HeaderValue::from_str(path).ok()?)
    });
    let to = |path: &str| Request::builder().uri(path).body(()).unwrap();
    assert_eq!(send(layer.clone(), to("/abc")).await.id(), "abc");
    assert!(is_uuid_v7(send(layer, to("/")).await.id()));
}

#[tokio::test]
async fn of_two_nested_layers_the_outer_one_names_the_request() {
    let nested = ServiceBuilder::new().layer(RequestIdLayer::new()).layer(RequestIdLayer::new());
    let service = nested.service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(Response::new(request.headers()[X_REQUEST_ID].clone()))
    });
    let response = service.oneshot(request(&[])).await.unwrap();
    assert_eq!(response.headers()[X_REQUEST_ID], response.body());
}

#[tokio::test]
async fn an_error_of_the_service_passes() {
    let failing = service_fn(|_: Request<()>| async { Err::<Response<()>, _>("broken") });
    assert_eq!(RequestIdLayer::new().layer(failing).oneshot(request(&[])).await.unwrap_err(), "broken");
}

#[tokio::test]
async fn a_caught_panic_and_a_refusal_carry_the_id() {
    let panicking = ServiceBuilder::new()
        .layer(RequestIdLayer::new())
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .service_fn(|_: Request<()>| async {
            panic_with::<Result<Response<http_body_util::Full<bytes::Bytes>>, Infallible>>()
        });
    let response = panicking.oneshot(request(&[])).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(is_uuid_v7(response.headers()[X_REQUEST_ID].to_str().unwrap()));
}

fn panic_with<T>() -> T {
    panic!("as this test wants it")
}

#[test]
fn ids_of_many_threads_never_meet_and_sort_by_time() {
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(|| (0..2_000).map(|_| uuid_v7()).collect())).collect();
    let ids: Vec<Vec<RequestId>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let different: HashSet<_> = ids.iter().flatten().collect();
    assert_eq!(different.len(), 8_000);
    for of_one_thread in ids {
        assert!(of_one_thread.is_sorted_by_key(|id| id.as_str()[..13].to_owned()));
    }
}

proptest! {
    #[test]
    fn a_new_id_is_a_uuid_of_version_7_with_its_time(millis in 0u64..1 << 48, a: u32, b: u64) {
        let id = from_parts(millis, a, b);
        prop_assert!(is_uuid_v7(id.as_str()));
        prop_assert_eq!(&id.as_str()[..13].replace('-', ""), &format!("{millis:012x}"));
        prop_assert!(RequestId::new(id.as_header_value().clone()).is_some());
    }

    #[test]
    fn what_is_accepted_is_harmless_in_every_log(value in prop::collection::vec(any::<u8>(), 0..140)) {
        if let Some(id) = HeaderValue::from_bytes(&value).ok().and_then(RequestId::new) {
            prop_assert!((1..=128).contains(&id.as_str().len()));
            let harmless = |b: u8| b.is_ascii_alphanumeric() || b"._~+/=:@-".contains(&b);
            prop_assert!(id.as_str().bytes().all(harmless), "{id}");
        }
    }
}
