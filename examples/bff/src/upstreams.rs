//! Where the services are: by name, with the replicas of one taking turns.

use crate::ports::Ports;
use axum::body::Body;
use bartizan_gateway::{Client, client};
use http::{Request, uri::Authority};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};
use tower::Service;

/// The client of the BFF: `http://orders/…` goes to one replica of the orders and then to the other.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams {
    client: Client,
    replicas: Arc<HashMap<&'static str, Replicas>>,
}

#[derive(Debug)]
struct Replicas {
    authorities: Vec<Authority>,
    turn: AtomicUsize,
}

// ===== impl Upstreams =====

impl Upstreams {
    pub(crate) fn new(ports: &Ports) -> Self {
        let replicas = |names: &[&str]| Replicas {
            authorities: names.iter().filter_map(|name| ports.service(name).to_string().parse().ok()).collect(),
            turn: AtomicUsize::new(0),
        };
        let services = [
            ("users", replicas(&["users"])),
            ("orders", replicas(&["orders-a", "orders-b"])),
            ("notifications", replicas(&["notifications"])),
            ("recommendations", replicas(&["recommendations"])),
        ];
        Self { client: client(), replicas: Arc::new(services.into()) }
    }
}

impl Service<Request<Body>> for Upstreams {
    type Response = <Client as Service<Request<Body>>>::Response;
    type Error = <Client as Service<Request<Body>>>::Error;
    type Future = <Client as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.client, cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let replicas = request.uri().host().and_then(|name| self.replicas.get(name));
        if let Some(authority) = replicas.and_then(Replicas::next) {
            let mut parts = request.uri().clone().into_parts();
            parts.authority = Some(authority);
            if let Ok(uri) = parts.try_into() {
                *request.uri_mut() = uri;
            }
        }
        self.client.call(request)
    }
}

// ===== impl Replicas =====

impl Replicas {
    fn next(&self) -> Option<Authority> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.authorities.get(turn % self.authorities.len().max(1)).cloned()
    }
}
