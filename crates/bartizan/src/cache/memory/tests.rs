use super::*;
use crate::cache::{
    Purge,
    entry::Content,
    policy::{Selecting, Terms},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proptest::prelude::*;
use std::collections::HashMap;

const AGES: Duration = Duration::from_secs(1 << 20);

fn key(n: impl fmt::Display) -> CacheKey {
    CacheKey::url(&format!("http://example.com/{n}")).unwrap()
}

fn now() -> Instant {
    Instant::now()
}

pub(in crate::cache) fn terms() -> Terms {
    Terms {
        received: now(),
        initial_age: Duration::ZERO,
        lifetime: AGES,
        no_cache: false,
        must_revalidate: false,
        immutable: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        keep: Duration::ZERO,
    }
}

pub(in crate::cache) fn entry(language: &str, body: impl Into<Bytes>) -> Entry {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60")),
        (header::ETAG, HeaderValue::from_static("\"0123456789abcdef\"")),
        (header::DATE, HeaderValue::from_static("Fri, 27 Nov 2026 08:00:00 GMT")),
        (header::CONTENT_LENGTH, HeaderValue::from_static("1024")),
        (header::VARY, HeaderValue::from_static("accept-language")),
    ];
    Entry {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter(headers),
        content: Content::Whole(body.into()),
        trailers: None,
        terms: terms(),
        selecting: Selecting::literally(&[(header::ACCEPT_LANGUAGE, language)]),
        tags: Default::default(),
    }
}

fn bodies(cache: &ResponseCache, key: &CacheKey) -> Vec<Bytes> {
    let resource = cache.get(key, now());
    let entries = resource.iter().flat_map(|resource| &resource.entries);
    entries.map(|entry| body(entry)).collect()
}

fn body(entry: &Entry) -> Bytes {
    match &entry.content {
        Content::Whole(body) => body.clone(),
        Content::Parts(_) | Content::Filling(_) | Content::Head => Bytes::new(),
    }
}

#[test]
fn the_youngest_of_those_that_a_request_selects_comes_first_and_one_of_each_kind_is_kept() {
    let cache = ResponseCache::new(1 << 20);
    for (language, body) in [("de", "1"), ("en", "2"), ("de", "3")] {
        assert!(cache.put(&key("a"), entry(language, body), cache.ticket(), AGES).is_ok());
    }
    assert_eq!(bodies(&cache, &key("a")), ["3", "2"]);
    for n in 0..40 {
        assert!(cache.put(&key("a"), entry(&n.to_string(), n.to_string()), cache.ticket(), AGES).is_ok());
    }
    assert_eq!(bodies(&cache, &key("a")).len(), MOST_ENTRIES);
    assert_eq!(bodies(&cache, &key("a"))[0], "39");
}

#[test]
fn clones_share_what_is_stored() {
    let cache = ResponseCache::new(1 << 20);
    cache.clone().put(&key("a"), entry("de", "1"), cache.ticket(), AGES).unwrap();
    assert_eq!(bodies(&cache, &key("a")), ["1"]);
    assert!(cache.clone().remove(&key("a")) && !cache.remove(&key("a")));
    assert_eq!(bodies(&cache, &key("a")).len(), 0);
}

#[test]
fn what_is_too_large_is_refused_and_what_was_there_stays() {
    let cache = ResponseCache::new(1 << 20).object_limit(10_000);
    assert!(cache.put(&key("a"), entry("de", "1"), cache.ticket(), AGES).is_ok());
    let refused = cache.put(&key("a"), entry("de", vec![0; 10_000]), cache.ticket(), AGES);
    assert_eq!(refused, Err(Refused::TooLarge));
    assert!(cache.put(&key("b"), entry("de", vec![0; 8_000]), cache.ticket(), AGES).is_ok());
    assert_eq!(bodies(&cache, &key("a")), ["1"]);
    let statistics = cache.statistics();
    assert_eq!((statistics.stored, statistics.refused, statistics.entries), (2, 1, 2));
}

#[test]
fn variants_together_take_no_more_than_a_quarter() {
    let cache = ResponseCache::new(1 << 20).object_limit(100_000);
    for n in 0..32 {
        assert!(cache.put(&key("a"), entry(&n.to_string(), vec![0; 90_000]), cache.ticket(), AGES).is_ok());
    }
    assert_eq!(bodies(&cache, &key("a")).len(), 2);
}

#[test]
fn a_head_alone_does_not_take_the_place_of_a_body() {
    let cache = ResponseCache::new(1 << 20);
    let head = || Entry { content: Content::Head, ..entry("de", "") };
    assert!(cache.put(&key("a"), head(), cache.ticket(), AGES).is_ok());
    assert!(cache.put(&key("a"), entry("de", "1"), cache.ticket(), AGES).is_ok());
    assert_eq!(cache.put(&key("a"), head(), cache.ticket(), AGES), Err(Refused::Superseded));
    assert_eq!(bodies(&cache, &key("a")), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_answers_that_to_the_later_request_is_kept_whichever_comes_first() {
    let cache = ResponseCache::new(1 << 20);
    let dated = |body: &'static str, second: u8| {
        let mut entry = entry("de", body);
        let date = format!("Fri, 27 Nov 2026 08:00:{second:02} GMT");
        entry.headers.insert(header::DATE, date.parse().unwrap());
        entry
    };
    let put = |entry, ticket| cache.put(&key("a"), entry, ticket, AGES);
    let early = cache.ticket();
    tokio::time::advance(Duration::from_nanos(1)).await;
    let late = cache.ticket();
    put(dated("1", 5), late).unwrap();
    assert_eq!(put(dated("2", 9), early), Err(Refused::Superseded), "whatever its date says");
    assert_eq!(put(dated("3", 4), late), Err(Refused::Superseded), "of the same moment, it is the older by its date");
    assert_eq!(bodies(&cache, &key("a")), ["1"]);
    put(dated("4", 5), late).unwrap();
    assert_eq!(bodies(&cache, &key("a")), ["4"]);
    // What other requests select is in nobody's place, and in its own order.
    cache.put(&key("a"), entry("en", "5"), early, AGES).unwrap();
    assert_eq!(bodies(&cache, &key("a")), ["4", "5"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_any_more_is_gone() {
    let cache = ResponseCache::new(1 << 20);
    cache.put(&key("a"), entry("de", "1"), cache.ticket(), Duration::from_secs(10)).unwrap();
    cache.put(&key("b"), entry("de", "1"), cache.ticket(), Duration::MAX).unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    assert!(cache.get(&key("a"), now()).is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(cache.get(&key("a"), now()).is_none() && cache.get(&key("b"), now()).is_some());
}

#[test]
fn what_is_changed_is_changed_in_one_step_and_nothing_else_is() {
    let cache = ResponseCache::new(1 << 20);
    let change = |to: fn(&Resource) -> Option<Resource>| cache.change(&key("a"), cache.ticket(), AGES, to);
    assert!(!change(|_| panic!("nothing is there")));
    cache.put(&key("a"), entry("de", "1"), cache.ticket(), AGES).unwrap();
    cache.put(&key("a"), entry("en", "2"), cache.ticket(), AGES).unwrap();
    assert!(!change(|_| None));
    assert_eq!(bodies(&cache, &key("a")), ["2", "1"]);
    assert!(change(|before| Some(Resource { entries: vec![before.entries[1].clone(), Arc::new(entry("fr", "3"))] })));
    assert_eq!(bodies(&cache, &key("a")), ["1", "3"]);
    assert!(change(|_| Some(Resource { entries: vec![] })));
    assert!(cache.get(&key("a"), now()).is_none());
}

#[test]
fn a_body_that_is_a_piece_of_a_large_buffer_does_not_keep_the_buffer() {
    let cache = ResponseCache::new(1 << 20);
    let received = Bytes::from(vec![b'a'; 1 << 20]);
    let mut stored = entry("de", received.slice(..100));
    stored.headers.insert("x-a", HeaderValue::from_maybe_shared(received.slice(200..220)).unwrap());
    cache.put(&key("a"), stored, cache.ticket(), AGES).unwrap();
    assert!(received.is_unique());
    assert_eq!(bodies(&cache, &key("a"))[0].len(), 100);
    assert_eq!(cache.get(&key("a"), now()).unwrap().entries[0].headers["x-a"].len(), 20);
}

#[test]
fn a_flood_of_whatever_sizes_stays_within_the_bound() {
    let cache = ResponseCache::new(1 << 20);
    let mut size = 1_usize;
    for n in 0..3_000 {
        size = (size * 7919 + n) % 50_000;
        cache.put(&key(n), entry("de", vec![0; size]), cache.ticket(), AGES).unwrap();
        assert!(cache.shared.map.weighted_size() <= 1 << 20);
        assert!(cache.shared.unsettled.load(Relaxed) <= 1 << 14);
    }
    let statistics = cache.statistics();
    assert!(statistics.bytes <= 1 << 20 && statistics.entries > 10, "{statistics:?}");
    assert_eq!(statistics.evicted + statistics.entries, 3_000);
}

#[test]
fn whoever_asks_for_everything_once_does_not_drive_out_what_is_asked_for_again_and_again() {
    let cache = ResponseCache::new(1 << 20);
    let hot: Vec<_> = (0..100).map(|n| key(format_args!("hot/{n}"))).collect();
    hot.iter().for_each(|key| assert!(cache.put(key, entry("de", vec![0; 1024]), cache.ticket(), AGES).is_ok()));
    for n in 0..10_000 {
        let once = key(n);
        assert!(cache.get(&once, now()).is_none());
        cache.put(&once, entry("de", vec![0; 1024]), cache.ticket(), AGES).unwrap();
        let key = &hot[n % hot.len()];
        if cache.get(key, now()).is_none() {
            cache.put(key, entry("de", vec![0; 1024]), cache.ticket(), AGES).unwrap();
        }
    }
    let kept = hot.iter().filter(|key| cache.get(key, now()).is_some()).count();
    assert!(kept >= 95, "{kept} of 100");
}

/// Of each three requests two are for few keys mostly, as requests are, and one is for a key that nobody asks for again.
fn hits(ask: impl Fn(&ResponseCache, &CacheKey) -> bool) -> u32 {
    let cache = ResponseCache::new(1 << 20);
    let (mut seed, mut hits) = (7_u64, 0);
    for n in 0..30_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_precision_loss, reason = "a number to draw by")]
        let drawn = (seed >> 11) as f64 / (1_u64 << 53) as f64;
        let key = if n % 3 == 0 { key(format_args!("once/{n}")) } else { key(2000_f64.powf(drawn).floor()) };
        if ask(&cache, &key) {
            hits += 1;
        } else {
            cache.put(&key, entry("de", vec![0; 1024]), cache.ticket(), AGES).expect("nobody purges");
        }
    }
    hits
}

#[test]
fn that_the_map_does_not_hear_of_all_makes_no_fewer_hits() {
    let with = hits(|cache, key| cache.get(key, now()).is_some());
    let without = hits(|cache, key| cache.shared.map.get(key.as_bytes()).is_some());
    assert!(with > without - without / 50, "{with}, and {without} if it hears of all");
}

#[derive(Clone, Debug)]
enum Step {
    /// Asks the origin for it.
    Ask {
        key: u8,
    },
    /// What was asked for so many steps ago comes.
    Put {
        ago: usize,
        language: u8,
    },
    Confirm {
        ago: usize,
    },
    Remove {
        key: u8,
    },
    Purge {
        key: u8,
        is_soft: bool,
    },
    PurgeAll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8).prop_map(|key| Step::Ask { key }),
        6 => (0..3_usize, 0..3_u8).prop_map(|(ago, language)| Step::Put { ago, language }),
        3 => (0..3_usize).prop_map(|ago| Step::Confirm { ago }),
        1 => (0..3_u8).prop_map(|key| Step::Remove { key }),
        1 => (0..3_u8, any::<bool>()).prop_map(|(key, is_soft)| Step::Purge { key, is_soft }),
        1 => Just(Step::PurgeAll),
    ]
}

proptest! {
    #[test]
    fn a_cache_is_a_map_of_lists_that_takes_nothing_asked_for_before_a_purge(
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let cache = ResponseCache::new(64 << 20);
        let mut model: HashMap<u8, Vec<(u8, Bytes, Instant)>> = HashMap::new();
        // Youngest first; whether a purge has come in between.
        let mut asked: Vec<(u8, Ticket, bool)> = Vec::new();
        for (n, step) in steps.into_iter().enumerate() {
            let text = Bytes::from(n.to_string());
            match step {
                Step::Ask { key } => asked.insert(0, (key, cache.ticket(), false)),
                Step::Put { ago, language } => {
                    let Some(&(k, ticket, is_late)) = asked.get(ago) else { continue };
                    let is_put = cache.put(&key(k), entry(&language.to_string(), text.clone()), ticket, AGES).is_ok();
                    let list = model.entry(k).or_default();
                    // RFC 9111 §4: all have the same date, so that it tells nothing.
                    let is_older = list.iter().any(|(other, _, at)| *other == language && *at > ticket.at);
                    prop_assert_eq!(is_put, !is_late && !is_older);
                    if is_put {
                        list.retain(|(other, ..)| *other != language);
                        let place = list.iter().position(|(.., at)| *at <= ticket.at);
                        list.insert(place.unwrap_or(list.len()), (language, text, ticket.at));
                    }
                }
                Step::Confirm { ago } => {
                    let Some(&(k, ticket, is_late)) = asked.get(ago) else { continue };
                    let reverse = |before: &Resource| {
                        Some(Resource { entries: before.entries.iter().rev().map(Arc::clone).collect() })
                    };
                    let list = model.entry(k).or_default();
                    let is_done = cache.change(&key(k), ticket, AGES, reverse);
                    prop_assert_eq!(is_done, !is_late && !list.is_empty());
                    if is_done {
                        list.reverse();
                    }
                }
                Step::Remove { key: k } => {
                    let was_there = model.remove(&k).is_some_and(|list| !list.is_empty());
                    prop_assert_eq!(cache.remove(&key(k)), was_there);
                }
                Step::Purge { key: k, is_soft } => {
                    let purge = Purge::url(key(k));
                    let was_there = model.get(&k).is_some_and(|list| !list.is_empty());
                    let purged = cache.purge(&if is_soft { purge.softly() } else { purge });
                    prop_assert_eq!(purged.keys, Some(was_there.into()));
                    asked.iter_mut().filter(|(of, ..)| *of == k).for_each(|(.., is_late)| *is_late = true);
                    if !is_soft {
                        model.remove(&k);
                    }
                }
                Step::PurgeAll => {
                    cache.purge(&Purge::everything());
                    asked.iter_mut().for_each(|(.., is_late)| *is_late = true);
                    model.clear();
                }
            }
            for k in 0..3 {
                let expected: Vec<_> = model.get(&k).into_iter().flatten().map(|(_, body, _)| body.clone()).collect();
                prop_assert_eq!(bodies(&cache, &key(k)), expected);
            }
        }
    }
}

/// What the constants of `weight` are tuned by: `cargo test --release -- --ignored --nocapture what_is_counted`.
#[test]
#[ignore = "looks at the memory of the whole process, so it has to run alone"]
#[cfg(target_os = "linux")]
fn what_is_counted_is_what_is_taken() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    for (size, number) in [(0, 100_000), (1024, 60_000), (10_000, 10_000), (100_000, 1_500)] {
        let before = resident();
        let cache = ResponseCache::new(4 << 30);
        for n in 0..number {
            assert!(cache.put(&key(n), entry("de", vec![b'a'; size]), cache.ticket(), AGES).is_ok());
        }
        let counted = cache.statistics().bytes;
        let taken = resident() - before;
        println!("{size}: counted {}, taken {} each", counted / number, taken / number);
        Box::leak(Box::new(cache)); // what it gives back would be used again and hide what the next takes
        let ratio = taken as f64 / counted as f64;
        assert!((0.9..1.1).contains(&ratio), "{ratio}");
    }
    let before = resident();
    let cache = ResponseCache::new(64 << 20);
    let mut size = 1_usize;
    for n in 0..100_000 {
        size = (size * 7919 + n) % 20_000;
        cache.put(&key(n), entry("de", vec![b'a'; size]), cache.ticket(), AGES).unwrap();
    }
    let statistics = cache.statistics();
    println!("after a flood: counted {}, taken {}", statistics.bytes, resident() - before);
    assert!(statistics.bytes <= 64 << 20);
}
