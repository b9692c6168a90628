//! The port on which one service's faults are switched, in JSON. It listens on this machine alone.
//!
//! - `GET /faults` tells what is wrong, how many requests came, and how many were harmed.
//! - `PUT /faults` with a [`Harm`], such as `{"latency_ms": 800, "for_ms": 15000}`, puts it in the place of all before.
//! - `DELETE /faults` heals.
//!
//! Each answers with the [`State`] that the service is in then. What makes no sense is a problem (RFC 9457), in a
//! sentence, and changes nothing.

use super::harm::Harm;
use crate::refuse::refuse;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State as Extract, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use bartizan::fault::Faults;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
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

pub(crate) fn admin(switch: Switch) -> Router {
    Router::new()
        .route("/faults", get(state).put(harm).delete(heal))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(switch)
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
