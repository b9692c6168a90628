use super::{
    super::{CachePolicy, ResponseDirectives, targeted::directives as response_directives},
    text::{field, sections},
};
use http::{
    HeaderMap, HeaderValue,
    header::{CACHE_CONTROL, CDN_CACHE_CONTROL},
};
use sfv::{BareItem, Dictionary, FieldType, ListEntry, Parser};

/// `CDN-Cache-Control` in lines, beside `Cache-Control`: it holds if it is a dictionary; written anew it means the same, and
/// what of it can be said in `Cache-Control` means the same there.
pub(in crate::cache) fn targeted(input: &[u8]) {
    let [targeted, control] = sections(input);
    let control = field(&CACHE_CONTROL, control);
    let mut head = field(&CDN_CACHE_CONTROL, targeted);
    let lines: Vec<_> = head.get_all(CDN_CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    let dictionary = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>().unwrap_or_default();
    head.extend(control.clone());
    let read = response_directives(&CachePolicy::new(), &head);
    let Some(text) = dictionary.serialize() else {
        assert_eq!(read, ResponseDirectives::read(&control));
        return;
    };
    assert!(read.targeted);
    head.insert(CDN_CACHE_CONTROL, HeaderValue::try_from(text).unwrap());
    assert_eq!(response_directives(&CachePolicy::new(), &head), read);

    let plain: Dictionary = dictionary.into_iter().filter(|(name, value)| is_plain(name.as_str(), value)).collect();
    let Some(text) = plain.serialize() else { return };
    let [targeted, plain] = [CDN_CACHE_CONTROL, CACHE_CONTROL]
        .map(|name| HeaderMap::from_iter([(name, HeaderValue::try_from(&text).unwrap())]));
    let plain = ResponseDirectives { targeted: true, ..ResponseDirectives::read(&plain) };
    assert_eq!(response_directives(&CachePolicy::new(), &targeted), plain);
}

/// What is written in the same way in both fields: digits, names without an argument, and strings.
fn is_plain(name: &str, value: &ListEntry) -> bool {
    let ListEntry::Item(item) = value else { return false };
    let is_of_type = match &item.bare_item {
        BareItem::Integer(seconds) => {
            i64::from(*seconds) >= 0
                && ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"].contains(&name)
        }
        BareItem::Boolean(flag) => {
            let takes_argument = name.contains("age") || name.starts_with("stale");
            *flag && !takes_argument
        }
        BareItem::String(_) => ["no-cache", "private"].contains(&name),
        _ => false,
    };
    is_of_type && item.params.is_empty()
}
