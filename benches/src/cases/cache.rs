//! Caches: ours, others', and none.

mod page;

use self::page::{Conditional, Many, OnlyIfCached, Page};
use super::{Terms, unknown};
use crate::{
    fixture::{Origin, Requests},
    run::{Post, Run, runtime, send},
};
use axum_response_cache::CacheLayer as AxumResponseCache;
use bartizan::cache::{CacheLayer, Purge, ResponseCache};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use http_cache::MokaManager;
use http_cache_tower_server::ServerCacheLayer;
use std::time::Duration;
use tower::{Layer, util::MapResponseLayer};
use tower_resilience_cache::CacheLayer as ResilienceCache;

/// `what-by`: what is asked for, and who is asked.
pub(super) fn run(name: &str, run: impl Run) -> Result<String, String> {
    let (what, by) = name.rsplit_once('-').ok_or_else(|| unknown(name))?;
    let page = match what {
        "64k" => Page::large(),
        "vary" => Page::varying(),
        _ => Page::small(),
    };
    let from_origin = Terms { body: Some(page.body), ..Terms::OURS };
    let hit = from_origin.answered_before_origin(StatusCode::OK, Some(page.body));
    let cache = ResponseCache::new(64 << 20);
    let ours = CacheLayer::new(cache.clone());
    let refused = Terms::OURS.answered_before_origin(StatusCode::GATEWAY_TIMEOUT, None).with(&["cache-status"]);
    let hit_of_ours = hit.with(&["age", "cache-status", "date"]);
    match (what, by) {
        ("64" | "64k" | "vary", "none") => run.run(from_origin, page),
        ("64" | "64k" | "vary", "ours") => run.run(hit_of_ours, ours.layer(page)),
        // Nobody but ours answers a condition.
        ("304", "none") => run.run(from_origin, Conditional(page)),
        ("304", "ours") => {
            let hit = hit_of_ours.answered_before_origin(StatusCode::NOT_MODIFIED, Some(b""));
            run.run(hit, Conditional(ours.layer(page)))
        }
        // They all answer 504 and ask nobody; "none" has not looked, so the others take more by a look-up.
        ("lookup", "none") => run.run(refused, OnlyIfCached::not_looked_for(ours.layer(page))),
        ("lookup-many", "none") => run.run(refused, OnlyIfCached::not_looked_for(Many::of(ours.layer(page)))),
        ("lookup", "ours") => run.run(refused, OnlyIfCached::looked_for(ours.layer(page))),
        ("lookup" | "lookup-many", "gone") => {
            let many = Many::of(ours.layer(page));
            runtime().block_on(send(&many, &mut Requests::new(refused.peer, 0), 2048));
            cache.purge(&Purge::everything());
            match what {
                "lookup" => run.run(refused, OnlyIfCached::looked_for(many.into_inner())),
                _ => run.run(refused, OnlyIfCached::looked_for(many)),
            }
        }
        ("miss", "ours") => run.run(Terms::OURS.with(&["cache-status"]), ours.layer(Origin)),
        ("post", "ours") => run.run(Terms::OURS.with(&["cache-status"]), Post(ours.layer(Origin))),

        // It calls the origin each time, and drops the future.
        ("64" | "64k", "axum") => run.run(from_origin, AxumResponseCache::with_lifespan(HOUR).layer(page)),
        // It reads a stored body from JSON, number by number. 64 KiB take it half a millisecond, too long to be counted.
        ("64" | "64k" | "vary", "server") => run.run(hit, ServerCacheLayer::new(MokaManager::default()).layer(page)),
        ("miss", "server") => run.run(Terms::OK, ServerCacheLayer::new(MokaManager::default()).layer(Origin)),
        ("64" | "64k", "resilience") => {
            let cache = ResilienceCache::builder().ttl(HOUR).key_extractor(path_and_query).build();
            // It asks for responses that are `Clone`. Those of axum are not.
            let clonable = MapResponseLayer::new(move |response: Response<_>| {
                response.map(|_| Full::new(Bytes::from_static(page.body)))
            });
            run.run(hit, cache.map_err(|error| error.to_string())?.layer(clonable.layer(page)))
        }
        _ => Err(unknown(name)),
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn path_and_query<B>(request: &Request<B>) -> String {
    request.uri().to_string()
}
