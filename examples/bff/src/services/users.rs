//! Users: fast, and sure of who exists. What is told of one is good for five seconds, and may be used for longer while it is
//! being asked for again, or while this service is down.

use super::CACHE_TAG;
use crate::refuse::refuse;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Serialize)]
struct User {
    id: String,
    number: u64,
    name: &'static str,
    plan: Plan,
    address: Address,
    /// For this service alone; the dashboards do not let it through.
    credit_score: u64,
}

#[derive(Serialize)]
struct Address {
    street: &'static str,
    city: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Plan {
    Free,
    Pro,
    Team,
}

/// A plan that somebody is to have from now on.
#[derive(Deserialize)]
struct Change {
    plan: Plan,
}

/// The plans that have been changed, by the numbers of the users.
#[derive(Clone, Default)]
struct Plans(Arc<Mutex<BTreeMap<u64, Plan>>>);

const CACHE_CONTROL: &str = "max-age=5, stale-while-revalidate=30, stale-if-error=300";

pub(super) fn app() -> Router {
    Router::new()
        .route("/users/{id}", get(user).put(change))
        .layer(DefaultBodyLimit::max(4096))
        .with_state(Plans::default())
}

async fn user(State(plans): State<Plans>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(number) = number(&id) else { return nobody(&headers) };
    let user = plans.user(id, number);
    let tag = format!("\"{}-{:?}\"", user.number, user.plan);
    let fields = [
        (header::CACHE_CONTROL, CACHE_CONTROL.to_owned()),
        (header::ETAG, tag.clone()),
        (CACHE_TAG, format!("user-{}", user.id)),
    ];
    match headers.get(header::IF_NONE_MATCH) {
        Some(theirs) if *theirs == tag => (StatusCode::NOT_MODIFIED, fields).into_response(),
        _ => (fields, Json(user)).into_response(),
    }
}

/// Somebody gets another plan. What is stored of the user elsewhere is as it was, until it is purged or its time is over.
async fn change(
    State(plans): State<Plans>,
    Path(id): Path<String>,
    headers: HeaderMap,
    change: Result<Json<Change>, JsonRejection>,
) -> Response {
    let Some(number) = number(&id) else { return nobody(&headers) };
    match change {
        Ok(Json(Change { plan })) => {
            plans.lock().insert(number, plan);
            Json(plans.user(id, number)).into_response()
        }
        Err(error) => refuse(&headers, error.status(), error.body_text()),
    }
}

/// The users are `u1` to `u9999`.
fn number(id: &str) -> Option<u64> {
    let number: u64 = id.strip_prefix('u')?.parse().ok()?;
    ((1..=9999).contains(&number) && id == format!("u{number}")).then_some(number)
}

fn nobody(headers: &HeaderMap) -> Response {
    refuse(headers, StatusCode::NOT_FOUND, "no user has this id: they are u1 to u9999")
}

// ===== impl Plans =====

impl Plans {
    fn user(&self, id: String, number: u64) -> User {
        const NAMES: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Donald"];
        const CITIES: [&str; 3] = ["London", "New York", "Rotterdam"];
        let pick = usize::try_from(number - 1).unwrap_or_default();
        let usual = if number.is_multiple_of(3) { Plan::Free } else { Plan::Pro };
        User {
            id,
            number: 12_345_677 + number,
            name: NAMES[pick % NAMES.len()],
            plan: self.lock().get(&number).copied().unwrap_or(usual),
            address: Address { street: "1 Analytical Row", city: CITIES[pick % CITIES.len()] },
            credit_score: 300 + number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
