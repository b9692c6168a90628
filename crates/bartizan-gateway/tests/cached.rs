//! A cache between a gateway and a service: per tenant, and told of in the answer.

mod support;

use axum::{
    Router,
    body::Body,
    routing::{get as on_get, get_service},
};
use bartizan::{
    cache::{CacheLayer, KeyRules, ResponseCache},
    tenant::{self, Tenant, TenantLayer},
};
use bartizan_gateway::{Aggregate, Proxy, Source, client};
use http::{Request, StatusCode};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use support::*;
use tower::Layer;

/// A service whose answers are fresh for a second and are used for longer when it is down, which it is from its third on.
async fn fails_after_two(asked: Arc<AtomicU32>) -> SocketAddr {
    let answer = move || {
        let nth = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            match nth {
                0 | 1 => Ok(([("cache-control", "max-age=1")], format!(r#"{{"nth":{nth}}}"#))),
                _ => Err(StatusCode::SERVICE_UNAVAILABLE),
            }
        }
    };
    service(Router::new().route("/{user}", on_get(answer))).await
}

/// The same service by an aggregate and by a proxy, with or without word of whose request it is.
fn gateway(behind: SocketAddr, carries: bool) -> Router {
    // A proxy says by which scheme it was asked, an aggregate does not: here it makes no difference.
    let keys = KeyRules::new().without_forwarded_proto();
    let cache = CacheLayer::new(ResponseCache::new(1 << 20)).keys(keys).partition_by(Tenant::key);
    let cached = cache.layer(client());
    let source = Source::get("user", format!("http://{behind}/{{user}}")).required();
    let aggregate = Aggregate::new(cached.clone(), [source]).expect("a source");
    let proxy = Proxy::new(cached, &format!("http://{behind}")).expect("a URL");
    let (aggregate, proxy) = match carries {
        true => (aggregate.carry::<Tenant>(), proxy.carry::<Tenant>()),
        false => (aggregate, proxy),
    };
    Router::new().route("/web/{user}", get_service(aggregate)).nest_service("/users", get_service(proxy))
}

fn for_tenants(app: Router) -> Router {
    app.layer(TenantLayer::new(tenant::from_header("x-tenant-id")))
}

async fn ask(gateway: SocketAddr, path: &str, tenant: &str) -> Answer {
    let request = Request::get(format!("http://{gateway}{path}")).header("x-tenant-id", tenant);
    send(request.body(Body::empty()).expect("a request")).await
}

#[tokio::test]
async fn tenants_share_nothing_and_each_answer_says_how_it_was_come_by() {
    let asked = Arc::new(AtomicU32::new(0));
    let gateway = service(for_tenants(gateway(fails_after_two(Arc::clone(&asked)).await, true))).await;

    let cached = |answer: &Answer| answer.json()["_meta"]["sources"]["user"]["cache"].clone();
    assert_eq!(cached(&ask(gateway, "/web/u1", "acme").await), "miss");
    assert_eq!(cached(&ask(gateway, "/web/u1", "acme").await), "hit");
    let by_proxy = ask(gateway, "/users/u1", "acme").await;
    assert_eq!(by_proxy.headers["cache-status"], "bartizan; hit; ttl=0");
    assert_eq!(ask(gateway, "/users/u1", "globex").await.json()["nth"], 1);
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    tokio::time::sleep(Duration::from_millis(1100)).await; // real time: a service on a socket is asked
    let stale = ask(gateway, "/web/u1", "acme").await;
    assert_eq!(
        (stale.status, cached(&stale), stale.json()["user"]["nth"].as_u64()),
        (StatusCode::OK, "stale".into(), Some(0))
    );
    let by_proxy = ask(gateway, "/users/u1", "globex").await;
    assert_eq!(by_proxy.headers["cache-status"], "bartizan; fwd=stale; fwd-status=503; ttl=-1");
}

#[tokio::test]
async fn without_word_of_the_tenant_nothing_is_stored_whatever_a_stranger_writes() {
    let asked = Arc::new(AtomicU32::new(0));
    let behind = fails_after_two(Arc::clone(&asked)).await;
    let not_carried = service(for_tenants(gateway(behind, false))).await;
    let not_checked = service(gateway(behind, true)).await;
    for gateway in [not_carried, not_checked] {
        let answer = ask(gateway, "/users/u1", "acme").await;
        assert_eq!(answer.headers["cache-status"], "bartizan; fwd=bypass; detail=no-key");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}
