//! Orders: two replicas, of which one is slower, and a report that is too long to hold.

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, time::Duration};

#[derive(Serialize)]
struct Order {
    id: u64,
    user: String,
    total_cents: u64,
    currency: &'static str,
    item: &'static str,
    /// For this service alone; the dashboards do not let it through.
    internal_ref: String,
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

pub(super) fn app(takes: Duration) -> Router {
    Router::new().route("/orders", get(orders)).route("/orders.json", get(report)).with_state(takes)
}

async fn orders(State(takes): State<Duration>, Query(wanted): Query<Wanted>) -> Json<Vec<Order>> {
    tokio::time::sleep(takes).await;
    Json((1..=wanted.limit.min(25)).map(|number| order(number, &wanted.user)).collect())
}

fn order(number: u64, user: &str) -> Order {
    const ITEMS: [(&str, u64); 4] = [("lamp", 4_900), ("desk", 31_900), ("chair", 18_900), ("plant", 1_250)];
    let (item, price) = ITEMS[usize::try_from(number % 4).unwrap_or_default()];
    Order {
        id: 9_000_000_000 + number,
        user: user.to_owned(),
        total_cents: price * (1 + number % 3),
        currency: "EUR",
        item,
        internal_ref: format!("shard-{:02}/{number:08}", number % 16),
    }
}

const IN_REPORT: u64 = 100_000;
const IN_CHUNK: u64 = 100;

/// A JSON array of 100 000 orders, written a hundred at a time, whenever the reader has taken those before.
async fn report() -> Response {
    let chunks = (0..IN_REPORT / IN_CHUNK).map(|chunk| Ok::<_, Infallible>(report_chunk(chunk)));
    let body = Body::from_stream(stream::iter(chunks));
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
