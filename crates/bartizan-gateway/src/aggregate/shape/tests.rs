use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn shaped(shape: &Shape, document: &str) -> Option<String> {
    shape.apply(document.as_bytes()).ok()
}

fn allow<const N: usize>(paths: [&str; N]) -> Shape {
    Shape { allow: Some(Paths::new(paths)), ..Shape::default() }
}

fn deny<const N: usize>(paths: [&str; N]) -> Shape {
    Shape { deny: Paths::new(paths), ..Shape::default() }
}

#[test]
fn allowed_fields_come_in_the_order_of_the_list() {
    let user = r#"{"plan":"pro","secret":1,"id":"u1"}"#;
    assert_eq!(shaped(&allow(["id", "name", "plan"]), user).unwrap(), r#"{"id":"u1","plan":"pro"}"#);
}

#[test]
fn paths_go_into_objects_and_through_arrays() {
    let order = r#"{"id":1,"to":{"city":"Rom","street":"x"},"items":[{"sku":"a","cost":1},{"sku":"b"}]}"#;
    assert_eq!(
        shaped(&allow(["to.city", "items.sku"]), order).unwrap(),
        r#"{"to":{"city":"Rom"},"items":[{"sku":"a"},{"sku":"b"}]}"#
    );
    assert_eq!(shaped(&deny(["to", "items.cost"]), order).unwrap(), r#"{"id":1,"items":[{"sku":"a"},{"sku":"b"}]}"#);
    assert_eq!(shaped(&allow(["id.inner", "to"]), order).unwrap(), r#"{"to":{"city":"Rom","street":"x"}}"#);
    assert_eq!(shaped(&allow(["a.b"]), r#"{"a":null}"#).unwrap(), r#"{"a":null}"#);
}

#[test]
fn a_whole_field_says_more_than_a_part_of_it() {
    let to = r#"{"to":{"city":"Rom","street":"x"}}"#;
    assert_eq!(shaped(&allow(["to", "to.city"]), to).unwrap(), to);
    assert_eq!(shaped(&allow(["to.city", "to"]), to).unwrap(), to);
    assert_eq!(shaped(&deny(["to.city", "to"]), to).unwrap(), "{}");
}

#[test]
fn a_renamed_field_wins_over_one_that_has_its_new_name() {
    let mut shape = Shape { rename: vec![("a".into(), "b".into())], ..Shape::default() };
    assert_eq!(shaped(&shape, r#"{"a":1,"b":2,"c":3}"#).unwrap(), r#"{"b":1,"c":3}"#);
    shape.rename.push(("b".into(), "a".into()));
    assert_eq!(shaped(&shape, r#"{"a":1,"b":2}"#).unwrap(), r#"{"b":1,"a":2}"#);
}

#[test]
fn the_target_is_unwrapped_and_each_element_of_a_collection_shaped() {
    let shape = Shape { target: vec!["data".into()], collection: true, ..deny(["x"]) };
    assert_eq!(shaped(&shape, r#"{"data":[{"x":1,"y":2},{}]}"#).unwrap(), r#"[{"y":2},{}]"#);
    assert_eq!(shaped(&shape, r#"{"data":{}}"#), None);
    assert_eq!(shaped(&shape, r#"{"other":[]}"#), None);
}

#[test]
fn numbers_come_out_as_they_went_in() {
    let numbers = r#"{"id":12345678,"big":123456789012345678901234567890,"pi":3.141592653589793238462643,"e":1E400,"one":1.0,"zero":-0.0}"#;
    assert_eq!(shaped(&Shape::default(), numbers).unwrap(), numbers);
    let reordered = shaped(&deny(["none"]), numbers).unwrap();
    for number in ["12345678,", "123456789012345678901234567890", "3.141592653589793238462643", "1E400", "1.0", "-0.0"]
    {
        assert!(reordered.contains(number), "{reordered}");
    }
}

#[test]
fn what_is_not_the_expected_json_is_refused() {
    for document in ["", "<html>", "[]", "1", "null", r#"{"a":1"#, r#"{"a":1}x"#, "{\"a\":\"\u{1}\"}"] {
        assert!(shaped(&Shape::default(), document).is_none(), "{document:?}");
    }
    assert!(Shape::default().apply(b"{\"a\":\"\xff\"}").is_err());
}

#[test]
fn a_tower_of_brackets_overflows_no_stack() {
    let tower = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(shaped(&deny(["a.b"]), &tower).is_none());
    assert_eq!(shaped(&deny(["b"]), &tower).unwrap(), tower);
}

/// The same rules, the slow and obvious way.
fn model(value: &Value, allow: Option<&[Vec<&str>]>, deny: &[Vec<&str>]) -> Option<Value> {
    let whole = |paths: &[Vec<&str>]| paths.iter().any(Vec::is_empty);
    let allow = allow.filter(|paths| !whole(paths));
    if whole(deny) {
        return None;
    }
    let below = |paths: &[Vec<&str>], name: &str| -> Vec<Vec<String>> {
        let inside = paths.iter().filter(|path| path[0] == name);
        inside.map(|path| path[1..].iter().map(ToString::to_string).collect()).collect()
    };
    match value {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields {
                let allowed = allow.map(|paths| below(paths, name));
                if allowed.as_ref().is_some_and(Vec::is_empty) {
                    continue;
                }
                let denied = below(deny, name);
                let borrow = |paths: &'_ [Vec<String>]| -> Vec<Vec<&'static str>> {
                    paths.iter().map(|path| path.iter().map(|name| known(name)).collect()).collect()
                };
                let (allowed, denied) = (allowed.map(|paths| borrow(&paths)), borrow(&denied));
                if let Some(value) = model(value, allowed.as_deref(), &denied) {
                    out.insert(name.clone(), value);
                }
            }
            Some(Value::Object(out))
        }
        Value::Array(elements) => Some(elements.iter().filter_map(|element| model(element, allow, deny)).collect()),
        Value::Null => Some(Value::Null),
        _ if allow.is_some() => None,
        scalar => Some(scalar.clone()),
    }
}

fn known(name: &str) -> &'static str {
    ["a", "b", "c"].into_iter().find(|known| *known == name).expect("a name of three")
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(json!(null)), any::<i64>().prop_map(Value::from), "[a-z\"\\\\é]{0,4}".prop_map(Value::from)];
    let value = leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[abc]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[abc]", value, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn paths() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4), 1..4)
}

proptest! {
    #[test]
    fn shaping_agrees_with_the_slow_and_obvious_way(
        document in documents(),
        allow in prop::option::of(paths()),
        deny in prop::option::of(paths()),
    ) {
        let joined = |paths: &Vec<Vec<&str>>| Paths::new(paths.iter().map(|path| path.join(".")));
        let shape = Shape {
            allow: allow.as_ref().map(joined),
            deny: deny.as_ref().map(joined).unwrap_or_default(),
            ..Shape::default()
        };
        let out: Value = serde_json::from_str(&shaped(&shape, &document.to_string()).unwrap()).unwrap();
        let expected = model(&document, allow.as_deref(), &deny.unwrap_or_default()).unwrap();
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn no_bytes_make_shaping_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[{}\\]\",:a1]{0,40}") {
        for document in [&bytes[..], text.as_bytes()] {
            let _ = allow(["a.b"]).apply(document);
            let _ = Shape { collection: true, rename: vec![("a".into(), "b".into())], ..deny(["a"]) }.apply(document);
        }
    }
}
