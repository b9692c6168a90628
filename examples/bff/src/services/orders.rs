//! Orders: two replicas, of which one is slower, and a report that is too long to hold.

mod database;

pub(super) use self::database::Database;

use self::database::{KeyUsedOtherwise, Placed};
use crate::refuse::refuse;
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State, rejection::JsonRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, time::Duration};

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Order {
    id: u64,
    user: String,
    total_cents: u64,
    currency: &'static str,
    item: &'static str,
    /// For this service alone; the dashboards do not let it through, and who places an order is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_ref: Option<String>,
}

/// What can be bought, and its price in cents.
const ITEMS: [(&str, u64); 4] = [("lamp", 4_900), ("desk", 31_900), ("chair", 18_900), ("plant", 1_250)];

#[derive(Clone)]
struct Replica {
    database: Database,
    takes: Duration,
}

#[derive(Deserialize)]
struct Wanted {
    user: String,
    #[serde(default = "twenty")]
    limit: u64,
}

fn twenty() -> u64 {
    20
}

/// One replica; all of them have the one database.
pub(super) fn app(database: Database, takes: Duration) -> Router {
    Router::new()
        .route("/orders", get(orders).post(place).layer(DefaultBodyLimit::max(4096)))
        .route("/orders.json", get(report))
        .with_state(Replica { database, takes })
}

async fn orders(State(replica): State<Replica>, Query(wanted): Query<Wanted>) -> Json<Vec<Order>> {
    tokio::time::sleep(replica.takes).await;
    Json((1..=wanted.limit.min(25)).map(|number| order(number, &wanted.user)).collect())
}

fn order(number: u64, user: &str) -> Order {
    let (item, price) = ITEMS[usize::try_from(number % 4).unwrap_or_default()];
    Order {
        id: 9_000_000_000 + number,
        user: user.to_owned(),
        total_cents: price * (1 + number % 3),
        currency: "EUR",
        item,
        internal_ref: Some(format!("shard-{:02}/{number:08}", number % 16)),
    }
}

/// An order that somebody wants to place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Purchase {
    user: String,
    item: String,
}

/// Places an order. With an `Idempotency-Key`, whoever asks again is answered the same order again.
async fn place(
    State(replica): State<Replica>,
    headers: HeaderMap,
    purchase: Result<Json<Purchase>, JsonRejection>,
) -> Response {
    let refuse = |status, why: &str| refuse(&headers, status, why);
    let purchase = match purchase {
        Ok(Json(purchase)) => purchase,
        Err(error) => return refuse(error.status(), &error.body_text()),
    };
    let Some((item, price)) = ITEMS.into_iter().find(|(item, _)| *item == purchase.item) else {
        let items = ITEMS.map(|(item, _)| item).join(", ");
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &format!("there is no such item: there are {items}"));
    };
    let field = |name: &str| headers.get(name).map(|value| value.as_bytes().to_vec());
    // A key is its tenant's own.
    let key = field("idempotency-key").map(|key| (field("x-tenant-id").unwrap_or_default(), key));
    if key.as_ref().is_some_and(|(tenant, key)| key.is_empty() || key.len() > 200 || tenant.len() > 200) {
        return refuse(StatusCode::BAD_REQUEST, "an Idempotency-Key has 1 to 200 bytes");
    }
    let placed = replica.database.place(key, &purchase, item, price);
    // The order stands; who gives up now can't know.
    tokio::time::sleep(replica.takes).await;
    match placed {
        Ok(Placed { order, again }) => {
            let mut response = (StatusCode::CREATED, Json(order)).into_response();
            if again {
                response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            }
            response
        }
        Err(KeyUsedOtherwise) => {
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "this Idempotency-Key belongs to another order")
        }
    }
}

const IN_REPORT: u64 = 100_000;
const IN_CHUNK: u64 = 100;

/// A JSON array of 100 000 orders, written a hundred at a time, whenever the reader has taken those before.
async fn report() -> Response {
    let chunks = stream::iter(0..IN_REPORT / IN_CHUNK).then(async |chunk| {
        // A reader that is never slow would have this thread for itself.
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(report_chunk(chunk))
    });
    let body = Body::from_stream(chunks);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn report_chunk(chunk: u64) -> Bytes {
    let mut text = Vec::with_capacity(16 * 1024);
    for number in chunk * IN_CHUNK + 1..=(chunk + 1) * IN_CHUNK {
        text.extend_from_slice(if number == 1 { b"[\n" } else { b",\n" });
        // A `Vec` takes every write, and an order has no keys that are not strings.
        let _ = serde_json::to_writer(&mut text, &order(number, &format!("u{}", 1 + number % 999)));
    }
    if chunk + 1 == IN_REPORT / IN_CHUNK {
        text.extend_from_slice(b"\n]\n");
    }
    text.into()
}
