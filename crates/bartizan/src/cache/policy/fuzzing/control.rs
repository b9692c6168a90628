use super::{
    super::{Reach, RequestDirectives, ResponseDirectives, directives::LONGEST},
    text::{digits, field, sections},
};
use http::{
    HeaderMap, HeaderName,
    header::{CACHE_CONTROL, PRAGMA},
};
use std::{collections::BTreeSet, time::Duration};

/// A directive: its name in lower case, and what it says.
struct Said {
    name: Vec<u8>,
    argument: Argument,
}

#[derive(Clone, PartialEq)]
enum Argument {
    None,
    Meant(Vec<u8>),
    Broken,
}

/// `Cache-Control` in lines, and `Pragma` in lines: a response and a request say what a naive reader reads.
pub fn cache_control(input: &[u8]) {
    let [control, pragma] = sections(input);
    let control = field(&CACHE_CONTROL, control);
    let said = read(&control, &CACHE_CONTROL);
    response(&ResponseDirectives::read(&control), &said);

    let pragma = field(&PRAGMA, pragma);
    let old = read(&pragma, &PRAGMA).iter().any(|said| said.name == b"no-cache");
    let mut both = pragma;
    both.extend(control.clone());
    let (is_old, wanted) = (control.is_empty(), RequestDirectives::read(&both));
    request(&wanted, &said, is_old && old);
}

fn response(read: &ResponseDirectives, said: &[Said]) {
    assert_eq!(read.max_age, shortest(said, "max-age"));
    assert_eq!(read.s_maxage, shortest(said, "s-maxage"));
    assert_eq!(read.stale_while_revalidate, shortest(said, "stale-while-revalidate"));
    assert_eq!(read.stale_if_error, shortest(said, "stale-if-error"));
    assert_eq!(reach(&read.no_cache), limited(said, "no-cache"));
    assert_eq!(reach(&read.private), limited(said, "private"));
    assert_eq!(read.no_store, has(said, "no-store"));
    assert_eq!(read.public, all(said, "public").any(|argument| *argument == Argument::None));
    assert_eq!(read.must_revalidate, has(said, "must-revalidate"));
    assert_eq!(read.proxy_revalidate, has(said, "proxy-revalidate"));
    assert_eq!(read.must_understand, has(said, "must-understand"));
    assert_eq!(read.immutable, has(said, "immutable"));
    assert!(!read.targeted);
}

fn request(read: &RequestDirectives, said: &[Said], old_no_cache: bool) {
    assert_eq!(read.max_age, shortest(said, "max-age"));
    assert_eq!(read.stale_if_error, shortest(said, "stale-if-error"));
    assert_eq!(read.min_fresh, all(said, "min-fresh").map(|said| seconds(said).unwrap_or(Duration::MAX)).max());
    let stale = all(said, "max-stale").map(|said| match said {
        Argument::None => Duration::MAX,
        said => seconds(said).unwrap_or_default(),
    });
    assert_eq!(read.max_stale, stale.min());
    assert_eq!(read.no_cache, has(said, "no-cache") || old_no_cache);
    assert_eq!(read.no_store, has(said, "no-store"));
    assert_eq!(read.only_if_cached, has(said, "only-if-cached"));
}

// ===== the naive reader =====

fn read(head: &HeaderMap, name: &HeaderName) -> Vec<Said> {
    head.get_all(name)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
        .filter_map(|member| Said::read(&member))
        .collect()
}

/// Cut at each comma that is not quoted. In a member with a quote that never ends, none is.
fn members(line: &[u8]) -> Vec<Vec<u8>> {
    let mut members = vec![vec![]];
    let mut bytes = line.iter();
    let mut quoted = false;
    while let Some(&byte) = bytes.next() {
        if byte == b',' && !quoted {
            members.push(vec![]);
            continue;
        }
        let member = members.last_mut().unwrap();
        member.push(byte);
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => member.extend(bytes.next()),
            _ => {}
        }
    }
    if quoted {
        let open = members.pop().unwrap();
        members.extend(open.split(|&byte| byte == b',').map(<[u8]>::to_vec));
    }
    members
}

impl Said {
    fn read(member: &[u8]) -> Option<Self> {
        let member = member.trim_ascii();
        let (name, rest) = member.split_at(member.iter().take_while(|&&byte| is_of_token(byte)).count());
        let argument = match rest.split_first() {
            None => Argument::None,
            Some((b'=', [b'"', rest @ ..])) => unquoted(rest).map_or(Argument::Broken, Argument::Meant),
            Some((b'=', token)) if !token.is_empty() && token.iter().all(|&byte| is_of_token(byte)) => {
                Argument::Meant(token.to_vec())
            }
            Some(_) => Argument::Broken,
        };
        (!member.is_empty()).then(|| Self { name: name.to_ascii_lowercase(), argument })
    }
}

/// What stands before the quote that ends it, if nothing stands behind.
fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let mut meant = vec![];
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(meant),
            b'\\' => meant.push(*bytes.next()?),
            byte => meant.push(*byte),
        }
    }
}

/// RFC 9110 §5.6.2: what is visible, and is no delimiter.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"(),/:;<=>?@[\\]{}\"".contains(&byte)
}

fn all<'a>(said: &'a [Said], name: &str) -> impl Iterator<Item = &'a Argument> {
    said.iter().filter(move |said| said.name == name.as_bytes()).map(|said| &said.argument)
}

fn has(said: &[Said], name: &str) -> bool {
    all(said, name).next().is_some()
}

fn seconds(argument: &Argument) -> Option<Duration> {
    let Argument::Meant(text) = argument else { return None };
    digits(text).map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

fn shortest(said: &[Said], name: &str) -> Option<Duration> {
    all(said, name).map(|said| seconds(said).unwrap_or_default()).min()
}

/// The names of fields that are limited; `None` for the whole response.
fn limited(said: &[Said], name: &str) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for argument in all(said, name) {
        let Argument::Meant(text) = argument else { return None };
        let list = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        let more = list.map(|name| HeaderName::from_bytes(name).map(|name| name.to_string()));
        let more = more.collect::<Result<BTreeSet<_>, _>>().ok().filter(|names| !names.is_empty())?;
        names.extend(more);
    }
    // So many are kept.
    (names.len() <= 16).then_some(names)
}

fn reach(read: &Reach) -> Option<BTreeSet<String>> {
    match read {
        Reach::Whole => None,
        Reach::Nothing => Some(BTreeSet::new()),
        Reach::Fields(names) => {
            assert!(!names.is_empty());
            Some(names.iter().map(ToString::to_string).collect())
        }
    }
}
