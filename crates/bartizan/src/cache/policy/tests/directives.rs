use super::*;
use proptest::prelude::*;

fn lines(name: &HeaderName, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_str(line).expect("a field value"));
    }
    headers
}

fn response(all: &[&str]) -> ResponseDirectives {
    ResponseDirectives::read(&lines(&CACHE_CONTROL, all))
}

fn request(all: &[&str]) -> RequestDirectives {
    RequestDirectives::read(&lines(&CACHE_CONTROL, all))
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn names(names: &[&'static str]) -> Reach {
    Reach::Fields(names.iter().map(|name| HeaderName::from_static(name)).collect())
}

#[test]
fn a_number_of_seconds_is_digits_and_a_wrong_one_is_stale() {
    for (argument, wanted) in [
        ("max-age=60", 60),
        ("max-age=\"60\"", 60),
        ("max-age=\"6\\0\"", 60),
        ("max-age=0060", 60),
        ("MAX-AGE=60", 60),
        ("Max-Age=60", 60),
        ("max-age=0", 0),
        ("max-age=2147483647", (1 << 31) - 1),
        ("max-age=2147483648", 1 << 31),
        ("max-age=2147483649", 1 << 31),
        ("max-age=99999999999999999999999999999999", 1 << 31),
        ("max-age=-60", 0),
        ("max-age=+60", 0),
        ("max-age=60.0", 0),
        ("max-age=6e1", 0),
        ("max-age=0x3c", 0),
        ("max-age=60s", 0),
        ("max-age=s60", 0),
        ("max-age='60'", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=\"\"", 0),
        ("max-age=\" 60\"", 0),
        ("max-age =60", 0),
        ("max-age= 60", 0),
        ("max-age==60", 0),
        ("max-age=60 60", 0),
        ("max-age=\"60\"0", 0),
        ("max-age=\"60", 0),
        ("max-age:60", 0),
        ("max-age;60", 0),
    ] {
        assert_eq!(response(&[argument]).max_age, seconds(wanted), "{argument}");
        assert_eq!(request(&[argument]).max_age, seconds(wanted), "{argument} of a request");
        let shared = argument.to_ascii_lowercase().replace("max-age", "s-maxage");
        assert_eq!(response(&[&shared]).s_maxage, seconds(wanted), "{shared}");
    }
}

#[test]
fn other_names_that_look_alike_are_ignored() {
    for line in [
        "max-aged=60",
        "x-max-age=60",
        "maxage=60",
        "max_age=60",
        "s-max-age=60",
        "'max-age=60'",
        "=60",
        "\"max-age=60\"",
    ] {
        assert_eq!(response(&[line]), ResponseDirectives::default(), "{line}");
    }
}

#[test]
fn a_comma_in_quotes_does_not_end_a_directive() {
    for line in [
        "extension=\"max-age=3600\", max-age=1",
        "max-age=1, extension=\"max-age=3600\"",
        "extension=\"a, max-age=3600, b\", max-age=1",
        "extension=\"a\\\", public, \\\\\", max-age=1",
        "max-age=1, extension=a\"b, public, no-store\"",
    ] {
        let read = response(&[line]);
        assert_eq!(read, ResponseDirectives { max_age: seconds(1), ..ResponseDirectives::default() }, "{line}");
    }
}

#[test]
fn single_quotes_quote_nothing() {
    let read = response(&["extension='a, no-store, b'"]);
    assert!(read.no_store);
}

#[test]
fn nothing_hides_behind_a_quote_that_never_ends() {
    let read = response(&["max-age=\"60, no-store, private"]);
    assert!(read.no_store);
    assert_eq!((read.max_age, read.private), (seconds(0), Reach::Whole));
    let read = response(&["extension=\"a\\\", private", "no-store"]);
    assert!(read.no_store && read.private == Reach::Whole);
}

#[test]
fn lines_and_empty_members_make_one_list() {
    let read = response(&["", " , ,public", "\tno-cache ,,", ",s-maxage=60\t,"]);
    let wanted = ResponseDirectives {
        public: true,
        no_cache: Reach::Whole,
        s_maxage: seconds(60),
        ..ResponseDirectives::default()
    };
    assert_eq!(read, wanted);
}

#[test]
fn of_two_lifetimes_the_shorter_one_holds() {
    for all in [&["max-age=60, max-age=1"][..], &["max-age=1", "max-age=60"], &["max-age=1, MAX-AGE=\"60\""]] {
        assert_eq!(response(all).max_age, seconds(1), "{all:?}");
    }
    assert_eq!(response(&["max-age=60, max-age=x"]).max_age, seconds(0));
    let windows = response(&["stale-while-revalidate=9, stale-if-error=x, stale-while-revalidate=3"]);
    assert_eq!((windows.stale_while_revalidate, windows.stale_if_error), (seconds(3), seconds(0)));
}

#[test]
fn names_of_directives_are_compared_without_case() {
    let read = response(&[
        "NO-STORE, Public, MUST-revalidate, Proxy-Revalidate, IMMUTABLE, Must-Understand, PRIVATE, No-Cache",
    ]);
    let wanted = ResponseDirectives {
        no_store: true,
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        immutable: true,
        must_understand: true,
        private: Reach::Whole,
        no_cache: Reach::Whole,
        ..ResponseDirectives::default()
    };
    assert_eq!(read, wanted);
}

#[test]
fn an_argument_where_none_belongs_takes_no_limit_away_and_grants_nothing() {
    let read = response(&["no-store=x, must-revalidate=\"\", immutable=1, public=1"]);
    assert!(read.no_store && read.must_revalidate && read.immutable && !read.public);
}

#[test]
fn qualified_directives_are_about_their_fields() {
    for (line, wanted) in [
        ("private", Reach::Whole),
        ("private=\"set-cookie\"", names(&["set-cookie"])),
        ("PRIVATE=\"Set-Cookie, X-User\"", names(&["set-cookie", "x-user"])),
        ("private=set-cookie", names(&["set-cookie"])),
        ("private=\" , set-cookie,, \"", names(&["set-cookie"])),
        ("private=\"set\\-cookie\"", names(&["set-cookie"])),
        ("private=\"a\", private=\"b, a\"", names(&["a", "b"])),
        ("private=\"a\", private", Reach::Whole),
        ("private, private=\"a\"", Reach::Whole),
        ("private=\"\"", Reach::Whole),
        ("private=", Reach::Whole),
        ("private=\"a b\"", Reach::Whole),
        ("private=\"a", Reach::Whole),
        ("private = \"a\"", Reach::Whole),
        ("private=\"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\"", Reach::Whole),
        ("public", Reach::Nothing),
    ] {
        assert_eq!(response(&[line]).private, wanted, "{line}");
        let line = line.to_ascii_lowercase().replace("private", "no-cache");
        assert_eq!(response(&[&line]).no_cache, wanted, "{line}");
    }
    assert_eq!(names(&["a"]).fields(), ["a"]);
    assert!(Reach::Whole.fields().is_empty());
}

#[test]
fn a_field_that_stands_after_many_of_the_same_name_is_limited() {
    let again = "a,".repeat(17);
    assert_eq!(response(&[&format!("private=\"{again}set-cookie\"")]).private, names(&["a", "set-cookie"]));
    assert_eq!(response(&[&format!("private=\"{again}b c\"")]).private, Reach::Whole);
}

#[test]
fn a_request_says_what_it_wants() {
    let read =
        request(&["No-Store, only-if-cached", "max-age=1, min-fresh=2, max-stale=3, stale-if-error=4, no-cache"]);
    let wanted = RequestDirectives {
        max_age: seconds(1),
        min_fresh: seconds(2),
        max_stale: seconds(3),
        stale_if_error: seconds(4),
        no_cache: true,
        no_store: true,
        only_if_cached: true,
    };
    assert_eq!(read, wanted);
    assert_eq!(RequestDirectives::read(&HeaderMap::new()), RequestDirectives::default());
}

#[test]
fn what_a_request_does_not_say_clearly_asks_for_more() {
    assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
    assert_eq!(request(&["max-stale, max-stale=5"]).max_stale, seconds(5));
    for wrong in ["max-stale=x", "max-stale=", "max-stale=-1", "max-stale =5"] {
        assert_eq!(request(&[wrong]).max_stale, seconds(0), "{wrong}");
    }
    assert_eq!(request(&["min-fresh=x"]).min_fresh, Some(Duration::MAX));
    assert_eq!(request(&["min-fresh=1, min-fresh=9"]).min_fresh, seconds(9));
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    for (value, wanted) in
        [("no-cache", true), ("x, No-Cache", true), ("no-cache=1", true), ("no-store", false), ("", false)]
    {
        let mut headers = lines(&PRAGMA, &[value]);
        assert_eq!(RequestDirectives::read(&headers).no_cache, wanted, "{value}");
        headers.append(CACHE_CONTROL, HeaderValue::from_static("max-stale=1"));
        assert!(!RequestDirectives::read(&headers).no_cache, "{value} beside Cache-Control");
    }
}

/// Bytes that are likely to mean something.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let pieces = proptest::sample::select(vec![
        "max-age", "private", "no-store", "public", "=", "\"", "\\", ",", " ", "60", "'", "\t", "no-cache", "x",
    ]);
    proptest::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in prop_oneof![likely(), proptest::collection::vec(any::<u8>(), 0..80)]) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, value.clone());
        headers.append(CACHE_CONTROL, value.clone());
        let _ = (ResponseDirectives::read(&headers), RequestDirectives::read(&headers));
        headers.remove(CACHE_CONTROL);
        headers.append(PRAGMA, value);
        let _ = RequestDirectives::read(&headers);
    }

    #[test]
    fn no_store_holds_whatever_stands_before_it_unless_it_is_quoted(before in likely()) {
        let mut line = before.clone();
        line.extend_from_slice(b", no-store");
        let Ok(value) = HeaderValue::from_bytes(&line) else { return Ok(()) };
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
        // The naive way to see that `no-store` stands outside: nothing before it opens a quote.
        if !before.contains(&b'"') {
            prop_assert!(ResponseDirectives::read(&headers).no_store);
        }
        // A line of its own is never in the quotes of another.
        let mut headers = headers;
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        prop_assert!(ResponseDirectives::read(&headers).no_store);
    }

    #[test]
    fn a_line_of_quotes_is_read_in_one_go(quotes in 1_usize..20_000) {
        let line = "\\\",\"".repeat(quotes);
        prop_assert!(members(line.as_bytes()).count() <= line.len());
    }
}
