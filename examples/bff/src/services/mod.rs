//! The services behind the BFF. Each is a real server on a port of its own.

mod notifications;
mod orders;
mod recommendations;
mod users;

use crate::ports::Ports;
use axum::Router;
use bartizan_gateway::{bind, serve};
use std::time::Duration;

/// Starts all of them, for as long as the program runs.
pub(crate) async fn start(ports: &Ports) -> Result<(), String> {
    let apps = [
        ("users", users::app()),
        ("orders-a", orders::app(Duration::from_millis(5))),
        ("orders-b", orders::app(Duration::from_millis(40))),
        ("notifications", notifications::app()),
        ("recommendations", recommendations::app()),
    ];
    // All ports first: either everything runs, or nothing does.
    let mut bound: Vec<(_, Router)> = Vec::new();
    for (name, app) in apps {
        bound.push((bind(ports.service(name)).await.map_err(|error| ports.advise(&error))?, app));
    }
    for (listener, app) in bound {
        tokio::spawn(serve(listener, app).run());
    }
    Ok(())
}
