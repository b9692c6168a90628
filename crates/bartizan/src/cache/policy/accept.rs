//! What a client accepts, by meaning rather than by how it is written (RFC 9110 §12.5).

use super::Normalise;
use http::{HeaderName, header};
use smallvec::SmallVec;

/// A short text that needs no allocation.
pub(super) type Text = SmallVec<[u8; 128]>;

/// A thousandth is the finest weight there is (RFC 9110 §12.4.2).
const FULL: u16 = 1000;

/// What the value of a field means, in a form that is the same for all values that mean the same. `None` if the field
/// is to be compared as it is written.
///
/// RFC 9111 §4.1 allows what a field's own definition says makes no difference: the order of alternatives, their case,
/// and the space between them. How much one coding is liked better than another is left out, too, for every response
/// that such a request got is one that the other accepts.
pub(super) fn meaning(name: &HeaderName, value: &[u8], normalise: Normalise) -> Option<Text> {
    match *name {
        header::ACCEPT_ENCODING => normalise.encoding.then(|| codings(value)),
        header::ACCEPT_LANGUAGE | header::ACCEPT_CHARSET => normalise.languages.then(|| alternatives(value, false)),
        header::ACCEPT => normalise.languages.then(|| alternatives(value, true)),
        _ => normalise.languages.then(|| without_space(value)),
    }
}

/// Whether a client wants a language, and none more. A range matches what it is the beginning of (RFC 4647 §3.3.1).
pub(super) fn prefers_language(accepted: &[u8], language: &[u8]) -> bool {
    is_best(accepted, |range| {
        let begins = language.len() >= range.len()
            && language[..range.len()].eq_ignore_ascii_case(range)
            && matches!(language.get(range.len()), None | Some(b'-'));
        if begins { Some(range.len()) } else { (range == b"*").then_some(0) }
    })
}

/// Whether a client wants a coding, and none more.
pub(super) fn prefers_coding(accepted: &[u8], coding: &[u8]) -> bool {
    let mut coding_lower = Text::from_slice(coding);
    coding_lower.make_ascii_lowercase();
    let coding = alias(&coding_lower);
    is_best(accepted, |name| {
        let mut name = Text::from_slice(name);
        name.make_ascii_lowercase();
        (alias(&name) == coding).then_some(coding.len())
    })
}

/// Whether the member that matches has a weight that is not zero, and no other has a greater one. `matches` says how
/// much of it: of several that which matches most counts, so that `*` does not bring back what is refused by its name.
fn is_best(accepted: &[u8], matches: impl Fn(&[u8]) -> Option<usize>) -> bool {
    let mut best = 0;
    let mut own = None;
    for (name, weight) in list(accepted).map(weighed) {
        best = best.max(weight);
        own = own.max(matches(name).map(|length| (length, weight)));
    }
    own.is_some_and(|(_, weight)| weight > 0 && weight == best)
}

/// RFC 9110 §12.5.3: the codings that are accepted. `identity` is, unless it is refused by its name or by `*`; what else
/// is refused only counts where `*` accepts the rest.
fn codings(value: &[u8]) -> Text {
    let mut accepted = SmallVec::<[Text; 8]>::new();
    let mut refused = SmallVec::<[Text; 8]>::new();
    for (name, weight) in list(value).map(weighed) {
        let mut lower = Text::from_slice(name);
        lower.make_ascii_lowercase();
        let lower = Text::from_slice(alias(&lower));
        if weight > 0 { &mut accepted } else { &mut refused }.push(lower);
    }
    let has = |list: &[Text], name: &[u8]| list.iter().any(|coding| **coding == *name);
    let others = has(&accepted, b"*");
    let no_identity = has(&refused, b"identity") || (has(&refused, b"*") && !others && !has(&accepted, b"identity"));
    refused.retain(|coding| others && **coding != *b"identity" && **coding != *b"*");
    accepted.retain(|coding| **coding != *b"identity");
    let sorted = |list: &mut SmallVec<[Text; 8]>| {
        list.sort_unstable();
        list.dedup();
    };
    sorted(&mut accepted);
    sorted(&mut refused);
    let mut meaning = Text::new();
    for coding in &accepted {
        put(&mut meaning, b"", coding);
    }
    for coding in &refused {
        put(&mut meaning, b"!", coding);
    }
    if no_identity {
        put(&mut meaning, b"!", b"identity");
    }
    meaning
}

/// Alternatives with their weights. Of a media type only the type itself is known to be the same in any case.
fn alternatives(value: &[u8], media_types: bool) -> Text {
    let mut members: SmallVec<[(Text, u16); 8]> = list(value)
        .map(|member| {
            let (name, weight) = weighed(member);
            let mut name: Text = name.iter().copied().filter(|byte| !matches!(byte, b' ' | b'\t')).collect();
            let lower = if media_types { name.iter().position(|&byte| byte == b';') } else { None };
            let lower = lower.unwrap_or(name.len());
            name[..lower].make_ascii_lowercase();
            (name, weight)
        })
        .collect();
    members.sort_unstable();
    members.dedup();
    let mut meaning = Text::new();
    for (name, weight) in &members {
        put(&mut meaning, b"", name);
        if *weight < FULL {
            meaning.push(b';');
            meaning.extend_from_slice(&weight.to_be_bytes());
        }
    }
    meaning
}

/// Any other list: the order and the case may count, the space round a comma does not.
fn without_space(value: &[u8]) -> Text {
    let mut meaning = Text::new();
    for member in list(value) {
        put(&mut meaning, b"", member);
    }
    meaning
}

fn put(meaning: &mut Text, mark: &[u8], member: &[u8]) {
    if !meaning.is_empty() {
        meaning.push(b',');
    }
    meaning.extend_from_slice(mark);
    meaning.extend_from_slice(member);
}

/// RFC 9110 §8.4.1: these two have an old name.
fn alias(coding: &[u8]) -> &[u8] {
    match coding {
        b"x-gzip" => b"gzip",
        b"x-compress" => b"compress",
        other => other,
    }
}

/// The members of a list that are not empty. A comma in quotes ends none.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |&byte| {
            let literal = std::mem::take(&mut escaped);
            match byte {
                b'\\' if quoted && !literal => escaped = true,
                b'"' if !literal => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        })
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// A member without its weight, and its weight in thousandths. A weight that cannot be read counts as none was given.
fn weighed(member: &[u8]) -> (&[u8], u16) {
    let Some(at) = member.iter().rposition(|&byte| byte == b';') else { return (member, FULL) };
    let (name, weight) = (member[..at].trim_ascii(), member[at + 1..].trim_ascii());
    match weight {
        [b'q' | b'Q', b'=', digits @ ..] => (name, thousandths(digits).unwrap_or(FULL)),
        _ => (member, FULL),
    }
}

fn thousandths(digits: &[u8]) -> Option<u16> {
    let (whole, part) = match digits {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', part @ ..] if part.len() <= 3 => (whole, part),
        _ => return None,
    };
    let mut weight = u16::from(whole.checked_sub(b'0').filter(|whole| *whole <= 1)?);
    for nth in 0..3 {
        let digit = part.get(nth).map_or(Some(0), |digit| digit.checked_sub(b'0').filter(|digit| *digit <= 9))?;
        weight = weight * 10 + u16::from(digit);
    }
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests;
