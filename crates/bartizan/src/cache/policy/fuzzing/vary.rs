use super::{
    super::{Normalise, Selecting, Stored, Vary, choose},
    text::{field, head, sections},
};
use http::{
    HeaderMap, HeaderName,
    header::{COOKIE, VARY},
};
use std::collections::BTreeSet;
use tokio::time::Instant;

const STRICT: Normalise = Normalise { encoding: false, languages: false };
const ALL: Normalise = Normalise { encoding: true, languages: true };

/// `Vary` in lines, and the heads of two requests: each selects what it was answered with; the other one does if it is the
/// same in what is named, and never if it lacks a field or has one more.
pub fn vary(input: &[u8]) {
    let [vary, one, other] = sections(input);
    let vary = field(&VARY, vary);
    let (one, other) = (head(one), head(other));
    let names = naive(&vary);
    let vary = Vary::read(&vary);
    let read = match &vary {
        Vary::Nothing => Some(BTreeSet::new()),
        Vary::Fields(names) => Some(names.iter().map(ToString::to_string).collect()),
        Vary::Everything => None,
    };
    assert_eq!(read, names);

    let strict = compared(&vary, &one, &other, STRICT);
    let by_meaning = compared(&vary, &one, &other, ALL);
    let names: Vec<_> = names.into_iter().flatten().map(|name| HeaderName::try_from(name).unwrap()).collect();
    let same = names.iter().all(|name| combined(&one, name) == combined(&other, name));
    let as_often_there = names.iter().all(|name| one.contains_key(name) == other.contains_key(name));
    assert!(strict.is_none_or(|matches| matches == same));
    assert!(by_meaning.is_none_or(|matches| matches || !same), "what is the same means the same");
    assert!(as_often_there || by_meaning != Some(true));
}

/// Whether the other request selects what the one was answered with, if anything does.
fn compared(vary: &Vary, one: &HeaderMap, other: &HeaderMap, normalise: Normalise) -> Option<bool> {
    let selecting = Selecting::of(vary, one, normalise)?;
    assert!(selecting.matches(one, normalise), "who made it selects it");
    let headers = HeaderMap::new();
    let stored = Stored { selecting: &selecting, headers: &headers, asked: Instant::now() };
    assert_eq!(choose([stored].into_iter(), one, normalise), Some(0));

    let there = Selecting::of(vary, other, normalise)?;
    let matches = selecting.matches(other, normalise);
    assert_eq!(matches, there.matches(one, normalise), "both ways");
    assert_eq!(matches, selecting == there);
    assert_eq!(there, selecting.of_another(other, normalise));
    assert!(!matches || selecting.fingerprint() == there.fingerprint());
    assert!(!matches || selecting.compared().eq(there.compared()));
    Some(matches)
}

// ===== the naive reader =====

/// The names; `None` for `*`, and for what is treated as that.
fn naive(vary: &HeaderMap) -> Option<BTreeSet<String>> {
    let members = vary.get_all(VARY).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let names = members.map(|member| match member {
        b"*" => None,
        name => HeaderName::from_bytes(name).ok().map(|name| name.to_string()),
    });
    // So many are kept.
    names.collect::<Option<BTreeSet<_>>>().filter(|names| names.len() <= 16)
}

/// RFC 9110 §5.3: as if all lines were one.
fn combined(head: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<_> = head.get_all(name).iter().map(|line| line.as_bytes().trim_ascii()).collect();
    let between: &[u8] = if name == COOKIE { b"; " } else { b", " };
    (!lines.is_empty()).then(|| lines.join(between).trim_ascii().to_vec())
}
