use super::*;
use bartizan_store::Key;
use proptest::prelude::*;

fn read(fields: &[(&HeaderName, &str)], key: &CacheKey) -> Option<Stamped> {
    let fields = fields.iter().map(|(name, value)| ((*name).clone(), value.parse().unwrap()));
    let mut headers = HeaderMap::new();
    fields.for_each(|(name, value): (HeaderName, HeaderValue)| {
        headers.append(name, value);
    });
    Stamped::read(&headers, key)
}

fn key(url: &str) -> CacheKey {
    CacheKey::url(url).unwrap()
}

#[test]
fn tags_are_read_from_every_field_that_is_in_use() {
    let key = key("http://a/");
    let tags = [
        (&SURROGATE_KEY, "a  b"),
        (&SURROGATE_KEY, "c"),
        (&CACHE_TAG, "a, d e,, "),
        (&CACHE_GROUPS, "\"g\";x=1"),
        (&CACHE_GROUPS, "\"h\""),
    ];
    let stamped = read(&tags, &key).unwrap();
    let tag = |tag: &'static str| Label::Tag { partition: key.resource().partition, tag: tag.as_bytes() };
    let group = |group: &'static str| Label::Group { origin: key.origin(), group: group.as_bytes() };
    let expected = [tag("a"), tag("b"), tag("c"), tag("d e"), group("g"), group("h")];
    let places: Vec<_> = stamped.slots.iter().map(|slot| place(*slot)).collect();
    assert_eq!(places, expected.map(|label| Generations::slot_of(&label)));
}

#[test]
fn an_update_replaces_the_tags_of_the_fields_that_it_has_and_no_others() {
    let key = key("http://a/");
    let update = |stamped: &Stamped, fields: &[(HeaderName, &str)]| {
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        stamped.updated(&HeaderMap::from_iter(fields), &key)
    };
    let tags = |fields: &[(&HeaderName, &str)]| {
        let mut slots = read(fields, &key).unwrap().slots;
        slots.sort_unstable();
        slots
    };
    let sorted = |stamped: Stamped| {
        let mut slots = stamped.slots;
        slots.sort_unstable();
        slots
    };
    let stored = read(&[(&SURROGATE_KEY, "a b"), (&CACHE_TAG, "b,c"), (&CACHE_GROUPS, "\"g\"")], &key).unwrap();
    assert_eq!(update(&stored, &[]).unwrap(), stored);
    for (name, value, left) in [
        (SURROGATE_KEY, "x", [(&SURROGATE_KEY, "x"), (&CACHE_TAG, "b,c"), (&CACHE_GROUPS, "\"g\"")]),
        (CACHE_TAG, "x", [(&SURROGATE_KEY, "a b"), (&CACHE_TAG, "x"), (&CACHE_GROUPS, "\"g\"")]),
        (CACHE_TAG, "", [(&SURROGATE_KEY, "a b"), (&CACHE_TAG, ""), (&CACHE_GROUPS, "\"g\"")]),
        (CACHE_GROUPS, "\"x\"", [(&SURROGATE_KEY, "a b"), (&CACHE_TAG, "b,c"), (&CACHE_GROUPS, "\"x\"")]),
    ] {
        assert_eq!(sorted(update(&stored, &[(name.clone(), value)]).unwrap()), tags(&left), "{name}: {value}");
    }
    let many = (0..100).map(|tag| format!("{tag},")).collect::<String>();
    assert!(update(&read(&[(&CACHE_TAG, &many)], &key).unwrap(), &[(CACHE_TAG, &many)]).is_some());
    assert!(
        update(&read(&[(&SURROGATE_KEY, &many.replace(',', " x"))], &key).unwrap(), &[(CACHE_TAG, &many)]).is_none()
    );
    // What came from elsewhere does not say by which field, and stays.
    let unknown = Stamped { slots: [1, 2].into(), ..Stamped::default() };
    assert_eq!(update(&unknown, &[(CACHE_TAG, "x")]).unwrap().slots.len(), 3);
}

#[test]
fn groups_that_are_not_a_list_of_strings_are_none() {
    for field in ["a", "\"a\", b", "(\"a\")", "\"a", "\"a\" \"b\"", "\u{7f}"] {
        let headers = HeaderMap::from_iter([(
            CACHE_GROUPS,
            HeaderValue::from_bytes(field.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static("?")),
        )]);
        assert_eq!(groups(&headers, &CACHE_GROUPS), [""; 0], "{field}");
    }
}

#[test]
fn a_response_with_more_tags_than_can_be_kept_is_not_to_be_stored() {
    let key = key("http://a/");
    let tags = |n: usize| (0..n).map(|n| format!("tag-{n}")).collect::<Vec<_>>().join(" ");
    assert!(read(&[(&SURROGATE_KEY, &tags(100))], &key).is_some());
    assert!(read(&[(&SURROGATE_KEY, &tags(150))], &key).is_none());
    assert!(read(&[(&CACHE_TAG, &"t".repeat(9000))], &key).is_none());
    assert!(read(&[(&CACHE_GROUPS, &format!("\"{}\"", "t".repeat(9000)))], &key).is_none());
}

#[test]
fn the_same_tag_in_another_partition_and_the_same_group_of_another_origin_is_another() {
    let slots = |key: CacheKey| read(&[(&CACHE_TAG, "t"), (&CACHE_GROUPS, "\"g\"")], &key).unwrap().slots;
    let a = slots(key("http://a/"));
    assert_eq!(a, slots(key("http://a/other?query")));
    assert_eq!(a[0], slots(key("http://b/"))[0]);
    assert_ne!(a[1], slots(key("http://b/"))[1]);
    assert_ne!(a[1], slots(key("https://a/"))[1]);
    let tenant = slots(key("http://a/").partition(Key::new("acme")));
    assert!(a[0] != tenant[0] && a[1] != tenant[1]);
}

proptest! {
    #[test]
    fn any_bytes_are_tags_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let headers = HeaderMap::from_iter([SURROGATE_KEY, CACHE_TAG, CACHE_GROUPS].map(|name| (name, value.clone())));
            let _ = Stamped::read(&headers, &key("http://a/"));
        }
    }
}

#[test]
fn urls_that_differ_in_their_last_letters_have_places_of_their_own() {
    for prefix in ["http://shop.example/", "http://shop.example/products/", "http://h/", "http://h/?page="] {
        let slots: std::collections::HashSet<_> =
            (0..1_000).map(|n| Generations::slot_of(&Label::Url(key(&format!("{prefix}{n}")).resource()))).collect();
        // By chance alone, 970 of a thousand have one in 16 384 places.
        assert!(slots.len() > 950, "{prefix}: {}", slots.len());
    }
}
