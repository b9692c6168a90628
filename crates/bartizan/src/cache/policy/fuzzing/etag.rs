use super::{
    super::{
        AskedAbout, add_validators,
        condition::is_not_modified,
        etag::{EntityTag, Wanted},
    },
    text::{field, lines, sections},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{ETAG, IF_NONE_MATCH},
};
use std::time::SystemTime;

/// `If-None-Match` in lines, and entity tags, each the only one of a response: what matches is what a naive reader finds,
/// and what a stored response is validated with selects it.
pub fn entity_tag(input: &[u8]) {
    let [asked, stored] = sections(input);
    let asked = field(&IF_NONE_MATCH, asked);
    let stored: Vec<HeaderMap> = lines(stored).map(|line| field(&ETAG, line)).collect();
    for head in &stored {
        one(&asked, head);
    }
    let mut request = HeaderMap::new();
    let about = add_validators(&mut request, stored.first(), stored.iter().skip(1));
    // What the request does not select is told by a strong tag only.
    let tags: Vec<_> = stored
        .iter()
        .enumerate()
        .filter_map(|(nth, head)| EntityTag::of(head).filter(|tag| nth == 0 || !tag.is_weak()))
        .collect();
    // A request says only so much.
    if tags.iter().map(|tag| tag.written().len() + 2).sum::<usize>() < 4096 {
        assert_eq!(about != AskedAbout::Nothing, !tags.is_empty());
        for tag in tags {
            assert!(Wanted::read(&request, &IF_NONE_MATCH).unwrap().matches(Some(tag)));
            assert!(naive_match(&request, Some(tag.written())));
        }
    }
}

fn one(asked: &HeaderMap, stored: &HeaderMap) {
    let value = stored.get(ETAG).map(|value| value.as_bytes().trim_ascii());
    let tag = EntityTag::of(stored);
    assert_eq!(tag.map(|tag| tag.written()), value.filter(|value| is_tag(value)));
    if let Some(tag) = tag {
        assert_eq!(tag.is_weak(), tag.written().starts_with(b"W/"));
        assert_eq!(tag.matches_strongly(&tag), !tag.is_weak());
        assert!(tag.matches_weakly(&tag));
    }
    let matches = Wanted::read(asked, &IF_NONE_MATCH).is_some_and(|wanted| wanted.matches(tag));
    assert_eq!(matches, naive_match(asked, tag.map(|tag| tag.written())));
    let (status, now) = (StatusCode::OK, SystemTime::UNIX_EPOCH);
    assert_eq!(is_not_modified(&Method::GET, asked, status, stored, || now), matches);
}

// ===== the naive reader =====

/// Whether all of it is one tag.
pub(super) fn is_tag(text: &[u8]) -> bool {
    match opaque(text) {
        Some(opaque) => opaque.iter().all(|&byte| byte > b' ' && byte != b'"' && byte != 0x7f),
        None => false,
    }
}

fn opaque(tag: &[u8]) -> Option<&[u8]> {
    tag.strip_prefix(b"W/").unwrap_or(tag).strip_prefix(b"\"")?.strip_suffix(b"\"")
}

fn naive_match(asked: &HeaderMap, stored: Option<&[u8]>) -> bool {
    let members: Vec<_> = asked.get_all(IF_NONE_MATCH).iter().flat_map(|line| members(line.as_bytes())).collect();
    match &*members {
        [star] if star == b"*" => true,
        _ => stored.is_some_and(|stored| {
            members.iter().filter(|member| is_tag(member)).any(|member| opaque(member) == opaque(stored))
        }),
    }
}

/// Cut at commas, but not at those in a tag, which begins where a member does.
fn members(line: &[u8]) -> Vec<Vec<u8>> {
    let mut members = vec![];
    let mut rest = line;
    while !rest.is_empty() {
        rest = rest.trim_ascii_start();
        let tag = (0..=rest.len()).find(|&end| is_tag(&rest[..end])).unwrap_or(0);
        let end = rest[tag..].iter().position(|&byte| byte == b',').map_or(rest.len(), |comma| tag + comma);
        let member = rest[..end].trim_ascii();
        if !member.is_empty() {
            members.push(member.to_vec());
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    members
}
