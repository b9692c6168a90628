//! The inbound stack round an axum router that is served over sockets.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

#[path = "common/client.rs"]
mod client;
#[path = "common/lines.rs"]
mod lines;

use axum::{
    Router,
    routing::{any, get},
};
use bartizan::{
    RequestId,
    access_log::{AccessLogLayer, Format},
    bridge::axum::with_peer_addr,
    rate_limit::{Quota, RateLimitLayer},
    request_id::RequestIdLayer,
    tenant::{Tenant, TenantLayer, TenantSet, from_header},
};
use client::{Client, from_acme};
use http::StatusCode;
use lines::Lines;
use serde_json::Value;
use std::{
    collections::HashSet,
    future::{IntoFuture, pending},
    io,
    net::SocketAddr,
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

struct Served {
    addr: SocketAddr,
    lines: Lines,
    /// Told when the handler that never answers has been called.
    reached: Arc<Notify>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

#[tokio::test]
async fn a_limit_of_two_is_two_over_all_routes_methods_and_connections() {
    let served = Served::with(Quota::per_hour(2).burst(2)).await;
    let mut answers = Vec::new();
    for connection in 0..100 {
        let mut client = Client::connect(served.addr).await;
        for number in 0..10 {
            let method = ["GET", "POST", "PUT", "DELETE"][(connection + number) % 4];
            let path = ["/orders", "/orders/7", "/users", "/admin/users", "/nowhere"][number % 5];
            answers.push(client.send(from_acme(method, path)).await);
        }
    }
    let lines = served.stop().await;

    let refused = answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.clone().all(|answer| answer.headers()["content-type"] == "application/problem+json"));
    assert_eq!(refused.count(), 998);
    let ids: HashSet<_> = answers.iter().map(|answer| &answer.headers()["x-request-id"]).collect();
    assert_eq!(ids.len(), 1000);
    assert_eq!(lines.len(), 1000);
    assert_eq!(lines.iter().filter(|line| line["status"] == 429).count(), 998);
}

#[tokio::test]
async fn a_handler_sees_what_the_layers_found_out_and_the_log_tells_it() {
    let served = Served::with(Quota::per_second(100)).await;
    let answer = Client::connect(served.addr).await.send(from_acme("GET", "/whoami")).await;
    let lines = served.stop().await;

    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(answer.body(), &format!("{id} of acme"));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["request_id"], id);
    assert_eq!(lines[0]["tenant_id"], "acme");
    assert_eq!(lines[0]["client.address"], "127.0.0.1");
    assert_eq!(lines[0]["status"], 200);
}

#[tokio::test]
async fn a_panic_is_a_500_with_an_id_and_a_line() {
    let served = Served::with(Quota::per_second(100)).await;
    let answer = Client::connect(served.addr).await.send(from_acme("GET", "/panic")).await;
    let lines = served.stop().await;

    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["request_id"], answer.headers()["x-request-id"].to_str().unwrap());
    assert_eq!(lines[0]["status"], 500);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_line_and_lets_the_server_stop() {
    let served = Served::with(Quota::per_second(100)).await;
    let mut client = Client::connect(served.addr).await;
    {
        let waiting = client.send(from_acme("GET", "/forever"));
        tokio::select! {
            _ = waiting => unreachable!("the handler never answers"),
            () = served.reached_forever() => {}
        }
    }
    client.hang_up().await;
    let lines = served.stop().await;

    assert_eq!(lines.len(), 1);
    assert!(lines[0]["flags"].to_string().contains("DC"), "{}", lines[0]);
}

// ===== impl Served =====

impl Served {
    async fn with(quota: Quota) -> Self {
        let lines = Lines::default();
        let known = TenantSet::new(["acme", "globex"]).unwrap();
        let stack = ServiceBuilder::new()
            .layer(RequestIdLayer::new())
            .layer(AccessLogLayer::new().write_to(lines.clone(), Format::Json))
            .layer(CatchPanicLayer::new())
            .layer(TenantLayer::new(from_header("x-tenant-id")).known(known))
            .layer(RateLimitLayer::new(quota).key_by(Tenant::key));

        let hello = || async { "hello" };
        let reached = Arc::new(Notify::new());
        let forever = {
            let reached = Arc::clone(&reached);
            move || async move {
                reached.notify_one();
                pending::<()>().await;
            }
        };
        let app = Router::new()
            .route("/orders", get(hello).post(hello).put(hello).delete(hello))
            .route("/orders/{id}", get(hello).post(hello).put(hello).delete(hello))
            .route("/users", any(hello))
            .nest("/admin", Router::new().route("/users", any(hello)))
            .route("/whoami", get(|id: RequestId, tenant: Tenant| async move { format!("{id} of {}", tenant.id()) }))
            .route("/panic", get(panics))
            .route("/forever", get(forever))
            .layer(stack);

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, with_peer_addr(app)).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        Self { addr, lines, reached, stop, server: tokio::spawn(server.into_future()) }
    }

    async fn reached_forever(&self) {
        self.reached.notified().await;
    }

    /// Returns the log when the last connection is gone.
    async fn stop(self) -> Vec<Value> {
        self.stop.send(()).unwrap();
        self.server.await.unwrap().unwrap();
        self.lines.take().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn panics() {
    panic!("on purpose")
}
