use super::super::{
    key::CacheKey,
    policy::fuzzing::{
        targeted,
        text::{field, sections},
    },
    tags::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, CACHE_TAG, SURROGATE_KEY, Stamped, groups},
};
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, FieldType, Item, List, ListEntry, Parser};

/// `Cache-Groups` in lines, and then [`CDN-Cache-Control` beside `Cache-Control`](targeted).
pub fn structured(input: &[u8]) {
    let [tags, rest] = sections(input);
    targeted(rest);

    let head = field(&CACHE_GROUPS, tags);
    let read = groups(&head, &CACHE_GROUPS);
    let lines: Vec<_> = head.get_all(CACHE_GROUPS).iter().map(HeaderValue::as_bytes).collect();
    let list = Parser::new(&lines.join(&b", "[..])).parse::<List>().unwrap_or_default();
    let strings = list.iter().map(|member| match member {
        ListEntry::Item(Item { bare_item: BareItem::String(text), .. }) => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(read, strings.collect::<Option<Vec<_>>>().unwrap_or_default());

    let plain: List =
        read.iter().map(|group| Item::new(sfv::String::from_string(group.clone()).unwrap()).into()).collect();
    if let Some(text) = plain.serialize() {
        let written = HeaderMap::from_iter([(CACHE_GROUP_INVALIDATION, HeaderValue::try_from(text).unwrap())]);
        assert_eq!(groups(&written, &CACHE_GROUP_INVALIDATION), read);
    }

    let key = CacheKey::url("http://a/").unwrap();
    let all = [SURROGATE_KEY, CACHE_TAG, CACHE_GROUPS].map(|name| field(&name, tags));
    let all: HeaderMap = all
        .into_iter()
        .flatten()
        .scan(None, |last, (name, value)| {
            *last = name.or(last.take());
            last.clone().map(|name| (name, value))
        })
        .collect();
    if let Some(stamped) = Stamped::read(&all, &key) {
        assert!(read.is_empty() || !stamped.slots.is_empty());
        assert_eq!(Stamped::read(&all, &key), Some(stamped));
    }
}
