//! The tenant layer on a served axum router, over a socket.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use axum::{Router, routing::get};
use bartizan::{
    bridge::axum::with_peer_addr,
    tenant::{self, CachedDirectory, Tenant, TenantId, TenantLayer, TenantSet},
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::Layer;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, with_peer_addr(app)).await });
    addr
}

/// Sends a request as it is written here, and gives the whole response.
async fn send(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

async fn hello(tenant: Tenant) -> String {
    format!("hello {}", tenant.id())
}

async fn whoever(tenant: Option<Tenant>) -> String {
    format!("hello {}", tenant.as_ref().map_or("nobody", Tenant::id))
}

#[tokio::test]
async fn a_handler_takes_the_tenant_that_the_header_names() {
    let layer = TenantLayer::new(tenant::from_header("x-tenant-id")).known(TenantSet::new(["acme"]).unwrap());
    let addr = serve(Router::new().route("/", get(hello)).layer(layer)).await;
    assert!(send(addr, "GET / HTTP/1.1\r\nhost: a\r\nx-tenant-id: acme").await.ends_with("hello acme"));
    let unknown = send(addr, "GET / HTTP/1.1\r\nhost: a\r\nx-tenant-id: initech").await;
    assert!(unknown.starts_with("HTTP/1.1 403 "), "{unknown}");
    assert!(unknown.contains("application/problem+json") && !unknown.contains("initech"), "{unknown}");
    let twice = send(addr, "GET / HTTP/1.1\r\nhost: a\r\nx-tenant-id: acme\r\nx-tenant-id: acme").await;
    assert!(twice.starts_with("HTTP/1.1 400 ") && twice.contains("tenant_conflict"), "{twice}");
    let missing = send(addr, "GET / HTTP/1.1\r\nhost: a").await;
    assert!(missing.starts_with("HTTP/1.1 400 ") && missing.contains("tenant_missing"), "{missing}");
}

#[tokio::test]
async fn a_handler_that_needs_a_tenant_refuses_an_anonymous_request_and_faults_a_forgotten_layer() {
    let layer = TenantLayer::new(tenant::from_subdomain("example.com")).allow_anonymous();
    let app = Router::new().route("/", get(hello)).route("/whoever", get(whoever)).layer(layer);
    let addr = serve(app.route("/bare", get(hello))).await;
    assert!(send(addr, "GET / HTTP/1.1\r\nhost: ACME.example.com:80").await.ends_with("hello acme"));
    assert!(send(addr, "GET /whoever HTTP/1.1\r\nhost: example.com").await.ends_with("hello nobody"));
    assert!(send(addr, "GET / HTTP/1.1\r\nhost: example.com").await.starts_with("HTTP/1.1 400 "));
    assert!(send(addr, "GET /bare HTTP/1.1\r\nhost: acme.example.com").await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn round_a_whole_router_the_stripped_path_is_the_one_that_is_routed() {
    let layer = TenantLayer::new(tenant::from_path_stripped("/t"));
    let app = Router::new().route("/orders", get(hello));
    let addr = serve(Router::new().fallback_service(layer.layer(app))).await;
    assert!(send(addr, "GET /t/acme/orders?page=2 HTTP/1.1\r\nhost: a").await.ends_with("hello acme"));
    assert!(send(addr, "GET /t/acme//orders HTTP/1.1\r\nhost: a").await.starts_with("HTTP/1.1 400 "));
    assert!(send(addr, "GET /t/acme HTTP/1.1\r\nhost: a").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_directory_is_asked_once_over_all_routes_and_connections() {
    let asked = Arc::new(AtomicUsize::new(0));
    let directory = CachedDirectory::new({
        let asked = Arc::clone(&asked);
        move |id: TenantId| {
            asked.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, io::Error>(id.as_str() == "acme") }
        }
    });
    let layer = TenantLayer::new(tenant::from_header("x-tenant-id")).directory(directory);
    let addr = serve(Router::new().route("/a", get(hello).post(hello)).route("/b", get(hello)).layer(layer)).await;
    for _ in 0..10 {
        for line in ["GET /a", "POST /a", "GET /b"] {
            let response = send(addr, &format!("{line} HTTP/1.1\r\nhost: a\r\nx-tenant-id: acme")).await;
            assert!(response.ends_with("hello acme"), "{response}");
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
