//! Recommendations: for each tenant others, and good for half a minute. Slow the way real services are. Most answers come in 60 ms, one in five takes more than 150, and
//! one in a hundred about a second.

use super::CACHE_TAG;
use axum::{
    Json, Router,
    extract::{Path, State},
    response::IntoResponse,
    routing::get,
};
use http::{HeaderMap, header};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) fn app() -> Router {
    Router::new().route("/for/{user}", get(recommended)).with_state(Arc::default())
}

async fn recommended(
    State(asked): State<Arc<AtomicU64>>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> impl IntoResponse {
    tokio::time::sleep(latency(asked.fetch_add(1, Ordering::Relaxed))).await;
    let tenant = headers.get("x-tenant-id").and_then(|tenant| tenant.to_str().ok()).unwrap_or("nobody");
    let because = format!("{user} has a desk, and so have others at {tenant}");
    let item = |sku: &str, title: &str| json!({ "sku": sku, "title": title, "because": because });
    let fields = [
        (header::CACHE_CONTROL, "max-age=30".to_owned()),
        (header::VARY, "x-tenant-id".to_owned()),
        (CACHE_TAG, format!("recommendations, user-{user}")),
    ];
    let told =
        Json(json!({ "model": "v7", "items": [item("c-1", "Chair"), item("l-2", "Lamp"), item("p-3", "Plant")] }));
    (fields, told)
}

/// The latency of the nth request: lognormal, with a median of 60 ms. The same on every run.
fn latency(nth: u64) -> Duration {
    // The sum of twelve uniform numbers is close to normal, with a variance of one.
    let normal: f64 = (0..12).map(|draw| uniform(nth * 12 + draw)).sum::<f64>() - 6.0;
    Duration::from_secs_f64(0.060 * (1.16 * normal).exp())
}

/// A number from 0 to 1: the nth of splitmix64.
fn uniform(nth: u64) -> f64 {
    let mut bits = nth.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::latency;
    use std::time::Duration;

    #[test]
    fn most_answers_are_quick_and_some_too_late() {
        let mut all: Vec<Duration> = (0..10_000).map(latency).collect();
        all.sort_unstable();
        let at = |share: usize| all[all.len() * share / 100].as_millis();
        assert!((50..70).contains(&at(50)), "{}", at(50));
        assert!(at(75) < 150 && at(82) > 150, "{} {}", at(75), at(82));
        assert!((600..1300).contains(&at(99)), "{}", at(99));
    }
}
