//! Random origins, clocks and clients against a model that knows everything that was ever said.
//!
//! The model keeps all, and asks of each answer whether RFC 9111 lets any of it be that answer. It is written from the RFC
//! and shares nothing with `policy`; where it is not sure it allows. What a body says names whom and what it was made for.

mod drawn;
mod rules;
mod world;

use self::{
    drawn::{Mood, Visit, moods, visits},
    rules::{Asked, wrong},
    world::{World, ask},
};
use super::support::*;
use crate::cache::{CacheLayer, CachePolicy, ResponseCache};
use bartizan_store::Key;
use http::request::Parts;
use proptest::{prelude::*, sample::select};
use std::time::Duration;
use tokio::time::Instant;
use tower_layer::Layer;

async fn run(policy: CachePolicy, is_rfc: bool, moods: Vec<Mood>, steps: Vec<(u64, Vec<Visit>)>) -> Result<(), String> {
    let world = World::default();
    let tenant = |head: &Parts| Some(Key::new(head.headers.get("x-tenant")?.as_bytes()));
    let layer = CacheLayer::new(ResponseCache::new(1 << 20)).policy(policy).partition_by(tenant);
    let cache = layer.layer(world.origin(moods));
    let (born, mut number) = (Instant::now(), 0);
    for (wait, visits) in steps {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let mut all = Vec::new();
        for visit in visits {
            number += 1;
            let request = ask(&visit, number, born.elapsed());
            let (cache, begun) = (cache.clone(), Instant::now());
            all.push(tokio::spawn(async move {
                let (head, body) = request.into_parts();
                let answer = attempt(&cache, http::Request::from_parts(head.clone(), body)).await;
                (Asked { head, begun, done: Instant::now(), is_rfc }, answer)
            }));
        }
        for one in all {
            let (asked, answer) = one.await.unwrap();
            let made = world.0.lock().unwrap().clone();
            if let Some(why) = wrong(&made, &asked, &answer) {
                let same: Vec<_> = made.iter().filter(|made| made.request.uri == asked.head.uri).collect();
                return Err(format!("{why}: {:?}\n to {:?}\n of {same:#?}", answer, asked.head));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_one_that_the_rfc_forbids(
        moods in prop::collection::vec(moods(), 1..12),
        steps in prop::collection::vec((select(vec![0, 0, 1, 5, 12, 25, 60]), prop::collection::vec(visits(), 1..4)), 1..24),
        is_rfc in any::<bool>(),
    ) {
        let policy = if is_rfc { CachePolicy::rfc() } else { CachePolicy::new() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = runtime.block_on(run(policy, is_rfc, moods, steps));
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
