use super::*;
use crate::cache::memory::tests::entry;
use proptest::prelude::*;
use std::sync::Arc;

const LIMIT: usize = 1 << 20;

fn key() -> CacheKey {
    CacheKey::url("http://a/").unwrap()
}

fn selecting(language: &str) -> Selecting {
    Selecting::literally(&[(header::ACCEPT_LANGUAGE, language)])
}

fn form(body: impl Into<Bytes>) -> Vec<u8> {
    let mut entry = entry("de", body);
    entry.headers.append("set-cookie", HeaderValue::from_static("a=1"));
    entry.headers.append("set-cookie", HeaderValue::from_static("b=2"));
    entry.trailers = Some(HeaderMap::from_iter([(header::EXPIRES, HeaderValue::from_static("0"))]));
    entry.terms.no_cache = true;
    entry.tags.slots = [7, 9].into();
    write(&key(), &Resource { entries: vec![Arc::new(entry)] }, Duration::from_secs(60), LIMIT).unwrap().to_vec()
}

#[test]
fn what_is_written_is_what_is_read() {
    for body in [vec![], vec![1; 100], vec![b'a'; 100_000]] {
        let form = form(body.clone());
        assert!(form.len() < 2_000, "compressed");
        let mut read = read(&form, &key(), LIMIT).unwrap();
        let kept = read.remove(0);
        assert_eq!((read.len(), &*kept.slots, &*kept.varies_on), (0, &[7, 9][..], &[header::ACCEPT_LANGUAGE][..]));
        let entry = kept.selected(&key(), selecting("de")).unwrap();
        assert!(matches!(&entry.content, Content::Whole(read) if *read == body));
        assert_eq!(entry.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(entry.trailers.unwrap().len(), 1);
        assert!(entry.terms.no_cache && !entry.terms.immutable && entry.terms.initial_age < Duration::from_secs(5));
    }
}

#[test]
fn only_who_selects_it_gets_it_and_what_he_said_cannot_be_read() {
    let form = form("1");
    let kept = || read(&form, &key(), LIMIT).unwrap().remove(0);
    assert!(kept().selected(&key(), selecting("en")).is_none());
    let secret = Entry { selecting: Selecting::literally(&[(header::HOST, "s3cret")]), ..entry("de", "1") };
    let form = write(&key(), &Resource { entries: vec![Arc::new(secret)] }, Duration::from_secs(60), LIMIT).unwrap();
    assert!(!form.windows(6).any(|window| window == b"s3cret"));
    for personal in [header::COOKIE, header::AUTHORIZATION] {
        let entry = Entry { selecting: Selecting::literally(&[(personal, "x")]), ..entry("de", "1") };
        assert!(write(&key(), &Resource { entries: vec![Arc::new(entry)] }, Duration::from_secs(60), LIMIT).is_none());
    }
}

#[test]
fn what_belongs_to_another_key_is_a_miss() {
    assert!(read(&form("1"), &CacheKey::url("http://b/").unwrap(), LIMIT).is_none());
}

#[test]
fn a_body_that_would_be_too_large_is_a_miss() {
    assert!(read(&form(vec![0; 100_000]), &key(), 99_999).is_none());
}

/// A small value of somebody else's would become as large as he likes.
#[test]
fn more_than_is_written_of_a_url_is_a_miss() {
    let of = |count: usize, length: usize| {
        let entries = (0..count).map(|n| Arc::new(entry(&n.to_string(), vec![0; length]))).collect();
        let form = write(&key(), &Resource { entries }, Duration::from_secs(60), LIMIT).unwrap();
        read(&form, &key(), 100_000).map(|read| read.len())
    };
    assert_eq!((of(2, 100_000), of(3, 100_000)), (Some(2), None));
    assert_eq!((of(32, 10), of(33, 10)), (Some(32), None));
}

#[test]
fn the_youngest_that_fit_are_written() {
    let entries = (0..9).map(|n| Arc::new(entry(&n.to_string(), vec![n; 500]))).collect();
    let form = write(&key(), &Resource { entries }, Duration::from_secs(60), 2_500).unwrap();
    let count = read(&form, &key(), LIMIT).unwrap().len();
    assert!((1..4).contains(&count), "{count}");
}

proptest! {
    #[test]
    fn whatever_is_changed_is_noticed(at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut form = form("some body");
        let at = at.index(form.len());
        form[at] ^= bits;
        prop_assert!(read(&form, &key(), LIMIT).is_none());
        prop_assert!(read(&form[..at], &key(), LIMIT).is_none());
    }

    #[test]
    fn any_bytes_are_read_without_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        prop_assert!(read(&bytes, &key(), LIMIT).is_none());
        // As bad as it can be: with a checksum that is right.
        let mut form = form(vec![b'a'; 2000]);
        let key_end = 12 + 4 + key().as_bytes().len();
        for (at, byte) in changes {
            let at = key_end + at.index(form.len() - key_end);
            form[at] = byte;
        }
        let sum = checksum(0, &form[12..]);
        form[4..12].copy_from_slice(&sum.to_be_bytes());
        let _ = read(&form, &key(), LIMIT);
    }
}
