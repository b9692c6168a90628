//! Notifications: every fiftieth request fails, by design.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

pub(super) fn app() -> Router {
    Router::new().route("/notifications/{user}", get(unread)).with_state(Arc::default())
}

async fn unread(State(asked): State<Arc<AtomicU64>>, Path(user): Path<String>) -> Response {
    if asked.fetch_add(1, Ordering::Relaxed) % 50 == 49 {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    Json(json!({ "unread": user.len(), "latest": "Your desk is on its way" })).into_response()
}
