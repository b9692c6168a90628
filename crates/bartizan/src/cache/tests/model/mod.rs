//! Random origins, clocks and clients against a model that knows everything that was ever said.
//!
//! The model keeps all, and asks of each answer whether RFC 9111 lets any of it be that answer. It is written from the RFC
//! and shares nothing with `policy`; where it is not sure it allows. What a body says names whom and what it was made for.

mod drawn;
mod rules;
mod world;

use self::{
    drawn::{Deed, Mood, Step, Visit, What, moods, steps},
    rules::{Asked, wrong},
    world::{Taken, World, ask},
};
use super::support::*;
use crate::{
    cache::{Abandoned, CacheKey, CacheLayer, CachePolicy, Purge, ResponseCache, tier::tests::Shared},
    shared::wall_follows,
};
use bartizan_store::{Key, Memory};
use http::request::Parts;
use proptest::{prelude::*, sample::select};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower_layer::Layer;

/// How the cache is run.
#[derive(Clone, Debug)]
struct Run {
    is_rfc: bool,
    abandoned: Abandoned,
    /// Whether there is a second tier, which outlives the process.
    has_tier: bool,
}

/// The cache, and whoever is there.
struct Scene {
    run: Run,
    origin: Origin,
    store: Shared,
    layer: CacheLayer,
    world: World,
    taken: Vec<Taken>,
    all: Vec<JoinHandle<(Asked, Option<Result<Answer, Broken>>)>>,
}

impl Scene {
    fn new(run: Run, moods: Vec<Mood>) -> Self {
        let world = World::default();
        let (origin, store) = (world.origin(moods), Shared(Arc::new(Memory::new())));
        let layer = layer(&run, &store);
        Self { run, origin, store, layer, world, taken: Vec::new(), all: Vec::new() }
    }

    fn comes(&mut self, visit: &Visit, number: usize, at: Duration) {
        let request = ask(visit, number, at, self.taken.len());
        let (cache, begun) = (self.layer.layer(self.origin.clone()), Instant::now());
        let (is_rfc, taken) = (self.run.is_rfc, self.taken.clone());
        let leaves = visit.leaves.map_or(Duration::MAX, Duration::from_secs);
        self.all.push(tokio::spawn(async move {
            let (head, body) = request.into_parts();
            let answer = timeout(leaves, attempt(&cache, http::Request::from_parts(head.clone(), body))).await.ok();
            (Asked { head, begun, done: Instant::now(), is_rfc, taken }, answer)
        }));
    }

    /// Nothing else happens at the same time, so that there is a before and an after.
    async fn purge(&mut self, what: What, is_soft: bool) {
        sleep(Duration::from_millis(1)).await;
        let purge = match (what.by_tag, what.tenant) {
            (true, "") => Purge::tag_everywhere(what.path),
            (true, tenant) => Purge::tag(what.path).partition(Key::new(tenant)),
            (false, tenant) => {
                let url = CacheKey::url(&format!("http://a.example{}", what.path)).unwrap();
                Purge::url(url).partition(Key::new(tenant))
            }
        };
        // What is new is there before what is old is taken back.
        self.world.purges.fetch_add(1, SeqCst);
        cache_of(&self.layer).purge(&if is_soft { purge.softly() } else { purge });
        self.taken.push(Taken { at: Instant::now(), what, is_soft });
        sleep(Duration::from_millis(1)).await;
    }

    /// All get their answers, and each of them may be one.
    async fn ends(&mut self) -> Result<(), String> {
        for one in self.all.drain(..) {
            let (asked, answer) = one.await.unwrap();
            let Some(answer) = answer else { continue };
            let made = self.world.made.lock().unwrap().clone();
            if let Some(why) = wrong(&made, &asked, &answer) {
                let same: Vec<_> = made.iter().filter(|made| made.request.uri == asked.head.uri).collect();
                let (head, taken) = (&asked.head, &asked.taken);
                return Err(format!("{why}: {answer:?}\n to {head:?}\n of {same:#?}\n without {taken:?}"));
            }
        }
        Ok(())
    }

    /// What is written for the next process is written.
    fn restart(&mut self) {
        self.layer = layer(&self.run, &self.store);
    }
}

fn layer(run: &Run, store: &Shared) -> CacheLayer {
    let tenant = |head: &Parts| Some(Key::new(head.headers.get("x-tenant")?.as_bytes()));
    let policy = if run.is_rfc { CachePolicy::rfc() } else { CachePolicy::new() };
    let cache = ResponseCache::new(1 << 20);
    let cache = if run.has_tier { cache.second_tier(store.clone()) } else { cache };
    CacheLayer::new(cache).policy(policy).partition_by(tenant).abandoned(run.abandoned)
}

async fn play(run: Run, moods: Vec<Mood>, steps: Vec<Step>) -> Result<(), String> {
    let _follows = wall_follows();
    let mut scene = Scene::new(run, moods);
    let (born, mut number) = (Instant::now(), 0);
    for step in steps {
        sleep(Duration::from_secs(step.wait)).await;
        for visit in &step.visits {
            number += 1;
            scene.comes(visit, number, born.elapsed());
        }
        settle().await;
        match step.deed {
            Deed::Nothing => {}
            Deed::Purge { what, is_soft } => {
                sleep(Duration::from_secs(step.lag)).await;
                scene.purge(what, is_soft).await;
            }
            Deed::Restart => {
                scene.ends().await?;
                settle().await;
                scene.restart();
            }
        }
        if step.ends {
            scene.ends().await?;
        }
    }
    scene.ends().await
}

fn is_right(run: Run, moods: Vec<Mood>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let outcome = runtime.block_on(play(run, moods, steps));
    prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    Ok(())
}

fn abandoned() -> impl Strategy<Value = Abandoned> {
    select(vec![Abandoned::Finish, Abandoned::Drop])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_one_that_the_rfc_forbids(
        moods in prop::collection::vec(moods(), 1..12),
        steps in steps(),
        is_rfc in any::<bool>(),
        abandoned in abandoned(),
    ) {
        is_right(Run { is_rfc, abandoned, has_tier: false }, moods, steps)?;
    }

    #[test]
    fn no_answer_that_a_second_tier_brings_is_one_that_the_rfc_forbids(
        moods in prop::collection::vec(moods(), 1..12),
        steps in steps(),
        is_rfc in any::<bool>(),
        abandoned in abandoned(),
    ) {
        is_right(Run { is_rfc, abandoned, has_tier: true }, moods, steps)?;
    }
}
