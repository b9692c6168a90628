//! A second tier that is lost is as none at all.

use super::support::*;
use crate::cache::{CacheKey, CacheLayer, KeyValue, Purge, ResponseCache};
use bartizan_store::{Key, Unavailable};
use bytes::Bytes;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tower_layer::Layer;

/// Fails at once, or never answers.
#[derive(Clone)]
struct Lost {
    is_stuck: bool,
    asked: Arc<AtomicUsize>,
}

impl Lost {
    async fn fails<T>(&self) -> Result<T, Unavailable> {
        self.asked.fetch_add(1, SeqCst);
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        Err(Unavailable::new("lost"))
    }
}

impl KeyValue for Lost {
    async fn get(&self, _: &Key) -> Result<Option<Bytes>, Unavailable> {
        self.fails().await
    }

    async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Unavailable> {
        self.fails().await
    }

    async fn remove(&self, _: &Key) -> Result<(), Unavailable> {
        self.fails().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_second_tier_makes_no_request_fail_and_no_hit_wait() {
    for is_stuck in [false, true] {
        let store = Lost { is_stuck, asked: Arc::default() };
        let layer = CacheLayer::new(ResponseCache::new(1 << 20).second_tier(store.clone()));
        let cache = layer.layer(Origin::new(|_, nth| fresh(60).with("cache-tag", "t").body(&nth.to_string())));
        let begun = tokio::time::Instant::now();
        for nth in 0..20 {
            assert_eq!(send(&cache, get(&format!("/{nth}"))).await.text(), nth.to_string());
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "it is left alone after a while");
        let asked = store.asked.load(SeqCst);
        let begun = tokio::time::Instant::now();
        for nth in 0..20 {
            assert!(send(&cache, get(&format!("/{nth}"))).await.is_hit());
        }
        assert_eq!((begun.elapsed(), store.asked.load(SeqCst)), (Duration::ZERO, asked), "a hit asks nobody");
        // What is purged is purged here.
        let first = CacheKey::url("http://a.example/0").unwrap();
        for purge in [Purge::url(first), Purge::tag("t"), Purge::everything()] {
            cache_of(&layer).purge(&purge);
            assert!(!send(&cache, get("/0")).await.is_hit(), "{purge:?}");
            assert!(send(&cache, get("/0")).await.is_hit());
        }
    }
}
