//! `curl -si -H 'x-tenant-id: acme' 127.0.0.1:3000/hello`
//!
//! 200, gold. As `globex` 200, free; as `initech` 403, for nobody knows it; without the field 400.

use axum::{Router, routing::get};
use bartizan::{
    bridge::axum::with_peer_addr,
    tenant::{self, CachedDirectory, Tenant, TenantId, TenantLayer},
};
use std::io;

#[derive(Debug)]
enum Plan {
    Free,
    Gold,
}

/// Stands for a query: what it answers is kept, so it runs once a minute and tenant.
async fn find(tenant: TenantId) -> Result<Option<Plan>, io::Error> {
    Ok(match tenant.as_str() {
        "acme" => Some(Plan::Gold),
        "globex" => Some(Plan::Free),
        _ => None,
    })
}

async fn hello(tenant: Tenant) -> String {
    format!("hello {}, your plan is {:?}\n", tenant.id(), tenant.data::<Plan>())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let directory = CachedDirectory::new(find);
    let app = Router::new()
        .route("/hello", get(hello))
        .layer(TenantLayer::new(tenant::from_header("x-tenant-id")).directory(directory));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, with_peer_addr(app)).await
}
