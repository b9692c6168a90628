//! The port on which one service's faults are switched, in JSON. It listens on this machine alone.
//!
//! - `GET /faults` tells what is wrong, how many requests came, and how many were harmed.
//! - `PUT /faults` with a [`Harm`], such as `{"latency_ms": 800, "for_ms": 15000}`, puts it in the place of all before.
//! - `DELETE /faults` heals.
//!
//! Whoever names another host than this machine is refused: a page of a stranger, whose name leads here by now, is not to
//! switch anything.
//!
//! Each answers with the [`State`] that the service is in then. What makes no sense is a problem (RFC 9457), in a
//! sentence, and changes nothing.

use super::harm::Harm;
use crate::refuse::refuse;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State as Extract, rejection::JsonRejection},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use bartizan::fault::Faults;
use http::{HeaderMap, Method, StatusCode, header, uri::Authority};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How a service is, for whoever switches its faults. Its clones are the same switch.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    service: &'static str,
    pub(crate) faults: Faults,
    received: Arc<Received>,
}

#[derive(Debug, Default)]
struct Received {
    get: AtomicU64,
    post: AtomicU64,
    other: AtomicU64,
}

/// What the port tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) service: String,
    /// How many requests came so far, harmed ones among them, by their method: `GET`, `POST` and `other`.
    pub(crate) received: BTreeMap<String, u64>,
    pub(crate) harmed: u64,
    pub(crate) faults: Vec<Wrong>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wrong {
    pub(crate) what: String,
    /// `null`: when it is healed.
    pub(crate) heals_in_ms: Option<u64>,
}

/// The port, on which there is `more` than faults.
pub(crate) fn admin(switch: Switch, more: Router) -> Router {
    Router::new()
        .route("/faults", get(state).put(harm).delete(heal))
        .with_state(switch)
        .merge(more)
        .layer(DefaultBodyLimit::max(4096))
        .layer(from_fn(from_here))
}

async fn from_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let target = request.uri().authority();
    if !host.as_ref().is_some_and(is_here) || !target.is_none_or(is_here) {
        let why = "this port is for this machine, by the name of localhost or its address";
        return refuse(request.headers(), StatusCode::FORBIDDEN, why);
    }
    next.run(request).await
}

/// Whether it names this machine in words that lead nowhere else, whatever a name server says.
fn is_here(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

async fn state(Extract(switch): Extract<Switch>) -> Json<State> {
    Json(switch.state())
}

async fn harm(
    Extract(switch): Extract<Switch>,
    headers: HeaderMap,
    harm: Result<Json<Harm>, JsonRejection>,
) -> Response {
    let harm = match harm {
        Ok(Json(harm)) => harm,
        Err(error) => return refuse(&headers, error.status(), error.body_text()),
    };
    match harm.faults() {
        Ok(faults) => switch.faults.inject(faults),
        Err(why) => return refuse(&headers, StatusCode::BAD_REQUEST, why),
    }
    Json(switch.state()).into_response()
}

async fn heal(Extract(switch): Extract<Switch>) -> Json<State> {
    switch.faults.heal();
    Json(switch.state())
}

// ===== impl Switch =====

impl Switch {
    /// Off, for the service of this name.
    pub(crate) fn new(service: &'static str) -> Self {
        // The seed makes a demo that is shown twice the same demo.
        Self { service, faults: Faults::new().at_most(1.0).seed(7), received: Arc::default() }
    }

    /// Another request has come.
    pub(crate) fn count(&self, method: &Method) {
        let count = match *method {
            Method::GET => &self.received.get,
            Method::POST => &self.received.post,
            _ => &self.received.other,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self) -> State {
        let Received { get, post, other } = &*self.received;
        let received = [("GET", get), ("POST", post), ("other", other)];
        let faults = self.faults.active().into_iter().map(|(fault, heals_in)| Wrong {
            what: fault.to_string(),
            heals_in_ms: heals_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        });
        State {
            service: self.service.to_owned(),
            received: received.map(|(method, count)| (method.to_owned(), count.load(Ordering::Relaxed))).into(),
            harmed: self.faults.harmed(),
            faults: faults.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    #[tokio::test]
    async fn nobody_is_obeyed_who_names_another_machine() {
        let switch = Switch::new("users");
        let put = async |uri: &str, host: Option<&str>| {
            let mut request = Request::put(uri).header("content-type", "application/json");
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let request = request.body(Body::from(r#"{"error_rate": 1.0}"#)).unwrap();
            admin(switch.clone(), Router::new()).oneshot(request).await.unwrap().status()
        };
        let strangers =
            ["evil.example", "evil.example:7111", "localhost.evil.example", "192.0.2.1:7111", "", "a b", "[::2]"];
        for host in strangers.map(Some).into_iter().chain([None]) {
            assert_eq!(put("/faults", host).await, StatusCode::FORBIDDEN, "{host:?}");
        }
        assert_eq!(put("http://evil.example/faults", Some("localhost")).await, StatusCode::FORBIDDEN);
        assert!(switch.state().faults.is_empty());
        for host in ["localhost", "LocalHost:7111", "127.0.0.1:7111", "127.0.0.2", "[::1]:7111"] {
            assert_eq!(put("/faults", Some(host)).await, StatusCode::OK, "{host}");
        }
        assert_eq!(switch.state().faults.len(), 1);
    }
}
