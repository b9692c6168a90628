use super::super::{
    entry::{Content, Entry, Resource},
    form::{checksum, read, write},
    key::CacheKey,
    policy::{
        Normalise, Selecting, Terms, Vary,
        fuzzing::text::{field, head, sections},
    },
    tags::Stamped,
};
use bytes::Bytes;
use http::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, VARY},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const LIMIT: usize = 1 << 16;
const PLAIN: Normalise = Normalise { encoding: true, languages: false };

/// A few bytes that draw numbers and flags, and the head, the trailers, `Vary`, the request and the body of a response: what
/// is written of it is what is read, and nothing is if a bit is wrong. Then all of it, as if it were the stored form.
pub fn stored_form(input: &[u8]) {
    let [drawn, head_text, trailers, vary, request, body] = sections(input);
    let mut draw = Draw(drawn);
    let vary = Vary::read(&field(&VARY, vary));
    let request = head(request);
    if let Some(selecting) = Selecting::of(&vary, &request, PLAIN) {
        let entry = Entry {
            status: StatusCode::from_u16(100 + draw.number() % 900).unwrap(),
            headers: head(head_text),
            content: draw.content(body),
            trailers: draw.flag().then(|| head(trailers)),
            terms: draw.terms(),
            selecting,
            tags: Stamped { slots: drawn.iter().map(|byte| u32::from(*byte) << 20).collect(), ..Stamped::default() },
        };
        there_and_back(entry, &request, &mut draw);
    }
    any_bytes(input);
}

fn key() -> CacheKey {
    CacheKey::url("http://a/").unwrap()
}

fn there_and_back(entry: Entry, request: &HeaderMap, draw: &mut Draw<'_>) {
    let is_personal = [COOKIE, AUTHORIZATION, PROXY_AUTHORIZATION]
        .iter()
        .any(|name| entry.selecting.names().any(|named| named == name) && request.contains_key(name));
    let entries = vec![Arc::new(entry)];
    let Some(form) = write(&key(), &Resource { entries: entries.clone() }, Duration::from_secs(60), LIMIT) else {
        let size = entries[0].weighs();
        assert!(is_personal || size > LIMIT / 2, "{size}");
        return;
    };
    assert!(!is_personal && form.len() <= LIMIT);
    let entry = &*entries[0];
    let [kept] = read(&form, &key(), LIMIT).unwrap().try_into().unwrap();
    let names: Vec<_> = entry.selecting.names().cloned().collect();
    assert_eq!((&*kept.slots, &*kept.varies_on), (&*entry.tags.slots, &*names));
    let kept = kept.selected(&key(), Selecting::of(&Vary::Fields(names.into()), request, PLAIN).unwrap()).unwrap();
    assert_eq!((kept.status, &kept.headers, &kept.trailers), (entry.status, &entry.headers, &entry.trailers));
    assert_eq!(kept.selecting, entry.selecting);
    match (&kept.content, &entry.content) {
        (Content::Whole(kept), Content::Whole(body)) => assert_eq!(kept, body),
        (Content::Head, Content::Head) => {}
        other => panic!("{other:?}"),
    }
    let older = kept.terms.initial_age - entry.terms.initial_age;
    assert!(older < Duration::from_secs(60), "{older:?}");
    let Terms { received, initial_age, .. } = kept.terms;
    assert_eq!(kept.terms, Terms { received, initial_age, ..entry.terms.clone() });

    let (mut wrong, bits, drawn) = (form.to_vec(), form.len() * 8, usize::from(draw.number()));
    // Sixty-four of them, far apart.
    for bit in (0..64).map(|nth| (drawn + nth * 7_919) % bits) {
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&wrong, &key(), LIMIT).is_none(), "bit {bit}");
        wrong[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(read(&form[..drawn % form.len()], &key(), LIMIT).is_none());
    assert!(read(&form, &CacheKey::url("http://b/").unwrap(), LIMIT).is_none());
}

/// As they are, and, as bad as it can be, behind a checksum that is right.
fn any_bytes(bytes: &[u8]) {
    assert!(read(bytes, &key(), LIMIT).is_none());
    let key = key();
    let mut form = u32::try_from(key.as_bytes().len()).unwrap().to_be_bytes().to_vec();
    form.extend_from_slice(key.as_bytes());
    form.extend_from_slice(bytes);
    let form = [&b"BTZ1"[..], &checksum(0, &form).to_be_bytes(), &form].concat();
    for kept in read(&form, &key, LIMIT).into_iter().flatten() {
        if let Content::Whole(body) = &kept.content {
            assert!(body.len() <= LIMIT);
        }
        let _ = kept.selected(&key, Selecting::of(&Vary::Nothing, &HeaderMap::new(), PLAIN).unwrap());
    }
}

impl Entry {
    fn weighs(&self) -> usize {
        let fields = self.headers.iter().chain(self.trailers.iter().flatten());
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 9).sum::<usize>();
        fields
            + match &self.content {
                Content::Whole(body) => body.len(),
                _ => 0,
            }
    }
}

/// Numbers, of bytes that may have run out.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn number(&mut self) -> u16 {
        let (bytes, rest) = self.0.split_at(self.0.len().min(2));
        self.0 = rest;
        bytes.iter().fold(0, |number, byte| number << 8 | u16::from(*byte))
    }

    fn flag(&mut self) -> bool {
        self.number() & 1 == 1
    }

    /// As it is, or so often that it can be made shorter.
    fn content(&mut self, body: &[u8]) -> Content {
        match self.number() % 8 {
            0 => Content::Head,
            times => Content::Whole(Bytes::from(body.repeat(if times > 4 { 40 } else { 1 }))),
        }
    }

    fn terms(&mut self) -> Terms {
        let mut span = || Duration::from_millis(u64::from(self.number()) * 40_000);
        let (initial_age, lifetime, keep) = (span(), span(), span());
        let (stale_while_revalidate, stale_if_error) = (span(), span());
        Terms {
            received: Instant::now(),
            initial_age,
            lifetime,
            no_cache: self.flag(),
            must_revalidate: self.flag(),
            immutable: self.flag(),
            stale_while_revalidate,
            stale_if_error,
            keep,
        }
    }
}
