use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

const DATE_NOW: &str = "Fri, 27 Nov 2026 00:00:00 GMT";
const MINUTE: Duration = Duration::from_secs(60);

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a field name");
        headers.append(name, HeaderValue::from_str(value).expect("a field value"));
    }
    headers
}

/// A response that came in the moment of `DATE_NOW`, at once.
fn arrival() -> Arrival {
    let now = Instant::now();
    Arrival { requested: now, received: now, wall: UNIX_EPOCH + Duration::from_secs(1_795_737_600) }
}

fn terms(policy: &CachePolicy, fields: &[(&str, &str)]) -> Terms {
    Terms::read(policy, StatusCode::OK, &headers(fields), &arrival())
}

fn lifetime(fields: &[(&str, &str)]) -> u64 {
    terms(&CachePolicy::new(), fields).lifetime.as_secs()
}

fn initial_age(fields: &[(&str, &str)]) -> u64 {
    terms(&CachePolicy::new(), fields).initial_age.as_secs()
}

#[test]
fn s_maxage_goes_before_max_age_and_that_before_expires() {
    let expires = ("expires", "Fri, 27 Nov 2026 00:00:30 GMT");
    assert_eq!(lifetime(&[("cache-control", "max-age=20, s-maxage=10"), expires]), 10);
    assert_eq!(lifetime(&[("cache-control", "max-age=20"), expires]), 20);
    assert_eq!(lifetime(&[("cache-control", "public"), expires, ("date", DATE_NOW)]), 30);
    assert_eq!(lifetime(&[("cache-control", "max-age=x"), expires]), 0, "what is wrong is not skipped");
    assert_eq!(lifetime(&[("cdn-cache-control", "public"), expires]), 0, "nor is a targeted field completed");
}

#[test]
fn expires_is_counted_from_date() {
    let expires = ("expires", "Fri, 27 Nov 2026 00:01:00 GMT");
    assert_eq!(lifetime(&[expires, ("date", "Thu, 26 Nov 2026 23:59:00 GMT")]), 120);
    assert_eq!(lifetime(&[expires, ("date", "Fri, 27 Nov 2026 00:00:59 GMT")]), 1);
    assert_eq!(lifetime(&[expires, ("date", "Fri, 27 Nov 2026 00:02:00 GMT")]), 0);
    assert_eq!(lifetime(&[expires]), 60, "without a Date, from when it came");
    assert_eq!(lifetime(&[expires, ("date", "yesterday")]), 60);
    assert_eq!(lifetime(&[expires, ("date", DATE_NOW), ("date", DATE_NOW)]), 60);
    assert_eq!(lifetime(&[("expires", "Friday, 27-Nov-26 00:01:00 GMT")]), 60);
    assert_eq!(lifetime(&[("expires", "Fri Nov 27 00:01:00 2026")]), 60);
    assert_eq!(lifetime(&[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")]), 1 << 31);
}

#[test]
fn an_invalid_expires_is_in_the_past() {
    for wrong in ["0", "-1", "", "never", "Fri, 27 Nov 2026 00:01:00 UTC", "Fri, 27 Nov 26 00:01:00 GMT"] {
        let policy = CachePolicy::rfc();
        let terms = terms(&policy, &[("expires", wrong), ("last-modified", "Thu, 26 Nov 2026 00:00:00 GMT")]);
        assert_eq!(terms.lifetime, Duration::ZERO, "{wrong}: nor is it guessed");
    }
    let twice = ("expires", "Fri, 27 Nov 2026 00:01:00 GMT");
    assert_eq!(lifetime(&[twice, twice]), 0);
}

#[test]
fn freshness_is_guessed_only_where_that_is_allowed() {
    let at = |status, policy: &CachePolicy, cache_control| {
        let fields = [("last-modified", "Thu, 26 Nov 2026 22:20:00 GMT"), ("cache-control", cache_control)];
        Terms::read(policy, status, &headers(&fields), &arrival()).lifetime.as_secs()
    };
    let rfc = CachePolicy::rfc();
    for status in [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(at(StatusCode::from_u16(status).unwrap(), &rfc, ""), 600, "{status}");
    }
    for status in [201, 299, 302, 303, 307, 400, 403, 451, 499, 500, 502, 503, 504, 599] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(at(status, &rfc, ""), 0, "{status}");
        assert_eq!(at(status, &rfc, "public"), 600, "{status} that is public");
    }
    assert_eq!(at(StatusCode::OK, &CachePolicy::new(), ""), 0);
    assert_eq!(at(StatusCode::OK, &rfc.clone().heuristics(10, MINUTE), ""), 60, "the cap");
    assert_eq!(at(StatusCode::OK, &rfc.clone().heuristics(50, Duration::MAX), ""), 3_000);
    assert_eq!(at(StatusCode::OK, &rfc.no_heuristics(), "public"), 0);
}

#[test]
fn a_date_of_modification_that_is_wrong_or_ahead_gives_no_guess() {
    for wrong in ["", "0", "Thu, 26 Nov 2026 22:20:00", "Fri, 27 Nov 2026 00:00:01 GMT"] {
        assert_eq!(terms(&CachePolicy::rfc(), &[("last-modified", wrong)]).lifetime, Duration::ZERO, "{wrong}");
    }
    let ancient = terms(&CachePolicy::rfc(), &[("last-modified", "Mon, 01 Jan 1900 00:00:00 GMT")]);
    assert_eq!(ancient.lifetime, Duration::from_secs(86_400));
}

#[test]
fn the_list_of_statuses_holds_where_the_response_says_nothing() {
    let policy = CachePolicy::rfc().fresh_for(StatusCode::NOT_FOUND, MINUTE);
    let read =
        |fields: &[(&str, &str)]| Terms::read(&policy, StatusCode::NOT_FOUND, &headers(fields), &arrival()).lifetime;
    assert_eq!(read(&[("last-modified", "Thu, 26 Nov 2026 00:00:00 GMT")]), MINUTE);
    assert_eq!(read(&[("cache-control", "max-age=1")]), Duration::from_secs(1));
    assert_eq!(read(&[("expires", "0")]), Duration::ZERO);
    assert_eq!(terms(&policy, &[]).lifetime, Duration::ZERO, "another status");
}

#[test]
fn the_first_age_counts_and_a_wrong_one_is_ignored() {
    for (age, wanted) in [
        (&["7200"][..], 7_200),
        (&["0"], 0),
        (&["007200"], 7_200),
        (&[" 7200 "], 7_200),
        (&["7200, 0"], 7_200),
        (&["7200", "0"], 7_200),
        (&["0, 7200"], 0),
        (&["0", "7200"], 0),
        (&["7200,7200"], 7_200),
        (&["2147483647"], (1 << 31) - 1),
        (&["2147483648"], 1 << 31),
        (&["18446744073709551615"], 1 << 31),
        (&["99999999999999999999999999"], 1 << 31),
        (&["7200.0"], 0),
        (&["-7200"], 0),
        (&["+7200"], 0),
        (&["7200s"], 0),
        (&["7200;a=b"], 0),
        (&["\"7200\""], 0),
        (&["'7200'"], 0),
        (&["7200 0"], 0),
        (&["x, 7200"], 0),
        (&["old"], 0),
        (&[""], 0),
    ] {
        let lines: Vec<_> = age.iter().map(|age| ("age", *age)).collect();
        assert_eq!(initial_age(&lines), wanted, "{age:?}");
        // What is ignored takes nothing away from what `Date` says.
        let old = ("date", "Thu, 26 Nov 2026 23:00:00 GMT");
        let dated: Vec<_> = lines.into_iter().chain([old]).collect();
        assert_eq!(initial_age(&dated), wanted.max(3_600), "{age:?} and Date");
    }
}

#[test]
fn a_response_is_as_old_as_the_older_of_date_and_age_says() {
    assert_eq!(initial_age(&[("date", "Thu, 26 Nov 2026 23:59:00 GMT")]), 60);
    assert_eq!(initial_age(&[("date", "Fri, 27 Nov 2026 00:01:00 GMT")]), 0, "a clock that is ahead");
    assert_eq!(initial_age(&[("date", "Thu, 26 Nov 2026 23:59:00 GMT"), ("age", "30")]), 60);
    assert_eq!(initial_age(&[("date", "Thu, 26 Nov 2026 23:59:00 GMT"), ("age", "90")]), 90);
    assert_eq!(initial_age(&[("date", "Mon, 01 Jan 1900 00:00:00 GMT")]), 1 << 31);
    let (mut slow, mut uneven) = (arrival(), arrival());
    slow.received += Duration::from_secs(5);
    assert_eq!(slow.initial_age(&headers(&[("age", "30")])), Duration::from_secs(35), "and the time that it took");
    assert_eq!(slow.initial_age(&headers(&[])), Duration::from_secs(5));
    uneven.wall += Duration::from_millis(900);
    assert_eq!(
        uneven.initial_age(&headers(&[("date", DATE_NOW)])),
        Duration::ZERO,
        "Date has no fractions of a second"
    );
}

#[test]
fn a_clock_before_1970_is_no_reason_to_panic() {
    let mut arrival = arrival();
    arrival.wall = UNIX_EPOCH - Duration::from_millis(1_500);
    let fields = headers(&[("date", DATE_NOW), ("expires", DATE_NOW), ("last-modified", DATE_NOW)]);
    let terms = Terms::read(&CachePolicy::rfc(), StatusCode::OK, &fields, &arrival);
    assert_eq!((terms.lifetime, terms.initial_age), (Duration::ZERO, Duration::ZERO));
}

#[test]
fn a_response_is_fresh_until_it_is_as_old_as_its_lifetime() {
    let terms = terms(&CachePolicy::new(), &[("cache-control", "max-age=60"), ("age", "20")]);
    let after = |seconds| terms.received + Duration::from_secs(seconds);
    let seen = |seconds| {
        let now = after(seconds);
        (terms.age(now).as_secs(), terms.is_fresh(now), terms.remaining(now).as_secs(), terms.stale_for(now).as_secs())
    };
    assert_eq!(seen(0), (20, true, 40, 0));
    assert_eq!(seen(39), (59, true, 1, 0));
    assert_eq!(seen(40), (60, false, 0, 0));
    assert_eq!(seen(50), (70, false, 0, 10));
    assert_eq!(terms.age(terms.received - MINUTE).as_secs(), 20, "a moment before it came");
}

#[test]
fn what_forbids_stale_answers_leaves_no_window() {
    let policy = CachePolicy::new().stale_while_revalidate(MINUTE);
    let windows = |cache_control: &str| {
        let terms = terms(&policy, &[("cache-control", cache_control)]);
        (terms.stale_while_revalidate.as_secs(), terms.stale_if_error.as_secs())
    };
    assert_eq!(windows("max-age=1"), (60, 86_400));
    assert_eq!(windows("max-age=1, stale-while-revalidate=5, stale-if-error=6"), (5, 6));
    assert_eq!(windows("max-age=1, stale-while-revalidate=0, stale-if-error=x"), (0, 0));
    assert_eq!(windows("public"), (0, 0), "nobody knows how long it is fresh");
    assert_eq!(windows("max-age=0"), (0, 0), "it never was fresh");
    assert_eq!(windows("max-age=0, stale-if-error=6"), (0, 6), "but if it says so");
    for never in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache", "no-cache, no-cache=\"a\""] {
        assert_eq!(
            windows(&format!("max-age=1, stale-while-revalidate=5, stale-if-error=6, {never}")),
            (0, 0),
            "{never}"
        );
    }
    assert_eq!(windows("max-age=1, no-cache=\"a\", stale-if-error=6"), (60, 6), "about a field only");
}

#[test]
fn a_response_is_kept_as_long_as_it_is_of_use() {
    let policy = CachePolicy::new().stale_if_error(Duration::ZERO).keep(Duration::from_secs(600));
    let kept = |fields: &[(&str, &str)]| {
        let terms = terms(&policy, fields);
        (terms.horizon() - terms.received).as_secs()
    };
    let etag = ("etag", "\"a\"");
    assert_eq!(kept(&[("cache-control", "max-age=60")]), 60);
    assert_eq!(kept(&[("cache-control", "max-age=60"), ("age", "20")]), 40);
    assert_eq!(kept(&[("cache-control", "max-age=60, stale-if-error=30"), ("age", "20")]), 70);
    assert_eq!(kept(&[("cache-control", "max-age=60, stale-if-error=30"), ("age", "80")]), 10);
    assert_eq!(kept(&[("cache-control", "max-age=60, stale-if-error=30"), ("age", "90")]), 0);
    assert_eq!(kept(&[("cache-control", "max-age=60"), etag]), 660);
    assert_eq!(kept(&[("cache-control", "max-age=60"), etag, ("age", "1000")]), 600);
    assert_eq!(kept(&[("cache-control", "no-cache, max-age=60"), etag]), 600);
    assert_eq!(kept(&[("cache-control", "no-cache, max-age=60")]), 0);
    assert_eq!(kept(&[("last-modified", DATE_NOW)]), 600);
}

#[test]
fn an_entity_tag_or_a_date_validates() {
    let at = arrival().wall;
    for (field, wanted) in [
        (("etag", "\"a\""), true),
        (("etag", "W/\"a\""), true),
        (("etag", "\"\""), true),
        (("etag", "a"), false),
        (("etag", "\""), false),
        (("etag", ""), false),
        (("last-modified", DATE_NOW), true),
        (("last-modified", "yesterday"), false),
    ] {
        assert_eq!(has_validator(&headers(&[field]), at), wanted, "{field:?}");
    }
}

proptest! {
    #[test]
    fn once_stale_it_is_never_fresh_again(
        age in any::<u64>(), max_age in any::<u64>(), delay in 0_u64..1 << 33, first in 0_u64..1 << 33, later in 0_u64..1 << 33,
    ) {
        let mut arrival = arrival();
        arrival.received += Duration::from_secs(delay);
        let (age, max_age) = (age.to_string(), format!("max-age={max_age}"));
        let fields = headers(&[("age", &age), ("cache-control", &max_age)]);
        let terms = Terms::read(&CachePolicy::new(), StatusCode::OK, &fields, &arrival);
        let first = arrival.requested + Duration::from_secs(first);
        let later = first + Duration::from_secs(later);
        prop_assert!(terms.is_fresh(first) || !terms.is_fresh(later));
        prop_assert!(terms.age(first) <= terms.age(later));
        prop_assert_eq!(terms.is_fresh(first), terms.remaining(first) > Duration::ZERO);
        prop_assert!(!terms.is_fresh(first) || terms.horizon() > first);
    }

    #[test]
    fn no_bytes_make_it_panic(
        name in proptest::sample::select(vec!["age", "date", "expires", "last-modified", "etag", "cache-control"]),
        value in prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), "[0-9, .-]{0,40}".prop_map(String::into_bytes)],
    ) {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let mut fields = headers(&[("date", DATE_NOW), ("last-modified", "Mon, 01 Jan 1900 00:00:00 GMT")]);
        fields.insert(name, value);
        let terms = Terms::read(&CachePolicy::rfc(), StatusCode::OK, &fields, &arrival());
        let _ = (terms.horizon(), has_validator(&fields, UNIX_EPOCH));
    }
}
