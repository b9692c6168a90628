//! The requests that are sent, and the service that answers them.

use crate::cases::Peer;
use axum::{body::Body, extract::ConnectInfo};
use bartizan::PeerAddr;
use http::{HeaderValue, Request, Response, header};
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    net::{Ipv4Addr, SocketAddr},
    task::{Context, Poll},
};
use tower_service::Service;

/// How many clients there are. They send in turn.
pub(crate) const CLIENTS: usize = 1024;
/// How many tenants there are, called `tenant-00`, `tenant-01` and so on. They send in turn, too.
pub(crate) const TENANTS: usize = 64;

/// What the origin answers.
pub(crate) const ANSWER: &str = "{\"order\":42,\"state\":\"shipped\",\"items\":[1,2,3],\"total\":\"129.90\"}";

/// Requests as a browser behind a proxy sends them, one after the other.
#[derive(Debug)]
pub(crate) struct Requests {
    peers: Vec<SocketAddr>,
    tenants: Vec<HeaderValue>,
    peer: Peer,
    next: usize,
}

/// The innermost service: answers at once with three fields and 64 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin;

thread_local! {
    static RAN: Cell<u64> = const { Cell::new(0) };
}

// ===== impl Requests =====

impl Requests {
    /// Begins with the `first` client and tenant.
    pub(crate) fn new(peer: Peer, first: usize) -> Self {
        let peers = (0u8..4).flat_map(|high| (0u8..=255).map(move |low| Ipv4Addr::new(198, 51, 100 + high, low)));
        let tenants = tenant_names().map(|name| HeaderValue::try_from(name).expect("letters and digits"));
        Self {
            peers: peers.map(|ip| SocketAddr::from((ip, 50_000))).collect(),
            tenants: tenants.collect(),
            peer,
            next: first,
        }
    }

    pub(crate) fn next(&mut self) -> Request<Body> {
        let peer = self.peers[self.next % CLIENTS];
        let tenant = self.tenants[self.next % TENANTS].clone();
        self.next = self.next.wrapping_add(1);

        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static("/orders/42?expand=items");
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("shop.example"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:145.0)"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br"));
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("en, de;q=0.7"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));
        headers.insert("x-tenant-id", tenant);
        match self.peer {
            Peer::ConnectInfo => drop(request.extensions_mut().insert(ConnectInfo(peer))),
            Peer::PeerAddr => drop(request.extensions_mut().insert(PeerAddr(peer))),
        }
        request
    }
}

pub(crate) fn tenant_names() -> impl Iterator<Item = String> {
    (0..TENANTS).map(|tenant| format!("tenant-{tenant:02}"))
}

// ===== impl Origin =====

impl Origin {
    /// How often it ran on this thread.
    pub(crate) fn ran() -> u64 {
        RAN.get()
    }

    /// Counts one more, also of whoever stands in for it.
    pub(crate) fn runs() {
        RAN.set(RAN.get() + 1);
    }
}

/// It looks at no body, so a layer may make another one of it.
impl<B> Service<Request<B>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        Self::runs();
        let mut response = Response::new(Body::from(ANSWER));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=0"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        ready(Ok(response))
    }
}
