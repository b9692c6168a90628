//! The buckets against brute force, against governor, under loom, and by threads.

use crate::{
    Algorithm, Charge, Decision, Key, PolicyName, Quota, Stamp, Standing, Verdict,
    buckets::{Buckets, Step},
};
use proptest::prelude::*;
use std::{cmp::Reverse, collections::HashMap, sync::LazyLock, time::Duration};

/// Far enough from the beginning of time that windows lie behind it.
const START: u64 = 1_700_000_000_000_000_000;

const SECOND: u64 = 1_000_000_000;

/// A charge of one of the few policies that these tests name.
fn charge<'a>(policy: &str, key: &'a Key, quota: Quota, cost: u32) -> Charge<'a> {
    static NAMES: LazyLock<[PolicyName; 4]> = LazyLock::new(|| ["a", "b", "c", "p"].map(PolicyName::new));
    let policy = NAMES.iter().find(|name| name.as_str() == policy).expect("a name of these");
    Charge { policy, key, quota, cost }
}

fn admitted(decision: &Decision) -> bool {
    decision.verdict() == Verdict::Admitted
}

/// What is left of a bucket; and where nothing is, the longer it takes until something will be, the less.
fn room(buckets: &Buckets, free: &Charge<'_>, now: u64) -> (u32, Reverse<Duration>) {
    let standing = buckets.step(&[*free], Step::Look, now).standings()[0];
    (standing.available(), Reverse(standing.next_in()))
}

/// A stream of requests: how long after the one before, what it costs.
fn requests() -> impl Strategy<Value = Vec<(u64, u32)>> {
    prop::collection::vec((prop_oneof![Just(0), 0..SECOND, Just(SECOND)], 0..4_u32), 1..120)
}

fn any_quota() -> impl Strategy<Value = Quota> {
    let paced = (1..50_u32, 1..20_u32).prop_map(|(limit, burst)| Quota::per_second(limit).burst(burst));
    let algorithm = prop_oneof![
        Just(Algorithm::FixedWindow),
        Just(Algorithm::CalendarWindow),
        (1..12_u8).prop_map(Algorithm::SlidingWindow),
        Just(Algorithm::SlidingLog),
    ];
    let windowed = (1..20_u32, 1..4_u64, algorithm)
        .prop_map(|(limit, secs, algorithm)| Quota::per(limit, Duration::from_secs(secs)).counted_by(algorithm));
    prop_oneof![paced, windowed]
}

/// The most that the quota's algorithm promises to admit between two instants, both included.
fn promised(quota: &Quota, from: u64, to: u64) -> u64 {
    let (limit, burst) = (u64::from(quota.limit()), u64::from(quota.burst_size()));
    let period = u64::try_from(quota.period().as_nanos()).expect("a short period");
    match quota.algorithm() {
        Algorithm::Gcra => burst + (to - from) / u64::try_from(quota.interval().as_nanos()).expect("short"),
        // Both ends of the stretch may cut a window.
        Algorithm::FixedWindow | Algorithm::CalendarWindow => limit * ((to - from) / period + 2),
        Algorithm::SlidingWindow(_) | Algorithm::SlidingLog => limit * ((to - from) / period + 1),
    }
}

proptest! {
    #[test]
    fn no_stretch_of_time_admits_more_than_was_promised(quota in any_quota(), requests in requests()) {
        let buckets = Buckets::for_keys(10);
        let mut now = START;
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (pause, cost) in requests {
            now += pause;
            if admitted(&buckets.step(&[charge("p", &Key::GLOBAL, quota, cost)], Step::Take, now)) {
                passed.push((now, u64::from(cost)));
            }
        }
        for (from, _) in &passed {
            for (to, _) in passed.iter().filter(|(to, _)| to >= from) {
                let cost: u64 = passed.iter().filter(|(at, _)| (from..=to).contains(&at)).map(|(_, cost)| cost).sum();
                prop_assert!(cost <= promised(&quota, *from, *to), "{cost} from {from} to {to}");
            }
        }
    }

    #[test]
    fn who_waits_as_told_is_admitted_and_a_nanosecond_earlier_is_not(quota in any_quota(), requests in requests()) {
        let buckets = Buckets::for_keys(10);
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            let asked = [charge("p", &Key::GLOBAL, quota, cost)];
            if let Verdict::Refused(wait) = buckets.step(&asked, Step::Take, now).verdict() {
                let wait = u64::try_from(wait.as_nanos()).expect("a short wait");
                prop_assert!(wait > 0);
                prop_assert!(!admitted(&buckets.step(&asked, Step::Take, now + wait - 1)));
                prop_assert!(admitted(&buckets.step(&asked, Step::Take, now + wait)));
                now += wait;
            }
        }
    }

    #[test]
    fn when_none_is_left_the_next_passes_after_the_time_that_is_told_and_not_before(
        quota in any_quota(),
        requests in requests(),
    ) {
        let buckets = Buckets::for_keys(10);
        let passes = |at| admitted(&buckets.step(&[charge("p", &Key::GLOBAL, quota, 1)], Step::Look, at));
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            let decision = buckets.step(&[charge("p", &Key::GLOBAL, quota, cost)], Step::Take, now);
            if decision.verdict() == Verdict::TooCostly {
                continue;
            }
            let standing = decision.standings()[0];
            prop_assert_eq!(standing.available() == 0, !standing.next_in().is_zero());
            let next = now + u64::try_from(standing.next_in().as_nanos()).expect("a short wait");
            prop_assert!(passes(next) && (next == now || !passes(next - 1)));
        }
    }

    #[test]
    fn a_peek_tells_what_a_decision_would_and_neither_it_nor_a_refusal_changes_anything(
        quota in any_quota(),
        requests in requests(),
    ) {
        let buckets = Buckets::for_keys(10);
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            let asked = [charge("p", &Key::GLOBAL, quota, cost)];
            let peek = || buckets.step(&asked, Step::Look, now);
            let peeked = peek();
            prop_assert_eq!(peeked.standings().to_vec(), peek().standings().to_vec());
            let decided = buckets.step(&asked, Step::Take, now);
            prop_assert_eq!(peeked.verdict(), decided.verdict());
            if !admitted(&decided) {
                prop_assert_eq!(peeked.standings().to_vec(), peek().standings().to_vec());
            }
        }
    }

    /// Also by more clients than have a place of their own.
    #[test]
    fn what_is_taken_at_once_is_decided_the_same(
        quota in any_quota(),
        requests in requests(),
        clients in prop::collection::vec(0..9_u8, 120),
    ) {
        let (deciding, taking) = (Buckets::for_keys(1), Buckets::for_keys(1));
        let mut now = START;
        for ((pause, cost), client) in requests.into_iter().zip(clients) {
            now += pause;
            let key = Key::new([client]);
            let charge = charge("p", &key, quota, cost);
            let decision = deciding.step(&[charge], Step::Take, now);
            let refused = match taking.take(&charge, || now) {
                Some(Ok(())) => {
                    prop_assert!(admitted(&decision));
                    continue;
                }
                Some(Err(standing)) => Decision::from(standing),
                None => taking.step(&[charge], Step::Take, now),
            };
            prop_assert_eq!(refused.verdict(), decision.verdict());
            prop_assert_eq!(refused.standings(), decision.standings());
        }
    }

    #[test]
    fn what_is_available_is_admitted_one_by_one_and_no_more(quota in any_quota(), requests in requests()) {
        let buckets = Buckets::for_keys(10);
        let one = [charge("p", &Key::GLOBAL, quota, 1)];
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            let decision = buckets.step(&[charge("p", &Key::GLOBAL, quota, cost)], Step::Take, now);
            if decision.verdict() == Verdict::TooCostly {
                continue;
            }
            let available = decision.standings()[0].available();
            let taken = (0..=available).filter(|_| admitted(&buckets.step(&one, Step::Take, now))).count();
            prop_assert_eq!(taken, available as usize);
        }
    }

    #[test]
    fn a_cost_of_n_is_n_costs_of_one(quota in any_quota(), requests in requests()) {
        let (at_once, one_by_one) = (Buckets::for_keys(10), Buckets::for_keys(10));
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            if admitted(&at_once.step(&[charge("p", &Key::GLOBAL, quota, cost)], Step::Take, now)) {
                for _ in 0..cost {
                    prop_assert!(admitted(&one_by_one.step(&[charge("p", &Key::GLOBAL, quota, 1)], Step::Take, now)));
                }
            }
            let look = [charge("p", &Key::GLOBAL, quota, 0)];
            let standing = |buckets: &Buckets| buckets.step(&look, Step::Look, now).standings()[0];
            prop_assert_eq!(standing(&at_once), standing(&one_by_one));
        }
    }

    #[test]
    fn several_policies_are_taken_together_or_not_at_all_in_whatever_order(
        quotas in prop::collection::vec(any_quota(), 2..4),
        requests in requests(),
    ) {
        let names = ["a", "b", "c"];
        let (forward, backward) = (Buckets::for_keys(10), Buckets::for_keys(10));
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            let mut asked: Vec<_> =
                quotas.iter().zip(names).map(|(quota, name)| charge(name, &Key::GLOBAL, *quota, cost)).collect();
            let alone: Vec<_> =
                asked.iter().map(|one| forward.step(&[*one], Step::Look, now).standings()[0]).collect();
            let decision = forward.step(&asked, Step::Take, now);
            if let Verdict::Refused(wait) = decision.verdict() {
                prop_assert_eq!(Some(wait), alone.iter().map(Standing::wait).max());
                for (one, before) in asked.iter().zip(alone) {
                    prop_assert_eq!(before, forward.step(&[*one], Step::Look, now).standings()[0]);
                }
            }
            asked.reverse();
            let reversed = backward.step(&asked, Step::Take, now);
            prop_assert_eq!(decision.verdict(), reversed.verdict());
            prop_assert!(decision.standings().iter().eq(reversed.standings().iter().rev()));
        }
    }

    /// Taking an estimate and giving the rest back later never leaves more in the bucket than if the actual cost had
    /// been known and taken at once: nobody saves up a burst by asking for much and needing little. What an estimate was
    /// too little by is owed from when it is settled, by both.
    #[test]
    fn settling_gives_back_no_more_than_if_the_actual_cost_had_been_taken(
        limit in 1..50_u32,
        ops in prop::collection::vec((0..SECOND / 2, 0..8_u32, 0..20_u32, 0..2 * SECOND), 1..60),
    ) {
        let quota = Quota::per_second(limit).burst(8);
        let (reserving, knowing) = (Buckets::for_keys(10), Buckets::for_keys(10));
        let free = charge("p", &Key::GLOBAL, quota, 0);
        let mut held_back = Vec::new();
        let mut now = START;
        for (pause, estimate, actual, held) in ops {
            now += pause;
            // What is still held is settled when its time has come, in between the others.
            held_back.retain(|(due, asked, stamp, actual)| {
                let settled = *due <= now;
                if settled {
                    reserving.settle(asked, *stamp, *actual, now);
                    knowing.settle(&free, Stamp::default(), actual.saturating_sub(asked.cost), now);
                }
                !settled
            });
            let (ours, model) = (room(&reserving, &free, now), room(&knowing, &free, now));
            prop_assert!(ours <= model, "{ours:?} > {model:?}");
            let asked = charge("p", &Key::GLOBAL, quota, estimate);
            let decision = reserving.step(&[asked], Step::Take, now);
            if admitted(&decision) {
                let stamp = decision.standings()[0].stamp();
                knowing.settle(&free, Stamp::default(), actual.min(estimate), now);
                held_back.push((now + held, asked, stamp, actual));
            }
        }
    }

    /// Everything that passes a table of six slots would have passed a table without bounds.
    #[test]
    fn eviction_and_overflow_never_admit_what_unbounded_memory_would_refuse(
        quotas in prop::collection::vec(any_quota(), 1..3),
        requests in prop::collection::vec((0..SECOND / 4, 0..40_u32, 1..4_u32, 0..3_usize), 1..200),
    ) {
        let small = Buckets::for_keys(1);
        let mut unbounded: HashMap<(u32, usize), Buckets> = HashMap::new();
        let mut now = START;
        for (pause, client, cost, policy) in requests {
            now += pause;
            let policy = policy % quotas.len();
            let key = Key::new(client.to_string());
            let asked = [charge(["a", "b", "c"][policy], &key, quotas[policy], cost)];
            if admitted(&small.step(&asked, Step::Take, now)) {
                let own = unbounded.entry((client, policy)).or_insert_with(|| Buckets::for_keys(1));
                prop_assert!(admitted(&own.step(&asked, Step::Take, now)), "client {client} passed with a debt");
            }
        }
    }

    /// What was promised up to the latest time that was ever seen, and no more for going back; where each amount is forgotten by
    /// itself, at most one burst for each step back, as what has been forgotten does not come back with the clock.
    #[test]
    fn no_jump_of_the_clock_panics_or_grants_more_than_one_burst(
        times in prop::collection::vec(
            prop_oneof![any::<u64>(), START..START + 10, START..START + 30 * SECOND, Just(START)],
            1..50,
        ),
        quota in any_quota(),
    ) {
        let buckets = Buckets::for_keys(10);
        let one = [charge("p", &Key::GLOBAL, quota, 1)];
        let burst = u64::from(quota.burst_size());
        let forgotten = match quota.algorithm() {
            Algorithm::Gcra | Algorithm::FixedWindow => 0,
            Algorithm::CalendarWindow | Algorithm::SlidingWindow(_) | Algorithm::SlidingLog => burst,
        };
        let (first, mut latest, mut before) = (times[0], times[0], times[0]);
        let (mut passed, mut allowed_for_steps_back) = (0, 0);
        for now in times {
            latest = latest.max(now);
            allowed_for_steps_back += if now < before { forgotten } else { 0 };
            before = now;
            let now_passed = (0..=burst).filter(|_| admitted(&buckets.step(&one, Step::Take, now))).count() as u64;
            prop_assert!(now_passed <= burst);
            passed += now_passed;
            let allowed = promised(&quota, first, latest).saturating_add(allowed_for_steps_back);
            prop_assert!(passed <= allowed, "{passed} of {allowed}");
        }
    }

    #[test]
    fn governor_decides_the_same(
        limit in 1..100_u32,
        burst in 1..30_u32,
        requests in prop::collection::vec((0..SECOND / 10, 1..40_u32), 1..200),
    ) {
        use governor::{RateLimiter, clock::FakeRelativeClock};
        use std::num::NonZeroU32;
        let positive = |n| NonZeroU32::new(n).expect("positive");
        let clock = FakeRelativeClock::default();
        let theirs = governor::Quota::per_second(positive(limit)).allow_burst(positive(burst));
        let theirs = RateLimiter::direct_with_clock(theirs, clock.clone());
        let ours = Buckets::for_keys(10);
        let quota = Quota::per_second(limit).burst(burst);
        let mut now = START;
        for (pause, cost) in requests {
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let ours = ours.step(&[charge("p", &Key::GLOBAL, quota, cost)], Step::Take, now).verdict();
            match theirs.check_n(positive(cost)) {
                Err(_) => prop_assert_eq!(ours, Verdict::TooCostly),
                Ok(Ok(())) => prop_assert_eq!(ours, Verdict::Admitted),
                Ok(Err(until)) => {
                    use governor::clock::Clock;
                    prop_assert_eq!(ours, Verdict::Refused(until.wait_time_from(clock.now())));
                }
            }
        }
    }
}

proptest! {
    /// The same where keys share cells, and for windows: twelve keys in a table of six slots, of which none ever forgets a debt.
    #[test]
    fn refunds_and_debts_in_a_full_table_forgive_nothing(
        algorithm in prop::option::of(prop_oneof![
            Just(Algorithm::CalendarWindow), Just(Algorithm::SlidingWindow(4)), Just(Algorithm::SlidingLog),
        ]),
        ops in prop::collection::vec((0..SECOND / 2, 0..12_usize, 0..8_u32, 0..20_u32, 0..3 * SECOND), 1..100),
    ) {
        let quota = match algorithm {
            Some(algorithm) => Quota::per_second(8).counted_by(algorithm),
            None => Quota::per_second(3).burst(8),
        };
        let small = Buckets::for_keys(1);
        let models: Vec<_> = (0..12).map(|_| Buckets::for_keys(1)).collect();
        let keys: Vec<_> = (0..12).map(|key| Key::new(key.to_string())).collect();
        let free: Vec<_> = keys.iter().map(|key| charge("p", key, quota, 0)).collect();
        let mut held_back = Vec::new();
        let mut now = START;
        for (pause, key, estimate, actual, held) in ops {
            now += pause;
            held_back.retain(|(due, key, estimate, stamp, actual): &(u64, usize, u32, Stamp, u32)| {
                let settled = *due <= now;
                if settled {
                    small.settle(&charge("p", &keys[*key], quota, *estimate), *stamp, *actual, now);
                    models[*key].settle(&free[*key], Stamp::default(), actual.saturating_sub(*estimate), now);
                }
                !settled
            });
            for (free, model) in free.iter().zip(&models) {
                let (ours, model) = (room(&small, free, now), room(model, free, now));
                prop_assert!(ours <= model, "{ours:?} > {model:?} for {}", free.key);
            }
            let decision = small.step(&[charge("p", &keys[key], quota, estimate)], Step::Take, now);
            if admitted(&decision) {
                let stamp = decision.standings()[0].stamp();
                models[key].settle(&free[key], Stamp::default(), actual.min(estimate), now);
                held_back.push((now + held, key, estimate, stamp, actual));
            }
        }
    }
}

#[test]
fn what_was_taken_last_can_be_given_back_first() {
    let buckets = Buckets::for_keys(10);
    let one = charge("p", &Key::GLOBAL, Quota::per_minute(5).burst(5), 1);
    let stamps: Vec<_> = (0..5).map(|_| buckets.step(&[one], Step::Take, START).standings()[0].stamp()).collect();
    for stamp in stamps.into_iter().rev() {
        buckets.settle(&one, stamp, 0, START);
    }
    assert_eq!(buckets.step(&[one], Step::Look, START).standings()[0].available(), 5);
}

#[test]
fn refunds_are_exact_however_much_has_been_given_back_in_all() {
    let buckets = Buckets::for_keys(1);
    let (quota, one) = (Quota::per_day(1).burst(30_000), Key::GLOBAL);
    let asked = charge("p", &one, quota, 10_000);
    // Each round moves times by 27 years; a count of nanoseconds in 64 bits comes round after some twenty.
    for round in 0..60 {
        let take = || buckets.step(&[asked], Step::Take, START).standings()[0].stamp();
        let (first, second) = (take(), take());
        buckets.settle(&asked, first, 0, START);
        buckets.settle(&asked, second, 0, START);
        let left = buckets.step(&[charge("p", &one, quota, 0)], Step::Look, START).standings()[0].available();
        assert_eq!(left, 30_000, "round {round}");
    }
}

/// What was taken last moves no stamp that is still out there; another refund may make a neighbour's in the same set smaller.
#[test]
fn a_refund_of_what_was_taken_last_takes_none_from_its_neighbours() {
    let buckets = Buckets::for_keys(1);
    let (one, other) = (Key::new("one"), Key::new("other"));
    let quota = Quota::per_minute(5).burst(5);
    let stamp = |key| buckets.step(&[charge("p", key, quota, 1)], Step::Take, START).standings()[0].stamp();
    let (of_one, of_other) = (stamp(&one), stamp(&other));
    buckets.settle(&charge("p", &one, quota, 1), of_one, 0, START);
    buckets.settle(&charge("p", &other, quota, 1), of_other, 0, START);
    let left = buckets.step(&[charge("p", &other, quota, 0)], Step::Look, START).standings()[0].available();
    assert_eq!(left, 5);
}

/// Seven keys in a set of six: the seventh is counted with whatever else found no place.
#[test]
fn who_gets_a_place_of_its_own_begins_with_what_still_counts_of_the_others_and_no_more() {
    let buckets = Buckets::for_keys(1);
    let (long, short) = (Quota::per_day(5).fixed_window(), Quota::per_minute(100).sliding_log());
    let take = |key: &str, quota, cost, at| {
        let key = Key::new(key);
        let asked = [charge("p", &key, quota, cost)];
        buckets.step(&asked, Step::Take, START + at * SECOND).standings()[0].available()
    };
    for n in 0..5 {
        take(&format!("resident {n}"), long, 1, 0);
    }
    take("goes", short, 1, 0);
    take("stranger", short, 99, 0);
    take("stranger", short, 1, 59);
    assert_eq!(take("new", short, 1, 61), 98, "one of the stranger's still counts, and its own");
    assert_eq!(take("new", short, 1, 62), 97);
}

#[test]
fn a_step_that_can_never_pass_is_told_so_also_when_its_charges_only_add_up_to_that() {
    for quota in [Quota::per_second(3).burst(3), Quota::per_second(3).fixed_window()] {
        let buckets = Buckets::for_keys(10);
        let twice = [charge("p", &Key::GLOBAL, quota, 2), charge("p", &Key::GLOBAL, quota, 2)];
        assert_eq!(buckets.step(&twice, Step::Take, START).verdict(), Verdict::TooCostly);
    }
}

#[test]
#[should_panic(expected = "replenished in at most a century")]
fn a_burst_that_takes_ages_to_replenish_is_a_mistake() {
    let _ = Quota::per_day(1).burst(250_000);
}

#[test]
#[should_panic(expected = "only a GCRA quota has a burst beside its limit")]
fn a_burst_before_a_window_is_as_much_of_a_mistake_as_one_after_it() {
    let _ = Quota::per_second(10).burst(20).sliding_window();
}

#[test]
fn a_burst_that_a_window_has_anyway_is_none() {
    assert_eq!(Quota::per_day(10).burst(10).fixed_window(), Quota::per_day(10).fixed_window());
    assert_eq!(Quota::per_minute(600).burst(10).sliding_window(), Quota::per_minute(600).sliding_window());
    assert_eq!(Quota::per_second(10).burst(20).counted_by(Algorithm::Gcra), Quota::per_second(10).burst(20));
}

#[test]
fn a_charge_of_the_same_bucket_twice_counts_twice() {
    let buckets = Buckets::for_keys(10);
    let quota = Quota::per_second(1).burst(3);
    assert!(admitted(&buckets.step(&[charge("p", &Key::GLOBAL, quota, 1)], Step::Take, START)));
    let once = [charge("p", &Key::GLOBAL, quota, 1), charge("p", &Key::GLOBAL, quota, 1)];
    assert!(admitted(&buckets.step(&once, Step::Take, START)));
    assert!(!admitted(&buckets.step(&once[1..], Step::Take, START)));
}

#[test]
fn a_settlement_that_comes_after_its_window_gives_nothing_back() {
    for quota in [Quota::per_second(3).fixed_window(), Quota::per_second(3).calendar_window()] {
        let buckets = Buckets::for_keys(10);
        let all = charge("p", &Key::GLOBAL, quota, 3);
        let stamp = buckets.step(&[all], Step::Take, START).standings()[0].stamp();
        let later = START + 2 * SECOND;
        assert!(admitted(&buckets.step(&[all], Step::Take, later)));
        buckets.settle(&all, stamp, 0, later);
        assert!(!admitted(&buckets.step(&[charge("p", &Key::GLOBAL, quota, 1)], Step::Take, later)));
    }
}

#[test]
fn a_debt_from_settling_has_to_be_waited_for() {
    let buckets = Buckets::for_keys(10);
    let quota = Quota::per_second(1).burst(5);
    let asked = charge("p", &Key::GLOBAL, quota, 1);
    let stamp = buckets.step(&[asked], Step::Take, START).standings()[0].stamp();
    buckets.settle(&asked, stamp, 20, START);
    let refused = buckets.step(&[asked], Step::Take, START).verdict();
    assert_eq!(refused, Verdict::Refused(Duration::from_secs(16)));
}

#[test]
fn calendar_windows_open_at_whole_periods() {
    let buckets = Buckets::for_keys(10);
    let asked = [charge("p", &Key::GLOBAL, Quota::per_minute(1).calendar_window(), 1)];
    let noon = START / (60 * SECOND) * 60 * SECOND;
    assert!(admitted(&buckets.step(&asked, Step::Take, noon + 59 * SECOND)));
    assert!(!admitted(&buckets.step(&asked, Step::Take, noon + 59 * SECOND + 1)));
    assert!(admitted(&buckets.step(&asked, Step::Take, noon + 60 * SECOND)));
}

#[test]
fn the_same_key_under_two_policies_has_two_buckets() {
    let buckets = Buckets::for_keys(10);
    let quota = Quota::per_second(1);
    assert!(admitted(&buckets.step(&[charge("a", &Key::GLOBAL, quota, 1)], Step::Take, START)));
    assert!(admitted(&buckets.step(&[charge("b", &Key::GLOBAL, quota, 1)], Step::Take, START)));
    assert!(!admitted(&buckets.step(&[charge("a", &Key::GLOBAL, quota, 1)], Step::Take, START)));
}

#[test]
fn a_flood_of_invented_keys_frees_no_debtor_and_grows_no_memory() {
    let buckets = Buckets::for_keys(1000);
    let quota = Quota::per_minute(10).burst(10);
    let debtor = Key::new("debtor");
    let bytes = buckets.bytes();
    for _ in 0..10 {
        assert!(admitted(&buckets.step(&[charge("p", &debtor, quota, 1)], Step::Take, START)));
    }
    for client in 0..300_000_u32 {
        let key = Key::ip(client.to_be_bytes().into());
        buckets.step(&[charge("p", &key, quota, 1)], Step::Take, START + u64::from(client));
        if client % 1000 == 0 {
            assert!(!admitted(&buckets.step(&[charge("p", &debtor, quota, 1)], Step::Take, START + u64::from(client))));
        }
    }
    assert_eq!(buckets.bytes(), bytes);
}

/// One set in fifteen would overflow if keys fell at random; addresses in a row must not do much worse.
#[test]
fn clients_in_a_row_spread_over_the_table() {
    let keys = 70_000_u32;
    let buckets = Buckets::for_keys(keys as usize);
    let quota = Quota::per_day(1);
    let shared = (0..keys).filter(|client| {
        let key = Key::ip(client.to_be_bytes().into());
        !admitted(&buckets.step(&[charge("p", &key, quota, 1)], Step::Take, START))
    });
    let shared = shared.count();
    assert!(shared < keys as usize / 20, "{shared} of {keys} were refused for another's debt");
}

#[test]
fn a_gcra_set_fills_two_cache_lines_and_memory_is_as_documented() {
    assert_eq!(Buckets::for_keys(100_000).bytes(), 28_572 * 128);
    let windows = Buckets::for_keys(1);
    windows.step(&[charge("p", &Key::GLOBAL, Quota::per_second(1).sliding_log(), 1)], Step::Take, START);
    assert_eq!(windows.bytes(), 128 + 384);
}

#[test]
fn threads_that_race_for_one_bucket_get_no_more_than_the_burst() {
    let buckets = Buckets::for_keys(10);
    let quotas = [Quota::per_hour(50).burst(50), Quota::per_hour(80).fixed_window()];
    let passed: usize = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let asked = [charge("a", &Key::GLOBAL, quotas[0], 1), charge("b", &Key::GLOBAL, quotas[1], 1)];
                    (0..100).filter(|_| admitted(&buckets.step(&asked, Step::Take, START))).count()
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).sum()
    });
    assert_eq!(passed, 50);
    let rest = buckets.step(&[charge("b", &Key::GLOBAL, quotas[1], 0)], Step::Look, START).standings()[0];
    assert_eq!(rest.available(), 30, "what the other policy refused must not have been taken");
}
