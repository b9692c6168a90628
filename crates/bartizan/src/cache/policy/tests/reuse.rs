use super::*;
use http::{HeaderMap, HeaderValue, header::CACHE_CONTROL};
use proptest::prelude::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fresh for a minute, then in both windows for a minute; it came just now.
fn minute() -> Terms {
    Terms {
        received: Instant::now(),
        initial_age: Duration::ZERO,
        lifetime: seconds(60),
        no_cache: false,
        must_revalidate: false,
        immutable: false,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: seconds(60),
        keep: seconds(60),
    }
}

fn request(cache_control: &str) -> RequestDirectives {
    let value = HeaderValue::from_str(cache_control).expect("a field value");
    RequestDirectives::read(&HeaderMap::from_iter([(CACHE_CONTROL, value)]))
}

fn rfc(cache_control: &str, terms: &Terms, after: u64) -> Reuse {
    reuse(&CachePolicy::rfc(), &request(cache_control), terms, terms.received + seconds(after))
}

#[test]
fn a_fresh_response_is_the_answer_and_a_stale_one_is_validated() {
    let terms = minute();
    assert_eq!(rfc("", &terms, 59), Reuse::Fresh);
    assert_eq!(rfc("", &terms, 60), Reuse::Validate);
}

#[test]
fn a_client_may_ask_for_more() {
    for (cache_control, after, wanted) in [
        ("no-cache", 0, Reuse::Validate),
        ("max-age=0", 0, Reuse::Validate),
        ("max-age=30", 29, Reuse::Fresh),
        ("max-age=30", 30, Reuse::Validate),
        ("max-age=600", 61, Reuse::Validate),
        ("max-age=x", 0, Reuse::Validate),
        ("min-fresh=30", 30, Reuse::Fresh),
        ("min-fresh=30", 31, Reuse::Validate),
        ("min-fresh=x", 0, Reuse::Validate),
    ] {
        assert_eq!(rfc(cache_control, &minute(), after), wanted, "{cache_control} after {after} s");
    }
}

#[test]
fn a_client_may_take_a_stale_response() {
    for (cache_control, after, wanted) in [
        ("max-stale", 6_000, Reuse::Stale),
        ("max-stale=30", 59, Reuse::Fresh),
        ("max-stale=30", 90, Reuse::Stale),
        ("max-stale=30", 91, Reuse::Validate),
        ("max-stale=x", 61, Reuse::Validate),
        ("max-stale, no-cache", 61, Reuse::Validate),
        ("max-stale, max-age=30", 61, Reuse::Validate),
        ("max-stale, max-age=90", 61, Reuse::Stale),
        ("max-stale, min-fresh=1", 61, Reuse::Validate),
    ] {
        assert_eq!(rfc(cache_control, &minute(), after), wanted, "{cache_control} after {after} s");
    }
}

#[test]
fn max_stale_does_not_pull_out_what_has_to_be_validated() {
    for terms in [Terms { no_cache: true, ..minute() }, Terms { must_revalidate: true, ..minute() }] {
        for cache_control in ["max-stale", "max-stale=999999", "max-stale, max-age=999999"] {
            assert_eq!(rfc(cache_control, &terms, 61), Reuse::Validate, "{cache_control} {terms:?}");
        }
    }
    assert_eq!(rfc("max-stale", &Terms { no_cache: true, ..minute() }, 0), Reuse::Validate);
    assert_eq!(rfc("", &Terms { must_revalidate: true, ..minute() }, 59), Reuse::Fresh);
}

#[test]
fn a_policy_that_does_not_heed_requests_is_not_moved_by_them() {
    for cache_control in ["no-cache", "max-age=0", "min-fresh=99", "max-stale", "max-stale=99, stale-if-error=9999"] {
        let terms = minute();
        let safe = |after| {
            let now = terms.received + seconds(after);
            reuse(&CachePolicy::new(), &request(cache_control), &terms, now)
        };
        assert_eq!(
            (safe(0), safe(59), safe(60), safe(61)),
            (Reuse::Fresh, Reuse::Fresh, Reuse::Validate, Reuse::Validate)
        );
    }
}

#[test]
fn the_window_of_stale_while_revalidate_ends() {
    let terms = Terms { stale_while_revalidate: seconds(30), ..minute() };
    assert_eq!(rfc("", &terms, 59), Reuse::Fresh);
    assert_eq!(rfc("", &terms, 60), Reuse::WhileRevalidate);
    assert_eq!(rfc("", &terms, 89), Reuse::WhileRevalidate);
    assert_eq!(rfc("", &terms, 90), Reuse::Validate);
    assert_eq!(rfc("max-stale", &terms, 89), Reuse::WhileRevalidate);
    assert_eq!(rfc("max-stale", &terms, 90), Reuse::Stale);
    for wants_fresh in ["no-cache", "max-age=600", "min-fresh=1", "max-age=0"] {
        assert_eq!(rfc(wants_fresh, &terms, 61), Reuse::Validate, "{wants_fresh}");
    }
    for never in [Terms { no_cache: true, ..terms.clone() }, Terms { must_revalidate: true, ..terms.clone() }] {
        assert_eq!(rfc("", &never, 61), Reuse::Validate);
    }
}

#[test]
fn a_reload_does_not_ask_for_what_is_immutable() {
    let terms = Terms { immutable: true, ..minute() };
    assert_eq!(rfc("max-age=0", &terms, 59), Reuse::Fresh);
    assert_eq!(rfc("max-age=0", &terms, 60), Reuse::Validate, "it is no longer fresh");
    assert_eq!(rfc("max-age=0, max-stale", &terms, 60), Reuse::Validate, "and then max-age counts again");
    assert_eq!(rfc("no-cache", &terms, 0), Reuse::Validate, "the signal that RFC 8246 leaves to the client");
    assert_eq!(rfc("min-fresh=99", &terms, 0), Reuse::Validate);
}

#[test]
fn a_stale_response_stands_in_for_an_origin_that_fails() {
    let terms = minute();
    let stands_in = |after, why| {
        may_stand_in(&CachePolicy::new(), &RequestDirectives::default(), &terms, terms.received + seconds(after), why)
    };
    for why in [Failure::Unreachable, Failure::Open, Failure::TimedOut] {
        assert!(stands_in(0, why) && stands_in(119, why), "{why:?}");
        assert!(!stands_in(120, why), "{why:?}: the window ends");
    }
    for status in [500, 502, 503, 504] {
        assert!(stands_in(119, Failure::Status(StatusCode::from_u16(status).unwrap())), "{status}");
    }
    for status in [200, 304, 400, 403, 404, 410, 429, 501, 505, 599] {
        assert!(!stands_in(119, Failure::Status(StatusCode::from_u16(status).unwrap())), "{status}");
    }
}

#[test]
fn nothing_stands_in_against_its_own_word() {
    for terms in [Terms { no_cache: true, ..minute() }, Terms { must_revalidate: true, ..minute() }] {
        for policy in [CachePolicy::new(), CachePolicy::rfc()] {
            let now = terms.received + seconds(61);
            let asked = request("stale-if-error=9999, max-stale");
            assert!(!may_stand_in(&policy, &asked, &terms, now, Failure::Unreachable), "{terms:?}");
        }
    }
}

#[test]
fn a_request_may_widen_the_window_of_stale_if_error_where_it_is_heeded() {
    let terms = minute();
    let stands_in = |policy: &CachePolicy, cache_control, after| {
        let now = terms.received + seconds(after);
        may_stand_in(policy, &request(cache_control), &terms, now, Failure::TimedOut)
    };
    let (safe, rfc) = (CachePolicy::new(), CachePolicy::rfc());
    assert!(stands_in(&rfc, "stale-if-error=600", 659) && !stands_in(&rfc, "stale-if-error=600", 660));
    assert!(!stands_in(&safe, "stale-if-error=600", 121));
    assert!(stands_in(&rfc, "stale-if-error=0", 119), "the response allows it");
    assert!(stands_in(&rfc, "max-age=0", 119), "RFC 5861 §4: regardless of other freshness");
    assert!(!stands_in(&rfc, "no-cache", 0) && stands_in(&safe, "no-cache", 0));
}

fn terms() -> impl Strategy<Value = Terms> {
    let span = || (0_u64..100).prop_map(seconds);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (span(), span(), span(), span(), flags).prop_map(
        |(age, lifetime, refresh, failure, (no_cache, must, immutable))| Terms {
            initial_age: age,
            lifetime,
            no_cache,
            must_revalidate: must,
            immutable,
            stale_while_revalidate: refresh,
            stale_if_error: failure,
            ..minute()
        },
    )
}

fn directives() -> impl Strategy<Value = RequestDirectives> {
    let span = || proptest::option::of((0_u64..100).prop_map(seconds));
    (span(), span(), span(), span(), any::<bool>()).prop_map(
        |(max_age, min_fresh, max_stale, stale_if_error, no_cache)| RequestDirectives {
            max_age,
            min_fresh,
            max_stale,
            stale_if_error,
            no_cache,
            ..RequestDirectives::default()
        },
    )
}

/// How near to the origin an answer is: what a request asks for may only go up.
fn strictness(reuse: Reuse) -> u8 {
    match reuse {
        Reuse::Fresh => 0,
        Reuse::Stale | Reuse::WhileRevalidate => 1,
        Reuse::Validate => 2,
    }
}

proptest! {
    #[test]
    fn a_request_only_tightens_unless_it_says_max_stale(terms in terms(), mut asked in directives(), after in 0_u64..200) {
        asked.max_stale = None;
        let now = terms.received + seconds(after);
        let policy = CachePolicy::rfc();
        let plain = reuse(&policy, &RequestDirectives::default(), &terms, now);
        prop_assert!(strictness(reuse(&policy, &asked, &terms, now)) >= strictness(plain));
        prop_assert_eq!(reuse(&CachePolicy::new(), &asked, &terms, now), plain);
    }

    #[test]
    fn fresh_never_comes_back(terms in terms(), asked in directives(), after in 0_u64..200, later in 0_u64..200) {
        let first = terms.received + seconds(after);
        for policy in [CachePolicy::new(), CachePolicy::rfc()] {
            let at = |now| reuse(&policy, &asked, &terms, now);
            prop_assert!(at(first) == Reuse::Fresh || at(first + seconds(later)) != Reuse::Fresh);
        }
    }

    #[test]
    fn what_forbids_it_is_never_used_stale_or_without_validation(terms in terms(), asked in directives(), after in 0_u64..200) {
        let now = terms.received + seconds(after);
        let age = terms.initial_age + seconds(after);
        for policy in [CachePolicy::new(), CachePolicy::rfc()] {
            let used = reuse(&policy, &asked, &terms, now) != Reuse::Validate;
            let stands_in = may_stand_in(&policy, &asked, &terms, now, Failure::Unreachable);
            prop_assert!(!(terms.no_cache && (used || stands_in)));
            prop_assert!(!(terms.must_revalidate && age >= terms.lifetime && (used || stands_in)));
        }
    }
}
