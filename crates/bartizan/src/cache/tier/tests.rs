use super::*;
use crate::cache::{
    Purge,
    entry::{Content, Entry, Resource},
    memory::tests::{entry, terms},
};
use bartizan_store::Memory;
use http::header;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

const AGES: Duration = Duration::from_secs(1 << 20);

#[derive(Clone)]
pub(in crate::cache) struct Shared(pub(in crate::cache) Arc<Memory>);

impl KeyValue for Shared {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Unavailable> {
        KeyValue::get(&*self.0, key).await
    }

    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Unavailable> {
        KeyValue::set(&*self.0, key, value, ttl).await
    }

    async fn remove(&self, key: &Key) -> Result<(), Unavailable> {
        KeyValue::remove(&*self.0, key).await
    }
}

/// Never answers.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicU32>);

impl KeyValue for Stuck {
    async fn get(&self, _: &Key) -> Result<Option<Bytes>, Unavailable> {
        self.0.fetch_add(1, SeqCst);
        std::future::pending().await
    }

    async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Unavailable> {
        std::future::pending().await
    }

    async fn remove(&self, _: &Key) -> Result<(), Unavailable> {
        std::future::pending().await
    }
}

/// Writes nothing, and knows what was removed.
#[derive(Clone, Default)]
struct Slow(Arc<std::sync::Mutex<Vec<Key>>>);

impl KeyValue for Slow {
    async fn get(&self, _: &Key) -> Result<Option<Bytes>, Unavailable> {
        Ok(None)
    }

    async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Unavailable> {
        std::future::pending().await
    }

    async fn remove(&self, key: &Key) -> Result<(), Unavailable> {
        self.0.lock().unwrap().push(*key);
        Ok(())
    }
}

fn key() -> CacheKey {
    CacheKey::url("http://a/").unwrap()
}

fn german(names: &[HeaderName]) -> Option<Selecting> {
    let fields: Vec<_> = names.iter().map(|name| (name.clone(), "de")).collect();
    Some(Selecting::literally(&fields))
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn two() -> (ResponseCache, ResponseCache) {
    let store = Shared(Arc::new(Memory::new()));
    let cache = || ResponseCache::new(1 << 20).second_tier(store.clone());
    (cache(), cache())
}

#[tokio::test]
async fn what_one_process_has_stored_another_finds() {
    let (a, b) = two();
    assert!(a.put(&key(), entry("de", "1"), a.ticket(), AGES).is_ok());
    assert!(a.put(&key(), entry("en", "2"), a.ticket(), AGES).is_ok());
    settle().await;
    assert!(b.get(&key(), Instant::now()).is_none());
    assert!(b.fetch(&key(), german).await);
    let resource = b.get(&key(), Instant::now()).unwrap();
    assert!(matches!(&resource.entries[..], [only] if matches!(&only.content, Content::Whole(body) if body == "1")));
    assert!(!b.fetch(&CacheKey::url("http://b/").unwrap(), german).await);
}

#[tokio::test]
async fn what_is_there_already_is_not_replaced_by_what_is_older() {
    let (a, b) = two();
    a.put(&key(), entry("de", "old"), a.ticket(), AGES).unwrap();
    settle().await;
    b.put(
        &key(),
        Entry { selecting: german(&[header::ACCEPT_LANGUAGE]).unwrap(), ..entry("de", "new") },
        b.ticket(),
        AGES,
    )
    .unwrap();
    assert!(!b.fetch(&key(), german).await);
    let resource = b.get(&key(), Instant::now()).unwrap();
    assert!(matches!(&resource.entries[0].content, Content::Whole(body) if body == "new"));
}

#[tokio::test]
async fn a_purge_reaches_the_second_tier() {
    for purge in [Purge::url(key()), Purge::tag("t"), Purge::prefix(key()), Purge::everything().softly()] {
        let (a, b) = two();
        a.put(&key(), entry("de", "1"), a.ticket(), AGES).unwrap();
        settle().await;
        a.purge(&purge);
        a.remove(&key());
        settle().await;
        assert!(!a.fetch(&key(), german).await && !b.fetch(&key(), german).await, "{purge:?}");
    }
}

#[tokio::test]
async fn a_purge_holds_here_before_it_has_reached_the_second_tier() {
    let (a, _) = two();
    a.put(&key(), entry("de", "1"), a.ticket(), AGES).unwrap();
    settle().await;
    a.purge(&Purge::url(key()));
    assert!(!a.fetch(&key(), german).await);
}

#[tokio::test]
async fn what_is_taken_away_is_removed_however_many_write() {
    let store = Slow::default();
    let cache = ResponseCache::new(1 << 20).second_tier(store.clone());
    for n in 0..WRITERS {
        let other = CacheKey::url(&format!("http://a/{n}")).unwrap();
        cache.put(&other, entry("de", "1"), cache.ticket(), AGES).unwrap();
    }
    cache.put(&key(), entry("de", "1"), cache.ticket(), AGES).unwrap();
    assert!(cache.change(&key(), cache.ticket(), AGES, |_| Some(Resource { entries: Vec::new() })));
    settle().await;
    assert_eq!(*store.0.lock().unwrap(), [name(&key())]);
}

#[tokio::test]
async fn what_comes_back_is_as_old_as_it_is() {
    let (a, b) = two();
    let mut aged = terms();
    aged.initial_age = Duration::from_secs(100);
    a.put(&key(), Entry { terms: aged, ..entry("de", "1") }, a.ticket(), AGES).unwrap();
    settle().await;
    assert!(b.fetch(&key(), german).await);
    let resource = b.get(&key(), Instant::now()).unwrap();
    assert!(resource.entries[0].terms.initial_age >= Duration::from_secs(100));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_left_alone_after_a_while() {
    let store = Stuck::default();
    let cache = ResponseCache::new(1 << 20).second_tier(store.clone());
    for _ in 0..20 {
        let begun = Instant::now();
        assert!(!cache.fetch(&key(), german).await);
        assert!(begun.elapsed() <= LIMIT + Duration::from_millis(1));
    }
    assert_eq!(store.0.load(SeqCst), FAILURES);
    tokio::time::advance(PAUSE).await;
    assert!(!cache.fetch(&key(), german).await);
    assert!(!cache.fetch(&key(), german).await);
    assert_eq!(store.0.load(SeqCst), FAILURES + 1);
    assert!(cache.put(&key(), entry("de", "1"), cache.ticket(), AGES).is_ok(), "nothing waits for it");
}

#[test]
fn without_a_runtime_nothing_is_written_and_nothing_breaks() {
    let (cache, _) = two();
    assert!(cache.put(&key(), entry("de", "1"), cache.ticket(), AGES).is_ok());
    cache.purge(&Purge::everything());
}
