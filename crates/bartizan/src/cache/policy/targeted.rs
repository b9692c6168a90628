//! Fields for one kind of cache (RFC 9213).

use super::{
    directives::{LONGEST, Reach, ResponseDirectives},
    options::CachePolicy,
};
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};
use std::time::Duration;

/// The directives of a response that are for this cache.
///
/// RFC 9213 §2.2: of the fields in the list, the first that is there, valid and not empty stands in the place of
/// `Cache-Control` and `Expires`, wholly; if there is none, `Cache-Control` holds.
pub(in crate::cache) fn directives(policy: &CachePolicy, headers: &HeaderMap) -> ResponseDirectives {
    let targeted = policy.targeted.iter().find_map(|name| read(headers, name));
    targeted.unwrap_or_else(|| ResponseDirectives::read(headers))
}

/// RFC 9213 §2.1: the field is a dictionary of structured fields; one that is not, or that is empty, is ignored as a whole.
fn read(headers: &HeaderMap, name: &HeaderName) -> Option<ResponseDirectives> {
    let mut lines = headers.get_all(name).into_iter();
    let first = lines.next()?.as_bytes();
    let dictionary: Dictionary = match lines.next() {
        None => Parser::new(first).parse().ok()?,
        Some(second) => {
            let mut all = first.to_vec();
            for line in std::iter::once(second).chain(lines) {
                all.extend_from_slice(b", ");
                all.extend_from_slice(line.as_bytes());
            }
            Parser::new(&all).parse().ok()?
        }
    };
    if dictionary.is_empty() {
        return None;
    }
    let mut directives = ResponseDirectives { targeted: true, ..ResponseDirectives::default() };
    for (name, value) in &dictionary {
        heed(&mut directives, name.as_str(), value);
    }
    Some(directives)
}

/// RFC 9213 §2.1: parameters are ignored, and so are a directive that is not known and one whose value is of another type
/// than its argument: an Integer for seconds, true where there is no argument.
fn heed(directives: &mut ResponseDirectives, name: &str, value: &ListEntry) {
    match name {
        "max-age" => directives.max_age = seconds(value),
        "s-maxage" => directives.s_maxage = seconds(value),
        "stale-while-revalidate" => directives.stale_while_revalidate = seconds(value),
        "stale-if-error" => directives.stale_if_error = seconds(value),
        "no-cache" => directives.no_cache = reach(value),
        "private" => directives.private = reach(value),
        "no-store" => directives.no_store = is_true(value),
        "public" => directives.public = is_true(value),
        "must-revalidate" => directives.must_revalidate = is_true(value),
        "proxy-revalidate" => directives.proxy_revalidate = is_true(value),
        "must-understand" => directives.must_understand = is_true(value),
        "immutable" => directives.immutable = is_true(value),
        _ => {}
    }
}

fn bare(value: &ListEntry) -> Option<&BareItem> {
    match value {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    }
}

fn is_true(value: &ListEntry) -> bool {
    matches!(bare(value), Some(BareItem::Boolean(true)))
}

/// A number below zero is of the right type, but no number of seconds: the response is stale, as it is with such a number in
/// `Cache-Control`.
fn seconds(value: &ListEntry) -> Option<Duration> {
    match bare(value)? {
        BareItem::Integer(seconds) => {
            let seconds = u64::try_from(i64::from(*seconds)).unwrap_or(0);
            Some(Duration::from_secs(seconds).min(LONGEST))
        }
        _ => None,
    }
}

/// True for the whole response. Field names may be a string with a list of them, as in `Cache-Control`, or an inner list;
/// what they are to be, the RFC leaves open.
fn reach(value: &ListEntry) -> Reach {
    let names = match value {
        ListEntry::InnerList(InnerList { items, .. }) => {
            let mut all = Vec::new();
            for item in items {
                all.extend_from_slice(text(&item.bare_item).unwrap_or("?:").as_bytes());
                all.push(b',');
            }
            Reach::names(&all)
        }
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Boolean(true) => None,
            item => match text(item) {
                Some(names) => Reach::names(names.as_bytes()),
                None => return Reach::Nothing,
            },
        },
    };
    let Some(names) = names else { return Reach::Whole };
    let mut reach = Reach::Nothing;
    reach.limit_fields(names);
    reach
}

fn text(item: &BareItem) -> Option<&str> {
    match item {
        BareItem::String(text) => Some(text.as_str()),
        BareItem::Token(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const HOUR: Option<Duration> = Some(Duration::from_secs(3_600));

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn read_of(fields: &[(&'static str, &'static str)]) -> ResponseDirectives {
        directives(&CachePolicy::rfc(), &headers(fields))
    }

    #[test]
    fn a_valid_targeted_field_stands_in_the_place_of_cache_control() {
        for (targeted, wanted) in [
            ("max-age=3600", HOUR),
            ("max-age=3600;foo=bar;q", HOUR),
            ("max-age=3600, foo=1, bar=(a b);c", HOUR),
            ("max-age=1, max-age=3600", HOUR),
            ("max-age=-1", Some(Duration::ZERO)),
            ("max-age=999999999999999", Some(LONGEST)),
            // Another type voids the directive, but not the field.
            ("max-age=\"3600\"", None),
            ("max-age=3600.0", None),
            ("max-age", None),
            ("max-age=(3600)", None),
            ("max-age=:aGVsbG8=:", None),
            ("foo", None),
        ] {
            let read = read_of(&[("cdn-cache-control", targeted), ("cache-control", "max-age=60, no-store, private")]);
            assert_eq!(read.max_age, wanted, "{targeted}");
            assert!(read.targeted && !read.no_store && read.private == Reach::Nothing, "{targeted}");
        }
    }

    #[test]
    fn a_targeted_field_that_is_empty_or_no_dictionary_leaves_cache_control_alone() {
        for targeted in [
            "",
            "  ",
            "max-age=3600, &&&&&",
            "max-age=3600,",
            "max-age =3600",
            "MAX-AGE=3600",
            "max-age='3600'",
            "max-age=\"3600",
            "max-age=99999999999999999999",
            "no-store; private",
        ] {
            let read = read_of(&[("cdn-cache-control", targeted), ("cache-control", "max-age=60")]);
            let plain = targeted == "no-store; private";
            assert_eq!(read.targeted, plain, "{targeted}");
            assert_eq!(read.max_age, if plain { None } else { Some(Duration::from_secs(60)) }, "{targeted}");
        }
    }

    #[test]
    fn several_lines_of_a_targeted_field_are_one_dictionary() {
        let read = read_of(&[("cdn-cache-control", "no-cache, max-age=60"), ("cdn-cache-control", "max-age=3600")]);
        assert_eq!((read.max_age, read.no_cache), (HOUR, Reach::Whole));
    }

    #[test]
    fn the_first_valid_field_of_the_target_list_decides() {
        let ours = HeaderName::from_static("bartizan-cache-control");
        let policy = CachePolicy::rfc().targeted([ours, HeaderName::from_static("cdn-cache-control")]);
        let both = [("cdn-cache-control", "max-age=60"), ("bartizan-cache-control", "max-age=3600")];
        assert_eq!(directives(&policy, &headers(&both)).max_age, HOUR);
        let broken = [("cdn-cache-control", "max-age=3600"), ("bartizan-cache-control", "max-age==60")];
        assert_eq!(directives(&policy, &headers(&broken)).max_age, HOUR);
        let none = CachePolicy::rfc().targeted([]);
        assert!(!directives(&none, &headers(&both)).targeted);
    }

    #[test]
    fn flags_of_a_targeted_field_are_true_or_they_are_not() {
        let read = read_of(&[("cdn-cache-control", "no-store, public=?0, must-revalidate=1, immutable=?1")]);
        assert!(read.no_store && !read.public && !read.must_revalidate && read.immutable);
    }

    #[test]
    fn a_targeted_field_limits_fields_by_a_string_or_a_list() {
        for value in ["private=\"set-cookie, X-A\"", "private=(\"set-cookie\" x-a)"] {
            let read = read_of(&[("cdn-cache-control", value)]);
            let names = [HeaderName::from_static("set-cookie"), HeaderName::from_static("x-a")];
            assert_eq!(read.private.fields(), names, "{value}");
        }
        for value in ["private", "private=\"a b\"", "private=()", "private=(1)"] {
            assert_eq!(read_of(&[("cdn-cache-control", value)]).private, Reach::Whole, "{value}");
        }
        assert_eq!(read_of(&[("cdn-cache-control", "private=?0")]).private, Reach::Nothing);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_targeted_field_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append("cdn-cache-control", value.clone());
            headers.append("cdn-cache-control", value);
            let _ = directives(&CachePolicy::rfc(), &headers);
        }
    }
}
