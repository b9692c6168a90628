//! The same layers round a service that hyper serves, without any framework.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

#[path = "common/client.rs"]
mod client;
#[path = "common/lines.rs"]
mod lines;

use bartizan::{
    PeerAddr, RequestId,
    access_log::{AccessLogLayer, Format},
    rate_limit::{Quota, RateLimitLayer},
    request_id::RequestIdLayer,
    tenant::{Tenant, TenantLayer, from_header},
};
use bytes::Bytes;
use client::{Client, from_acme};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use lines::Lines;
use serde_json::Value;
use std::{convert::Infallible, net::SocketAddr};
use tokio::{net::TcpListener, task::JoinSet};
use tower::{ServiceBuilder, service_fn};

struct Served {
    addr: SocketAddr,
    lines: Lines,
    /// Serves so many connections, then ends.
    server: tokio::task::JoinHandle<()>,
}

#[tokio::test]
async fn a_limit_of_two_is_two_over_all_connections_of_a_client() {
    let served = Served::with(Quota::per_hour(2).burst(2), 100).await;
    let mut answers = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(served.addr).await;
        for method in ["GET", "POST", "PUT", "DELETE", "GET", "POST", "PUT", "DELETE", "GET", "POST"] {
            answers.push(client.send(from_acme(method, "/")).await);
        }
    }
    let lines = served.stop().await;

    let admitted: Vec<_> = answers.iter().filter(|answer| answer.status() == StatusCode::OK).collect();
    assert_eq!(admitted.len(), 2);
    assert!(answers.iter().all(|answer| answer.headers().contains_key("x-request-id")));
    assert_eq!(lines.len(), 1000);
    assert!(lines.iter().all(|line| line["client.address"] == "127.0.0.1"));
}

#[tokio::test]
async fn a_service_sees_what_the_layers_found_out() {
    let served = Served::with(Quota::per_second(100), 1).await;
    let mut client = Client::connect(served.addr).await;
    let answer = client.send(from_acme("GET", "/")).await;
    drop(client);
    let lines = served.stop().await;

    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert_eq!(answer.body(), &format!("{id} of acme"));
    assert_eq!(lines[0]["request_id"], id);
    assert_eq!(lines[0]["tenant_id"], "acme");
}

// ===== impl Served =====

impl Served {
    async fn with(quota: Quota, connections: usize) -> Self {
        let lines = Lines::default();
        let service = ServiceBuilder::new()
            .layer(RequestIdLayer::new())
            .layer(AccessLogLayer::new().write_to(lines.clone(), Format::Json))
            .layer(RateLimitLayer::new(quota))
            .layer(TenantLayer::new(from_header("x-tenant-id")))
            .service(service_fn(whoami));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut served = JoinSet::new();
            for _ in 0..connections {
                let (socket, peer) = listener.accept().await.unwrap();
                // The one thing that a server of your own has to do for the layers.
                let service = ServiceBuilder::new()
                    .map_request(move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(PeerAddr(peer));
                        request
                    })
                    .service(service.clone());
                served.spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)),
                );
            }
            while let Some(connection) = served.join_next().await {
                connection.unwrap().unwrap();
            }
        });
        Self { addr, lines, server }
    }

    /// Returns the log when the last connection is gone.
    async fn stop(self) -> Vec<Value> {
        self.server.await.unwrap();
        self.lines.take().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn whoami(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let id = RequestId::of(request.extensions()).unwrap();
    let tenant = Tenant::of(request.extensions()).unwrap();
    Ok(Response::new(Full::from(format!("{id} of {}", tenant.id()))))
}
