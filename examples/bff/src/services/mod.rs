//! The services behind the BFF. Each is a real server on a port of its own, with a switch for its faults on another.

mod notifications;
mod orders;
mod recommendations;
mod users;

use crate::{
    chaos::{Switch, admin},
    ports::Ports,
    purge,
};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use bartizan::{cache::ResponseCache, fault::FaultLayer};
use bartizan_gateway::{BindError, bind, serve};
use http::HeaderName;
use std::time::Duration;

/// What a response is purged by. It goes no further than the cache.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// Starts all of them, for as long as the program runs. By their admin ports they can purge what is stored of them in
/// `cache`.
pub(crate) async fn start(ports: &Ports, cache: &ResponseCache) -> Result<(), BindError> {
    let database = orders::Database::default();
    let apps = [
        ("users", users::app()),
        ("orders-a", orders::app(database.clone(), Duration::from_millis(5))),
        ("orders-b", orders::app(database, Duration::from_millis(40))),
        ("notifications", notifications::app()),
        ("recommendations", recommendations::app()),
    ];
    // All ports first: either everything runs, or nothing does.
    let mut bound = Vec::new();
    for (name, app) in apps {
        let switch = Switch::new(name);
        bound.push((bind(ports.service(name)).await?, fallible(app, &switch)));
        bound.push((bind(ports.admin(name)).await?, admin(switch, purge::router(cache.clone()))));
    }
    for (listener, app) in bound {
        tokio::spawn(serve(listener, app).run());
    }
    Ok(())
}

/// The same service, which can be made to fail.
fn fallible(app: Router, switch: &Switch) -> Router {
    app.layer(FaultLayer::new(switch.faults.clone())).layer(from_fn_with_state(switch.clone(), counted))
}

async fn counted(State(switch): State<Switch>, request: Request, next: Next) -> Response {
    switch.count(request.method());
    next.run(request).await
}
