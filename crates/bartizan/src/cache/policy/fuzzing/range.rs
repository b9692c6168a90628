use super::{
    super::{
        ContentRange, Parts, RangeAsk, Resolved,
        condition::{date, only},
        content_range::content_range,
        if_range_holds, multipart, partial_head, slice, unsatisfiable_head,
    },
    etag::is_tag,
    text::{digits, field, head, lines, sections},
};
use bytes::Bytes;
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE},
};
use std::{collections::BTreeSet, ops::Range, time::Duration};

/// A content is so long at most, so that each of its bytes can be looked at.
const LENGTH: u64 = 300;

/// Where the bytes are that each range asks for.
type Places = Vec<Vec<u64>>;

/// `Range` in lines; how long a content is, and `Content-Range`s of parts of it; `If-Range` in lines; and a stored head.
/// What a client gets are the bytes that it names, by a model that looks at each.
pub fn range(input: &[u8]) {
    let [asked, said, condition, stored] = sections(input);
    let (asked, condition, stored) = (field(&RANGE, asked), field(&IF_RANGE, condition), head(stored));
    let mut said = lines(said);
    let complete = said.next().and_then(digits).unwrap_or(10);
    let parts: Vec<_> = said.map(|line| field(&CONTENT_RANGE, line)).collect();

    assert_eq!(if_range_holds(&condition, &stored), naive_if_range(&condition, &stored));
    parts.iter().for_each(said_of_part);

    let content: Bytes = (0..=u8::MAX).cycle().take(usize::try_from(complete % LENGTH).unwrap()).collect();
    let ask = RangeAsk::read(&asked);
    let named = naive(&asked, content.len() as u64);
    assert_eq!(ask.is_some(), named.is_some());
    let Some((ask, (named, has_last))) = ask.zip(named) else { return };
    resolve(&ask, &named, has_last, &stored, &content);
    of_parts(&ask, &parts, &content);
    huge(&ask, complete);
}

/// However long it is, each range is one of it.
fn huge(ask: &RangeAsk, complete: u64) {
    let is_of_it = |range: &Range<u64>| range.start < range.end && range.end <= complete;
    match ask.resolve(complete) {
        Resolved::One(range) => assert!(is_of_it(&range)),
        Resolved::Many(ranges) => assert!(ranges.len() > 1 && ranges.iter().all(is_of_it)),
        Resolved::Full | Resolved::Unsatisfiable => {}
    }
}

fn resolve(ask: &RangeAsk, named: &Places, has_last: bool, stored: &HeaderMap, content: &Bytes) {
    let complete = content.len() as u64;
    let too_much = named.len() > 1 && named.iter().map(Vec::len).sum::<usize>() > content.len();
    match ask.resolve(complete) {
        Resolved::Full => assert!(too_much || complete == 0 && has_last),
        Resolved::Unsatisfiable => {
            assert!(named.is_empty() && !(complete == 0 && has_last));
            let head = unsatisfiable_head(stored, complete);
            assert_eq!(head[CONTENT_RANGE], format!("bytes */{complete}"));
            assert_eq!((ContentRange::read(&head), head.get_all(CONTENT_LENGTH).iter().count()), (None, 1));
        }
        Resolved::One(range) => {
            assert_eq!((&vec![range.clone().collect()], too_much), (named, false));
            let head = partial_head(stored, &range, Some(complete));
            assert_eq!(head[CONTENT_LENGTH], named[0].len().to_string());
            assert_eq!(
                ContentRange::read(&head),
                Some(ContentRange { range: range.clone(), complete: Some(complete) })
            );
            assert_eq!(slice(content, &range).unwrap(), bytes_at(content, &named[0]));
        }
        Resolved::Many(ranges) => {
            let many: Places = ranges.iter().cloned().map(Iterator::collect).collect();
            assert_eq!((&many, too_much), (named, false));
            let cut = |range: &Range<u64>, pieces: &mut Vec<Bytes>| {
                pieces.push(slice(content, range)?);
                Some(())
            };
            let (head, pieces) = multipart(stored, &ranges, complete, "B0UNDARY", cut).unwrap();
            let body = pieces.concat();
            assert_eq!(head[CONTENT_LENGTH], body.len().to_string());
            let read: Vec<_> = read_multipart(&body, complete);
            assert_eq!(read, named.iter().map(|named| bytes_at(content, named)).collect::<Vec<_>>());
        }
    }
}

/// The contents of the parts, each of which is as long as it says.
fn read_multipart(mut body: &[u8], complete: u64) -> Vec<Vec<u8>> {
    let mut parts = vec![];
    loop {
        body = body.strip_prefix(b"\r\n").filter(|_| !parts.is_empty()).unwrap_or(body);
        body = body.strip_prefix(b"--B0UNDARY").unwrap();
        if body == b"--\r\n" {
            return parts;
        }
        let end = body.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let mut lines = body[..end].split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
        let said = lines.find_map(|line| line.strip_prefix(b"Content-Range: ")).unwrap();
        let said = ContentRange::read(&field(&CONTENT_RANGE, said)).unwrap();
        assert_eq!(said.complete, Some(complete));
        let length = usize::try_from(said.range.end - said.range.start).unwrap();
        let (part, rest) = body[end + 4..].split_at(length);
        parts.push(part.to_vec());
        body = rest;
    }
}

/// What is read is what a naive reader reads, and what is written of it is read back.
fn said_of_part(head: &HeaderMap) {
    let read = ContentRange::read(head);
    let naive = only(head, &CONTENT_RANGE).and_then(|value| naive_content_range(value.as_bytes().trim_ascii()));
    assert_eq!(read.as_ref().map(|read| (read.range.clone(), read.complete)), naive);
    if let Some(said) = read {
        let head = HeaderMap::from_iter([(CONTENT_RANGE, content_range(&said.range, said.complete))]);
        assert_eq!(ContentRange::read(&head), Some(said));
    }
}

/// Parts that came one after the other have what any of them has, and give no more.
fn of_parts(ask: &RangeAsk, said: &[HeaderMap], content: &Bytes) {
    let complete = content.len() as u64;
    let tag = HeaderMap::from_iter([(ETAG, "\"a\"".parse().unwrap())]);
    let mut all: Option<Parts> = None;
    let mut places = BTreeSet::new();
    for head in said {
        let Some(said) = ContentRange::read(head) else { continue };
        let Some(bytes) = slice(content, &said.range) else { continue };
        if said.complete.is_some_and(|other| other != complete) {
            continue;
        }
        assert_eq!(Parts::of(head, bytes.slice(1..)), None);
        let part = Parts::of(head, bytes).unwrap();
        all = Some(match &all {
            None => part,
            Some(before) => before.and(&tag, &part, &tag).unwrap(),
        });
        places.extend(said.range);
    }
    let Some(parts) = all else { return };
    assert_eq!(parts.len(), places.len() as u64);
    let missing: Vec<u64> = parts.missing(&(0..complete)).into_iter().flatten().collect();
    assert_eq!(missing, (0..complete).filter(|place| !places.contains(place)).collect::<Vec<_>>());
    let is_whole = parts.complete().is_some() && missing.is_empty();
    assert_eq!(parts.whole(), is_whole.then(|| content.clone()));

    let given = parts.resolve(ask).into_iter().flat_map(|resolved| match resolved {
        Resolved::Full | Resolved::Unsatisfiable => vec![],
        Resolved::One(range) => vec![range],
        Resolved::Many(ranges) => ranges.into_vec(),
    });
    for range in given {
        let mut pieces = vec![];
        parts.slice(&range, &mut pieces).unwrap();
        assert_eq!(pieces.concat(), slice(content, &range).unwrap());
    }
    let mut request = HeaderMap::new();
    let asks = parts.ask_for_missing(&tag, None, &mut request);
    assert_eq!(asks, !is_whole);
    if let (true, Some(complete)) = (asks, parts.complete()) {
        let Resolved::One(range) = RangeAsk::read(&request).unwrap().resolve(complete) else { panic!("{request:?}") };
        assert!(missing.iter().all(|place| range.contains(place)));
        assert!(missing.contains(&range.start) && missing.contains(&(range.end - 1)));
    }
}

fn bytes_at(content: &Bytes, places: &[u64]) -> Vec<u8> {
    places.iter().map(|&place| content[usize::try_from(place).unwrap()]).collect()
}

// ===== the naive readers =====

/// Which bytes each range names that names any, and whether one asks for the last ones; `None` if nothing valid is asked.
fn naive(asked: &HeaderMap, complete: u64) -> Option<(Places, bool)> {
    let text = only(asked, &RANGE)?.to_str().ok()?;
    let (unit, list) = text.split_once('=')?;
    let members = list.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let members = members.collect::<Vec<_>>();
    // So many may be asked for.
    if !unit.eq_ignore_ascii_case("bytes") || members.is_empty() || members.len() > 16 {
        return None;
    }
    let mut has_last = false;
    let mut named = vec![];
    for member in members {
        let (first, last) = member.split_once('-')?;
        let number = |text: &str| if text.is_empty() { Some(None) } else { digits(text.as_bytes()).map(Some) };
        let is_named: Box<dyn Fn(u64) -> bool> = match (number(first)?, number(last)?) {
            (None, None) => return None,
            (Some(first), Some(last)) if first > last => return None,
            (Some(first), Some(last)) => Box::new(move |place| first <= place && place <= last),
            (Some(first), None) => Box::new(move |place| first <= place),
            (None, Some(last)) => {
                has_last |= last > 0;
                Box::new(move |place| complete - place <= last)
            }
        };
        named.push((0..complete).filter(|place| is_named(*place)).collect());
    }
    named.retain(|places: &Vec<u64>| !places.is_empty());
    Some((named, has_last))
}

fn naive_content_range(value: &[u8]) -> Option<(Range<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, said) = text.split_once(' ')?;
    let (range, complete) = said.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first.as_bytes())?, digits(last.as_bytes())?);
    let complete = if complete == "*" { None } else { Some(digits(complete.as_bytes())?) };
    let is_valid = unit.eq_ignore_ascii_case("bytes") && first <= last && complete.is_none_or(|all| last < all);
    (is_valid && last < u64::MAX).then(|| (first..last + 1, complete))
}

fn naive_if_range(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let mut values = asked.get_all(IF_RANGE).iter();
    let (Some(value), rest) = (values.next(), values.next()) else { return true };
    let value = value.as_bytes().trim_ascii();
    if rest.is_some() {
        return false;
    }
    if is_tag(value) {
        let tag = only(stored, &ETAG).map(|tag| tag.as_bytes().trim_ascii());
        return !value.starts_with(b"W") && tag == Some(value);
    }
    let dates = (date(asked, &IF_RANGE), date(stored, &LAST_MODIFIED), date(stored, &DATE));
    let (Some(asked), Some(modified), Some(made)) = dates else { return false };
    asked == modified && made >= modified + Duration::from_secs(1)
}
