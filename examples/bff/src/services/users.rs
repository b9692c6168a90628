//! Users: fast, and sure of who exists.

use crate::refuse::refuse;
use axum::{
    Json, Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

#[derive(Serialize)]
struct User {
    id: String,
    number: u64,
    name: &'static str,
    plan: &'static str,
    address: Address,
    /// For this service alone; the dashboards do not let it through.
    credit_score: u64,
}

#[derive(Serialize)]
struct Address {
    street: &'static str,
    city: &'static str,
}

pub(super) fn app() -> Router {
    Router::new().route("/users/{id}", get(user))
}

/// The users are `u1` to `u999`.
async fn user(Path(id): Path<String>, headers: HeaderMap) -> Response {
    let number: Option<u64> = id.strip_prefix('u').and_then(|number| number.parse().ok());
    let Some(number) = number.filter(|number| (1..=999).contains(number) && id == format!("u{number}")) else {
        return refuse(&headers, StatusCode::NOT_FOUND, "no user has this id: they are u1 to u999");
    };
    const NAMES: [&str; 5] = ["Ada", "Grace", "Edsger", "Barbara", "Donald"];
    const CITIES: [&str; 3] = ["London", "New York", "Rotterdam"];
    let pick = usize::try_from(number - 1).unwrap_or_default();
    let user = User {
        id,
        number: 12_345_677 + number,
        name: NAMES[pick % NAMES.len()],
        plan: if number.is_multiple_of(3) { "free" } else { "pro" },
        address: Address { street: "1 Analytical Row", city: CITIES[pick % CITIES.len()] },
        credit_score: 300 + number,
    };
    Json(user).into_response()
}
