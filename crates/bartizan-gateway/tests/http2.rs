//! Clients that speak HTTP/2 without TLS, on the port on which others speak HTTP/1.1.

mod support;

use axum::{Extension, Router, body::Body, extract::Request, routing::get as on_get};
use bartizan::PeerAddr;
use bartizan_gateway::{Drained, Interim, Proxy, bind, client, serve};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{convert::Infallible, net::SocketAddr};
use support::*;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

type Sender = http2::SendRequest<BoxBody<Bytes, Infallible>>;

async fn connect(addr: SocketAddr) -> Sender {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("http://shop.example{path}"))
}

fn no_body() -> BoxBody<Bytes, Infallible> {
    Full::default().boxed()
}

async fn ask(sender: &mut Sender, request: http::Request<BoxBody<Bytes, Infallible>>) -> Answer {
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("in time").expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
}

#[tokio::test]
async fn both_versions_are_spoken_on_one_port() {
    let app = Router::new().route(
        "/",
        on_get(|Extension(PeerAddr(peer)): Extension<PeerAddr>, request: Request| async move {
            format!("{:?} {}", request.version(), peer.ip())
        }),
    );
    let addr = service(app).await;
    let mut sender = connect(addr).await;
    assert_eq!(ask(&mut sender, request("/").body(no_body()).unwrap()).await.body, "HTTP/2.0 127.0.0.1");
    assert_eq!(get(addr, "/").await.body, "HTTP/1.1 127.0.0.1");
    // The first letters are those of the preface.
    let mut stream = connect_and_send(addr, "PR").await;
    stream.write_all(b"OP / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_request_names_one_host_in_http2_as_well() {
    let addr = service(Router::new().route("/", on_get(|| async { "ok" }))).await;
    let mut sender = connect(addr).await;
    for (hosts, status) in
        [(&[][..], 200), (&["shop.example"], 200), (&["other.example"], 400), (&["shop.example", "shop.example"], 400)]
    {
        let request = hosts.iter().fold(request("/"), |request, host| request.header("host", *host));
        let answer = ask(&mut sender, request.body(no_body()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{hosts:?}");
    }
}

#[tokio::test]
async fn what_comes_over_http2_goes_on_over_http1() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let behind = raw(move |mut stream| {
        let heads = heads.clone();
        async move {
            let _ = heads.send(head(&mut stream).await);
            let _ = stream
                .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nset-cookie: a=1\r\n")
                .await;
            let _ = stream.write_all(b"set-cookie: b=2\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let proxy = Proxy::new(client(), &format!("http://{behind}")).unwrap().keep_host().upgrades();
    let mut sender = connect(service(Router::new().fallback_service(proxy)).await).await;
    let request = request("/a?b").header("cookie", "a=1").header("cookie", "b=2").header("accept", "x");
    let answer = ask(&mut sender, request.header("accept", "y").body(no_body()).unwrap()).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "ok"));
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert!(!answer.headers.contains_key("link"));
    let head = seen.recv().await.unwrap();
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    for there in [
        "host: shop.example\r\n",
        "cookie: a=1; b=2\r\n",
        "accept: x\r\naccept: y\r\n",
        "via: 2 bartizan\r\n",
        "x-forwarded-host: shop.example\r\n",
    ] {
        assert!(head.contains(there), "{there}: {head}");
    }
    assert!(!head.contains("transfer-encoding"), "{head}");
}

#[tokio::test]
async fn bodies_and_trailers_pass_both_ways_over_http2() {
    let echo = Router::new().fallback(|request: Request| async move {
        http::Response::builder().header("trailer", "x-sum").body(request.into_body()).expect("a response")
    });
    let proxy = Proxy::new(client(), &format!("http://{}", service(echo).await)).unwrap();
    let mut sender = connect(service(Router::new().fallback_service(proxy)).await).await;
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("42"))]);
    let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    let request = request("/").method("POST").header("te", "trailers").header("trailer", "x-sum").body(body).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().and_then(|trailers| trailers.get("x-sum")).unwrap(), "42");
    assert_eq!(collected.to_bytes(), "hello");
}

#[tokio::test]
async fn hyper_has_no_door_for_interim_responses_in_http2() {
    let app = Router::new().fallback(|request: Request| async move {
        format!("{:?} {}", request.version(), Interim::of(request.extensions()).is_some())
    });
    let addr = service(app).await;
    assert_eq!(ask(&mut connect(addr).await, request("/").body(no_body()).unwrap()).await.body, "HTTP/2.0 false");
    assert_eq!(get(addr, "/").await.body, format!("{:?} true", Version::HTTP_11));
}

#[tokio::test]
async fn a_stream_in_flight_finishes_and_an_idle_connection_is_told_to_go() {
    let (begin, mut begun) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel::<()>();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(Some(ended)));
    let slow = on_get(move || async move {
        let ended = ended.lock().unwrap().take().expect("one request");
        let _ = begin.send(());
        let _ = ended.await;
        Body::from("slow")
    });
    let app = Router::new().route("/slow", slow).route("/", on_get(|| async { "ok" }));
    let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, app).until(stopped).drain(PATIENCE).run());
    let mut idle = connect(addr).await;
    ask(&mut idle, request("/").body(no_body()).unwrap()).await;
    let mut silent = connect(addr).await;
    let mut busy = connect(addr).await;
    let answer = tokio::spawn(async move { ask(&mut busy, request("/slow").body(no_body()).unwrap()).await });
    begun.recv().await.unwrap();

    stop.send(()).unwrap();
    for sender in [&mut idle, &mut silent] {
        while !sender.is_closed() {
            tokio::time::sleep(ms(10)).await; // real time: until the other side of a socket has closed
        }
    }
    end.send(()).unwrap();
    assert_eq!(answer.await.unwrap().body, "slow");
    let drained = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!(drained, Drained { left: 0, finished: 3 });
}
