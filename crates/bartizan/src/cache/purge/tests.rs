use super::*;
use crate::cache::{
    KeyRules,
    entry::Content,
    generations::Standing,
    memory::tests::entry,
    tags::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, SURROGATE_KEY, Stamped},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Uri};
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

const AGES: Duration = Duration::from_secs(1 << 20);

fn url(url: &str) -> CacheKey {
    CacheKey::url(url).unwrap()
}

fn put(cache: &ResponseCache, key: &CacheKey, tags: &[(HeaderName, &str)]) {
    let headers = tags.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    let tags = Stamped::read(&headers, key).unwrap();
    assert!(cache.put(key, Entry { tags, ..entry("de", "1") }, cache.ticket(), AGES).is_ok());
}

#[derive(Debug, PartialEq)]
enum Found {
    Fresh,
    Stale,
    Nothing,
}

fn find(cache: &ResponseCache, key: &CacheKey) -> Found {
    let now = Instant::now();
    let Some(resource) = cache.get(key, now) else { return Found::Nothing };
    let entry = &resource.entries[0];
    let age = entry.terms.initial_age + now.duration_since(entry.terms.received);
    match cache.standing(entry) {
        Standing::Gone => Found::Nothing,
        Standing::Current if entry.terms.lifetime > age => Found::Fresh,
        Standing::Current => Found::Stale,
        Standing::Stale(since) => {
            assert!(since <= now);
            Found::Stale
        }
    }
}

#[test]
fn a_url_is_purged_in_every_form_and_nothing_else_is() {
    let cache = ResponseCache::new(1 << 20);
    let (https, http, other) = (url("https://a/x"), url("http://a/x"), url("http://a/xy"));
    [&https, &http, &other].iter().for_each(|key| put(&cache, key, &[]));
    assert_eq!(cache.purge(&Purge::url(url("https://a/x"))).keys, Some(2));
    let found = [&https, &http, &other].map(|key| find(&cache, key));
    assert_eq!(found, [Found::Nothing, Found::Nothing, Found::Fresh]);

    let rules = KeyRules::new().with_field(HeaderName::from_static("x-key"));
    let uri: Uri = "http://a/x".parse().unwrap();
    let fields = HeaderMap::from_iter([(HeaderName::from_static("x-key"), HeaderValue::from_static("1"))]);
    let by_field = CacheKey::of(&uri, &fields, None, &rules).unwrap();
    let mut by_content = http.clone();
    by_content.extend_with_content(b"text/plain", &[1; 32]);
    let forms = [&http, &by_field, &by_content];
    for is_soft in [false, true] {
        forms.iter().for_each(|key| put(&cache, key, &[]));
        assert_eq!(forms.map(|key| find(&cache, key)), [Found::Fresh, Found::Fresh, Found::Fresh]);
        let purge = Purge::url(url("http://a/x"));
        assert_eq!(cache.purge(&if is_soft { purge.softly() } else { purge }).keys, None);
        let expected = || if is_soft { Found::Stale } else { Found::Nothing };
        assert_eq!(forms.map(|key| find(&cache, key)), [expected(), expected(), expected()]);
    }
}

#[test]
fn everything_below_a_path_is_purged_on_its_host_alone() {
    let cache = ResponseCache::new(1 << 20);
    let keys = [url("http://a/shoes/1"), url("https://a/shoes/2?x"), url("http://a/shirts"), url("http://b/shoes/1")];
    keys.iter().for_each(|key| put(&cache, key, &[]));
    assert_eq!(cache.purge(&Purge::prefix(url("http://a/shoes/")).softly()).keys, Some(2));
    assert_eq!(keys.each_ref().map(|key| find(&cache, key)), [Found::Stale, Found::Stale, Found::Fresh, Found::Fresh]);
    assert_eq!(cache.purge(&Purge::prefix(url("http://a/"))).keys, Some(3));
    assert_eq!(find(&cache, &keys[3]), Found::Fresh);
}

#[test]
fn nobody_purges_what_is_anothers() {
    let cache = ResponseCache::new(1 << 20);
    let keys =
        [url("http://a/").partition(Key::new("acme")), url("http://a/").partition(Key::new("other")), url("http://a/")];
    for purge in [
        Purge::url(url("http://a/")),
        Purge::prefix(url("http://a/")),
        Purge::everything(),
        Purge::tag("t"),
        Purge::group(url("http://a/x"), "g"),
    ] {
        keys.iter().for_each(|key| put(&cache, key, &[(SURROGATE_KEY, "t"), (CACHE_GROUPS, "\"g\"")]));
        cache.purge(&purge.clone().partition(Key::new("acme")));
        let found = keys.each_ref().map(|key| find(&cache, key));
        assert_eq!(found, [Found::Nothing, Found::Fresh, Found::Fresh], "{purge:?}");
    }
}

#[test]
fn a_group_is_purged_at_its_origin_alone() {
    let cache = ResponseCache::new(1 << 20);
    let keys = [url("http://a/1"), url("http://b/1"), url("http://a/2")];
    let tags = ["\"g\"", "\"g\"", "\"h\""];
    (0..3).for_each(|n| put(&cache, &keys[n], &[(CACHE_GROUPS, tags[n])]));
    let invalidation = HeaderMap::from_iter([(CACHE_GROUP_INVALIDATION, HeaderValue::from_static("\"x\", \"g\""))]);
    cache.invalidate_groups(&url("http://a/other"), &invalidation);
    assert_eq!(keys.each_ref().map(|key| find(&cache, key)), [Found::Nothing, Found::Fresh, Found::Fresh]);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_stored_after_it() {
    let tagged = [(SURROGATE_KEY, HeaderValue::from_static("t"))];
    for purge in [Purge::url(url("http://a/")), Purge::prefix(url("http://a/")), Purge::everything(), Purge::tag("t")] {
        for purge in [purge.clone(), purge.softly()] {
            let cache = ResponseCache::new(1 << 20);
            let key = url("http://a/");
            let tagged = || HeaderMap::from_iter(tagged.clone());
            let put = |ticket| {
                let tags = Stamped::read(&tagged(), &key).unwrap();
                cache.put(&key, Entry { tags, ..entry("de", "1") }, ticket, AGES).is_ok()
            };
            let early = cache.ticket();
            cache.purge(&purge);
            assert!(!put(early), "{purge:?}");
            assert!(put(cache.ticket()), "{purge:?}");
            assert_eq!(find(&cache, &key), Found::Fresh);
            let before = cache.ticket();
            cache.purge(&Purge::url(key.clone()).softly());
            assert!(!cache.change(&key, before, AGES, |_| panic!("what was confirmed is not so any more")));
        }
    }
    let cache = ResponseCache::new(1 << 20);
    let early = cache.ticket();
    cache.purge(&Purge::prefix(url("http://elsewhere/")));
    assert!(cache.put(&url("http://a/"), entry("de", "1"), early, AGES).is_ok());
    for _ in 0..2000 {
        cache.purge(&Purge::prefix(url("http://elsewhere/")));
    }
    assert!(cache.put(&url("http://a/"), entry("de", "1"), early, AGES).is_err(), "nobody knows any more");
}

#[tokio::test(start_paused = true)]
async fn what_is_purged_softly_went_stale_when_it_was_purged() {
    let cache = ResponseCache::new(1 << 20);
    let key = url("http://a/");
    put(&cache, &key, &[(SURROGATE_KEY, "t")]);
    tokio::time::advance(Duration::from_secs(10)).await;
    let then = Instant::now();
    cache.purge(&Purge::tag("t").softly());
    tokio::time::advance(Duration::from_secs(10)).await;
    let resource = cache.get(&key, Instant::now()).unwrap();
    assert_eq!(cache.standing(&resource.entries[0]), Standing::Stale(then));
    cache.purge(&Purge::everything().softly());
    let resource = cache.get(&key, Instant::now()).unwrap();
    assert_eq!(resource.entries[0].terms.lifetime, Duration::from_secs(20));
}

/// The origin changes, then it is purged; from then on nobody may see what was before.
#[test]
fn nobody_sees_after_a_purge_what_was_before_it() {
    for purge in [Purge::url(url("http://a/0")), Purge::prefix(url("http://a/")), Purge::everything(), Purge::tag("t")]
    {
        let cache = ResponseCache::new(1 << 20);
        let (origin, purged, is_over) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
        let key = url("http://a/0");
        let fill = || {
            let ticket = cache.ticket();
            let version = origin.load(SeqCst);
            let tags =
                Stamped::read(&HeaderMap::from_iter([(SURROGATE_KEY, HeaderValue::from_static("t"))]), &key).unwrap();
            thread::yield_now();
            cache.put(&key, Entry { tags, ..entry("de", version.to_string()) }, ticket, AGES).ok();
        };
        let look = || {
            let at_least = purged.load(SeqCst);
            let Some(resource) = cache.get(&key, Instant::now()) else { return };
            let entry = &resource.entries[0];
            let Content::Whole(body) = &entry.content else { panic!("a body") };
            let version: u64 = std::str::from_utf8(body as &Bytes).unwrap().parse().unwrap();
            assert!(cache.standing(entry) != Standing::Current || version >= at_least, "{purge:?}");
        };
        thread::scope(|scope| {
            for work in [&fill as &(dyn Fn() + Sync), &fill, &look] {
                scope.spawn(|| {
                    while !is_over.load(SeqCst) {
                        work();
                    }
                });
            }
            for _ in 0..2_000 {
                let version = origin.fetch_add(1, SeqCst) + 1;
                cache.purge(&purge);
                purged.store(version, SeqCst);
            }
            is_over.store(true, SeqCst);
        });
    }
}

#[test]
fn who_finds_something_while_it_is_deleted_learns_afterwards_that_it_is_gone() {
    let keys: Vec<_> = (0..3000).map(|nth| url(&format!("http://a/{nth}"))).collect();
    for purge in [Purge::prefix(url("http://a/")), Purge::everything(), Purge::url(keys[0].clone())] {
        let cache = ResponseCache::new(64 << 20);
        keys.iter().for_each(|key| put(&cache, key, &[]));
        let (begins, ends) = (AtomicBool::new(false), AtomicBool::new(false));
        let found = thread::scope(|scope| {
            let seeker = scope.spawn(|| {
                let mut found = Vec::new();
                loop {
                    for key in keys.iter().step_by(300) {
                        // Counted before it is looked for, as for a request.
                        let purges = cache.purges();
                        if let Some(resource) = cache.get(key, Instant::now()) {
                            found.push((purges, key, resource));
                        }
                    }
                    begins.store(true, SeqCst);
                    if ends.load(SeqCst) {
                        return found;
                    }
                }
            });
            while !begins.load(SeqCst) {
                thread::yield_now();
            }
            cache.purge(&purge);
            ends.store(true, SeqCst);
            seeker.join().unwrap()
        });
        assert!(!found.is_empty());
        let is_meant = |key: &CacheKey| !matches!(purge.what, What::Url(_)) || *key == keys[0];
        for (purges, key, resource) in found.into_iter().filter(|(_, key, _)| is_meant(key)) {
            assert!(cache.is_deleted_since(purges, key, &resource.entries[0]), "{purge:?}: {key}");
        }
    }
}
