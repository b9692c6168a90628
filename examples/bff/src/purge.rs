//! `bff purge`: takes back what the BFF has stored, by tag.
//!
//! The ports on which faults are switched have it, too: `POST /purge` with `{"tag": "user-u1"}`, for one tenant or for all.
//! So a service can say that something has changed without being asked for it. `GET /cache` tells what the cache has done.

use crate::{chaos::Remote, ports::Ports, refuse::refuse, say, stack::TENANTS};
use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bartizan::cache::{Key, Purge, ResponseCache};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::error::Error;

/// What is to be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) tag: String,
    /// Whose; everybody's, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

/// What has been taken back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) tag: String,
    pub(crate) tenants: Vec<String>,
}

/// Does it, and says so.
pub(crate) async fn run(wanted: &Wanted, ports: &Ports) -> Result<(), Box<dyn Error>> {
    let Done { tag, tenants } = Remote::new(*ports).purge(wanted).await?;
    say(&format!("What has the tag {tag} is fetched anew for {}.", tenants.join(" and ")));
    Ok(())
}

pub(crate) fn router(cache: ResponseCache) -> Router {
    Router::new().route("/purge", post(purge)).route("/cache", get(statistics)).with_state(cache)
}

async fn purge(
    State(cache): State<ResponseCache>,
    headers: HeaderMap,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Response {
    let Wanted { tag, tenant } = match wanted {
        Ok(Json(wanted)) => wanted,
        Err(error) => return refuse(&headers, error.status(), error.body_text()),
    };
    if tag.is_empty() {
        return refuse(&headers, StatusCode::BAD_REQUEST, "a tag has a name, such as user-u1");
    }
    let mut tenants = TENANTS.map(str::to_owned).to_vec();
    if let Some(tenant) = tenant {
        tenants.retain(|known| *known == tenant);
        if tenants.is_empty() {
            return refuse(&headers, StatusCode::BAD_REQUEST, format!("nobody knows the tenant {tenant:?}"));
        }
    }
    // A tag is one of its tenant: what is stored for one is not found by the tags of another.
    for tenant in &tenants {
        cache.purge(&Purge::tag(&*tag).partition(Key::new(tenant)));
    }
    Json(Done { tag, tenants }).into_response()
}

async fn statistics(State(cache): State<ResponseCache>) -> Json<Value> {
    let told = cache.statistics();
    Json(json!({
        "hits": told.hits, "stale": told.stale, "revalidated": told.revalidated, "collapsed": told.collapsed,
        "misses": told.misses, "bypassed": told.bypassed, "entries": told.entries, "bytes": told.bytes,
    }))
}
