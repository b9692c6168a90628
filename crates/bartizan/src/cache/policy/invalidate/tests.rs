use super::super::support::{head, values, with};
use super::*;
use proptest::prelude::*;

fn target(path: &str) -> Target {
    Target {
        scheme: Scheme::HTTP,
        authority: Authority::from_static("Example.com"),
        path_and_query: PathAndQuery::try_from(path).unwrap(),
    }
}

fn gone(method: &str, status: u16, answer: &[(&str, &str)]) -> Vec<String> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    let gone = invalidated(&method, &target("/a/b?q"), status, &head(answer.iter().copied()));
    gone.iter().map(|target| target.path_and_query.to_string()).collect()
}

#[test]
fn an_unsafe_or_unknown_method_takes_its_target_away_if_it_succeeds() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL", "FOO", "get"] {
        for status in [200, 204, 299, 301, 399] {
            assert_eq!(gone(method, status, &[]), ["/a/b?q"], "{method} {status}");
        }
        for status in [100, 400, 404, 500, 599] {
            assert!(gone(method, status, &[("location", "/c")]).is_empty(), "{method} {status}");
        }
    }
}

#[test]
fn a_safe_method_takes_nothing_away() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY", "PROPFIND", "REPORT", "SEARCH"] {
        assert!(gone(method, 200, &[("location", "/c")]).is_empty(), "{method}");
    }
}

#[test]
fn what_the_answer_tells_of_the_same_origin_is_taken_away_too() {
    let answer = [("location", "/c"), ("content-location", "http://example.com/d"), ("content-location", "/a/b?q")];
    assert_eq!(gone("POST", 201, &answer), ["/a/b?q", "/c", "/d"]);
}

#[test]
fn nobody_takes_away_what_is_of_another_origin() {
    for other in [
        "http://example.org/c",
        "https://example.com/c",
        "//example.org/c",
        "http://example.com:81/c",
        "//user@example.com/c",
        "http:///c",
        "http:c",
        "mailto:c",
        "http://example.com.org/c",
        "http://example.com@example.org/c",
    ] {
        assert_eq!(gone("POST", 200, &[("location", other)]), ["/a/b?q"], "{other}");
    }
}

/// Those of RFC 3986 §5.4 that are of the same origin.
#[test]
fn references_are_resolved_against_the_target() {
    let base = target("/b/c/d;p?q");
    for (reference, path) in [
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"),
        ("g#s", "/b/c/g"),
        ("g?y#s", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        ("..g", "/b/c/..g"),
        ("./g/.", "/b/c/g/"),
        ("g/../h", "/b/c/h"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("HTTP://EXAMPLE.COM:80/g", "/g"),
        ("//example.com:", "/"),
        ("//example.com?x", "/?x"),
        ("//example.com/a/../b", "/b"),
        (" /g ", "/g"),
    ] {
        assert_eq!(
            base.resolve(reference).map(|target| target.path_and_query.to_string()).as_deref(),
            Some(path),
            "{reference}"
        );
    }
}

#[test]
fn an_address_has_colons_of_its_own() {
    let base = Target { authority: Authority::from_static("[::1]"), ..target("/") };
    assert!(base.resolve("http://[::1]:80/a").is_some());
    assert!(base.resolve("http://[::1]:81/a").is_none());
    assert!(base.resolve("http://[::2]/a").is_none());
}

#[test]
fn only_so_much_is_looked_at() {
    let long = format!("/{}", "x".repeat(LENGTH));
    assert_eq!(gone("POST", 200, &[("location", &*long)]), ["/a/b?q"]);
    let many: Vec<_> = (0..9).map(|nth| format!("/{nth}")).collect();
    let answer: Vec<_> = many.iter().map(|path| ("location", &**path)).collect();
    assert_eq!(gone("POST", 200, &answer).len(), 1 + LINES);
}

proptest! {
    #[test]
    fn no_location_makes_it_panic_or_leaves_the_origin(values in values()) {
        let gone = invalidated(&Method::POST, &target("/a/b"), StatusCode::OK, &with(&header::LOCATION, &values));
        prop_assert!(gone.iter().all(|gone| gone.authority == "example.com" && gone.path_and_query.as_str().starts_with('/')));
    }

    #[test]
    fn a_path_without_dots_is_itself(path in "(/[a-z]{0,2}){1,4}") {
        let resolved = target("/x").resolve(&format!("http://example.com{path}")).unwrap();
        prop_assert_eq!(resolved.path_and_query.as_str(), path);
    }
}
