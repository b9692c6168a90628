//! The decisions, by table and by property.
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use super::super::{
    attempt::X_RETRY_ATTEMPT,
    backoff::Backoff,
    crowd::Crowd,
    decision::{Failed, Standing, decide},
    ledger::{Grant, Ledger, SLOTS},
    policy::is_idempotent,
    told::Told,
    *,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use std::{error::Error, fmt, io, time::Duration};

const MS: Duration = Duration::from_millis(1);

// ===== the pause =====

fn backoff() -> impl Strategy<Value = Backoff> {
    let jitter = prop_oneof![Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::Decorrelated)];
    let time =
        || prop_oneof![(0..100_000_u64).prop_map(Duration::from_millis), Just(Duration::ZERO), Just(Duration::MAX)];
    (time(), time(), time(), jitter).prop_map(|(base, throttled, longest, jitter)| Backoff {
        base,
        throttled,
        longest,
        jitter,
    })
}

proptest! {
    /// T22: a jitter that comes after the cap makes it longer.
    #[test]
    fn no_pause_is_longer_than_the_longest_at_any_attempt(
        backoff in backoff(),
        retry in prop_oneof![0..40_u32, Just(u32::MAX), any::<u32>()],
        throttled in any::<bool>(),
        last in any::<u64>(),
        dice in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)],
    ) {
        let pause = backoff.pause(retry, throttled, Duration::from_nanos(last), dice);
        prop_assert!(pause <= backoff.longest);
    }

    /// The same in words that are easier to check: doubling one by one.
    #[test]
    fn pauses_double(base in 0..5_000_u64, longest in 0..60_000_u64, retry in 0..30_u32, dice in any::<u64>()) {
        let mut whole = u128::from(base) * 1_000_000;
        for _ in 0..retry {
            whole *= 2;
        }
        let whole = whole.min(u128::from(longest) * 1_000_000);
        let of = |jitter| {
            let backoff = Backoff { base: MS * u32::try_from(base).unwrap(), throttled: MS, longest: Duration::from_millis(longest), jitter };
            let pause = |dice| backoff.pause(retry, false, Duration::ZERO, dice).as_nanos();
            (pause(0), pause(dice), pause(u64::MAX))
        };
        let (least, any, most) = of(Jitter::Full);
        prop_assert_eq!((least, most), (0, whole));
        prop_assert!(any <= whole);
        let (least, _, most) = of(Jitter::Equal);
        prop_assert_eq!((least, most), (whole - whole / 2, whole));
    }
}

#[test]
fn the_figures_are_those_of_the_documentation() {
    let pause = |retry, throttled, dice| Backoff::DEFAULT.pause(retry, throttled, Duration::ZERO, dice);
    assert_eq!(pause(0, false, u64::MAX), 50 * MS);
    assert_eq!(pause(1, false, u64::MAX), 100 * MS);
    assert_eq!(pause(0, true, u64::MAX), 1000 * MS);
    assert_eq!(pause(30, false, u64::MAX), 20_000 * MS);
    assert_eq!(pause(u32::MAX, true, u64::MAX), 20_000 * MS);
    assert_eq!(pause(3, false, 0), Duration::ZERO);
}

#[test]
fn a_decorrelated_pause_grows_from_the_last_one() {
    let backoff = Backoff { jitter: Jitter::Decorrelated, ..Backoff::DEFAULT };
    assert_eq!(backoff.pause(1, false, 50 * MS, u64::MAX), 150 * MS);
    assert_eq!(backoff.pause(1, false, 50 * MS, 0), 50 * MS);
    assert_eq!(backoff.pause(9, false, 19_000 * MS, u64::MAX), 20_000 * MS);
}

/// Many clients that have failed at once would come back at once.
#[test]
fn the_first_decorrelated_pause_is_spread_too() {
    let backoff = Backoff { jitter: Jitter::Decorrelated, ..Backoff::DEFAULT };
    let first = |throttled, last, dice| backoff.pause(0, throttled, last, dice);
    assert_eq!((first(false, Duration::ZERO, 0), first(false, Duration::ZERO, u64::MAX)), (50 * MS, 150 * MS));
    assert_eq!((first(true, Duration::ZERO, 0), first(true, Duration::ZERO, u64::MAX)), (1000 * MS, 3000 * MS));
    // And the first one after being throttled, however short the last one was.
    assert_eq!((first(true, 60 * MS, 0), first(true, 60 * MS, u64::MAX)), (1000 * MS, 3000 * MS));
    let short = Backoff { longest: 100 * MS, ..backoff };
    assert_eq!(short.pause(0, false, Duration::ZERO, u64::MAX), 100 * MS);
}

// ===== the budget =====

#[derive(Clone, Copy, Debug)]
enum Act {
    Deposit,
    Withdraw,
    Refund,
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Deposit),
        4 => Just(Act::Withdraw),
        1 => Just(Act::Refund),
        2 => (0..4_u64).prop_map(Act::Wait),
        1 => (0..40_u64).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 0..300)
}

/// A ledger that keeps every entry with its slot.
#[derive(Default)]
struct Book {
    deposits: Vec<u64>,
    withdrawals: Vec<u64>,
}

proptest! {
    /// W1, W2, W3, T23: of any share, in any window, and to the last retry.
    #[test]
    fn the_ledger_grants_what_a_list_of_everything_would(
        acts in acts(), millionths in prop_oneof![0..=1_000_000_u32, Just(600_000), Just(333_333)], reserve in 0..5_u32,
    ) {
        let grant = Grant { millionths, reserve };
        let (ledger, mut book, mut slot) = (Ledger::new(grant), Book::default(), 0);
        for act in acts {
            let inside = |then: &&u64| **then + SLOTS > slot;
            match act {
                Act::Wait(slots) => slot += slots,
                Act::Deposit => {
                    ledger.deposit(slot);
                    book.deposits.push(slot);
                }
                Act::Withdraw => {
                    let deposits = book.deposits.iter().filter(inside).count() as u64;
                    let withdrawals = book.withdrawals.iter().filter(inside).count() as u64;
                    let granted = deposits * u64::from(millionths) + u64::from(reserve) * 1_000_000;
                    let expected = (withdrawals + 1) * 1_000_000 <= granted;
                    let counted = ledger.withdraw(slot);
                    prop_assert_eq!(counted.is_some(), expected, "in slot {}", slot);
                    if expected {
                        book.withdrawals.push(slot);
                    }
                }
                // Of the last one or the one before, however long ago.
                Act::Refund => {
                    let at = book.withdrawals.len().saturating_sub(2);
                    if at < book.withdrawals.len() {
                        ledger.refund(book.withdrawals.remove(at));
                    }
                }
            }
        }
    }

    #[test]
    fn the_retries_in_flight_are_a_share_of_it_or_the_least_number(
        requests in 0..200_u32, share in 0..=100_u32, least in 0..10_u32,
    ) {
        let crowd = Crowd::new(Grant::new(f64::from(share) / 100.0, least));
        (0..requests).for_each(|_| crowd.enter());
        let joined = (0..300).filter(|_| crowd.join()).count();
        prop_assert_eq!(joined, ((requests * share / 100).max(least) as usize).min(300));
    }
}

#[test]
fn a_share_is_exact_for_any_ratio() {
    for (share, of_a_thousand) in [(0.6, 600), (0.3, 300), (0.9, 900), (0.2, 200), (1.0, 1000), (0.0, 0), (0.001, 1)] {
        let ledger = Ledger::new(Grant::new(share, 0));
        (0..1000).for_each(|_| ledger.deposit(0));
        assert_eq!((0..2000).filter(|_| ledger.withdraw(0).is_some()).count(), of_a_thousand, "{share}");
    }
}

#[test]
fn a_refund_after_its_withdrawal_has_left_the_window_is_no_credit() {
    let ledger = Ledger::new(Grant::new(0.0, 1));
    let counted = ledger.withdraw(0).unwrap();
    ledger.deposit(30);
    ledger.refund(counted);
    assert!(ledger.withdraw(30).is_some());
    assert!(ledger.withdraw(30).is_none());
}

#[test]
fn counts_that_wrap_around_change_nothing() {
    let ledger = Ledger::new(Grant::new(0.0, 1));
    for slot in [0, 20, 40] {
        let counted = ledger.withdraw(slot).unwrap();
        ledger.refund(counted); // back to where it began, and at first below that
        assert!(ledger.withdraw(slot).is_some());
        assert!(ledger.withdraw(slot).is_none());
    }
}

// ===== whether there is another attempt =====

fn failed(failure: Failure, told: Told) -> Failed {
    Failed { reason: Reason::Error, failure, throttled: false, told }
}

const FIRST: Standing = Standing {
    attempt: 1,
    attempts: 3,
    repeatable: true,
    replayable: true,
    left: None,
    expected: Duration::ZERO,
    last_pause: Duration::ZERO,
    dice: u64::MAX,
};

#[test]
fn each_reason_not_to_go_on_is_told() {
    let policy = RetryPolicy::attempts(3);
    let ambiguous = failed(Failure::Ambiguous, Told::Nothing);
    let at = |standing: Standing| decide(&policy, &ambiguous, &standing);
    let told = |told| decide(&policy, &failed(Failure::Ambiguous, told), &FIRST);
    let left = |left| Standing { left: Some(left), expected: 10 * MS, ..FIRST };
    assert_eq!(at(FIRST), Ok(50 * MS));
    assert_eq!(at(Standing { attempt: 3, ..FIRST }), Err(GaveUp::Attempts));
    assert_eq!(at(Standing { repeatable: false, ..FIRST }), Err(GaveUp::NotRepeatable));
    assert_eq!(at(Standing { replayable: false, ..FIRST }), Err(GaveUp::NotReplayable));
    assert_eq!(at(left(61 * MS)), Ok(50 * MS));
    assert_eq!(at(left(60 * MS)), Err(GaveUp::Deadline));
    assert_eq!(at(left(Duration::ZERO)), Err(GaveUp::Deadline));
    assert_eq!(told(Told::Never), Err(GaveUp::Told));
    assert_eq!(told(Told::After(Duration::from_secs(301))), Err(GaveUp::LongPause));
    assert_eq!(told(Told::After(Duration::from_secs(u64::MAX))), Err(GaveUp::LongPause));
    assert_eq!(decide(&policy, &failed(Failure::Final, Told::Nothing), &FIRST), Err(GaveUp::Final));
    let unprocessed = failed(Failure::Unprocessed, Told::Nothing);
    assert_eq!(decide(&policy, &unprocessed, &Standing { repeatable: false, ..FIRST }), Ok(50 * MS));
    let only_repeatable = policy.only_repeatable();
    let given_up = decide(&only_repeatable, &unprocessed, &Standing { repeatable: false, ..FIRST });
    assert_eq!(given_up, Err(GaveUp::NotRepeatable));
}

proptest! {
    #[test]
    fn what_was_told_is_waited_for_and_never_less(millis in 0..400_000_u64, dice in any::<u64>(), attempt in 1..3_u32) {
        let told = Duration::from_millis(millis);
        let answer = decide(&RetryPolicy::attempts(3), &failed(Failure::Ambiguous, Told::After(told)), &Standing { dice, attempt, ..FIRST });
        match answer {
            Ok(pause) => {
                prop_assert!(told <= Duration::from_secs(300) && pause >= told);
                prop_assert!(pause <= (told.max(20_000 * MS) * 11 / 10).min(Duration::from_secs(300)));
            }
            Err(why) => prop_assert!(why == GaveUp::LongPause && told > Duration::from_secs(300)),
        }
    }

    #[test]
    fn a_retry_that_cannot_end_in_time_is_not_begun(
        left in 0..1_000_u32, expected in 0..500_u32, told in prop::option::of(0..1_000_u64), dice in any::<u64>(),
    ) {
        let told = told.map_or(Told::Nothing, |millis| Told::After(Duration::from_millis(millis)));
        let standing = Standing { left: Some(MS * left), expected: MS * expected, dice, ..FIRST };
        match decide(&RetryPolicy::attempts(3), &failed(Failure::Ambiguous, told), &standing) {
            Ok(pause) => prop_assert!(pause + MS * expected < MS * left),
            Err(why) => prop_assert_eq!(why, GaveUp::Deadline),
        }
    }
}

// ===== what may be sent twice =====

#[test]
fn the_idempotent_methods_are_those_of_rfc_9110() {
    for (method, idempotent) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::TRACE, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
        (Method::CONNECT, false),
        (Method::from_bytes(b"QUUX").unwrap(), false),
    ] {
        assert_eq!(is_idempotent(&method), idempotent, "{method}");
    }
}

#[test]
fn a_key_is_found_among_few_fields_and_among_many() {
    let policy = RetryPolicy::attempts(2);
    for others in [0, 5, 60] {
        let mut headers = HeaderMap::new();
        for other in 0..others {
            let name = HeaderName::try_from(format!("x-other-{other}")).unwrap();
            headers.insert(name, HeaderValue::from_static("1"));
        }
        assert!(!policy.may_repeat(&Method::POST, &headers));
        headers.insert("idempotency-key", HeaderValue::from_static("\"1\""));
        assert!(policy.may_repeat(&Method::POST, &headers));
    }
}

#[test]
fn statuses_are_a_set() {
    let policy = RetryPolicy::attempts(2);
    let retried: Vec<u16> =
        (100..1000).filter(|code| policy.statuses.contain(StatusCode::from_u16(*code).unwrap())).collect();
    assert_eq!(retried, [429, 502, 503, 504]);
    const ALSO: RetryPolicy = RetryPolicy::attempts(2).statuses(&[StatusCode::REQUEST_TIMEOUT]);
    assert!(ALSO.statuses.contain(StatusCode::REQUEST_TIMEOUT) && !ALSO.statuses.contain(StatusCode::BAD_GATEWAY));
}

#[test]
fn a_retry_of_somebody_else_has_half_of_the_attempts() {
    let halved = [1, 2, 3, 4, 5, 8].map(|attempts| RetryPolicy::attempts(attempts).attempts_of_a_retry());
    assert_eq!(halved, [1, 1, 1, 2, 2, 4]);
}

#[test]
fn the_attempt_of_a_caller_is_read_from_any_of_the_fields() {
    let told = |fields: &[(&'static str, &'static str)]| {
        let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        Attempt::told_by(&fields.iter().map(field).collect()).map(Attempt::number)
    };
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[("x-retry-attempt", "2")]), Some(2));
    assert_eq!(told(&[("x-envoy-attempt-count", "1")]), Some(1));
    assert_eq!(told(&[("grpc-previous-rpc-attempts", "1")]), Some(2));
    assert_eq!(told(&[("grpc-previous-rpc-attempts", "4294967295")]), None);
    assert_eq!(told(&[("x-retry-attempt", "0")]), Some(1));
    assert_eq!(told(&[("x-retry-attempt", "2"), ("x-envoy-attempt-count", "3")]), Some(3));
    assert_eq!(told(&[("x-retry-attempt", "many")]), None);
    assert_eq!(X_RETRY_ATTEMPT, "x-retry-attempt");
}

// ===== errors =====

#[derive(Debug)]
struct Wrapped(io::Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn errors_are_seen_through_to_their_cause() {
    type Boxed = Box<dyn Error + Send + Sync>;
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let reset = || io::Error::from(io::ErrorKind::ConnectionReset);
    let causes = Causes::new();
    assert_eq!(causes.failure(&refused()), Failure::Unprocessed);
    assert_eq!(causes.failure(&reset()), Failure::Ambiguous);
    assert_eq!(causes.failure(&Boxed::from(Wrapped(refused()))), Failure::Unprocessed);
    assert_eq!(causes.failure(&Boxed::from(Wrapped(reset()))), Failure::Ambiguous);
    assert_eq!(causes.failure(&(Box::new(Wrapped(refused())) as Box<dyn Error + Send>)), Failure::Unprocessed);
    assert_eq!(causes.failure(&Boxed::from("words")), Failure::Ambiguous);
    assert_eq!(causes.failure(&io::Error::other(Wrapped(refused()))), Failure::Unprocessed);
    assert_eq!(causes.failure(&17_u8), Failure::Ambiguous, "of a type that nothing is known of");
    assert_eq!((|_: &u8| Failure::Final).failure(&17), Failure::Final);
    let knowing = Causes::knowing(|error| error.is::<Wrapped>().then_some(Failure::Final));
    assert_eq!(knowing.failure(&Boxed::from(Wrapped(refused()))), Failure::Final);
    assert_eq!(knowing.read(&Wrapped(refused())), Failure::Final);
}
