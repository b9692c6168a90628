//! Which endpoint gets the next request.

use std::time::Duration;

/// What is known of an endpoint when one has to be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) standing: Standing,
    /// Whether this very call has been sent there before, and came to nothing.
    pub(super) tried: bool,
    pub(super) in_flight: u32,
}

/// Whether an endpoint would take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Takes,
    /// As many requests are under way as it may have.
    Full,
    /// Its breaker is open, for about this long.
    Open(Duration),
}

/// The index of the endpoint to send to, out of `count`, of which there has to be one.
///
/// Of two that are drawn at random, the one with fewer requests under way: nearly as even as asking all of them for the
/// least, and without the herd that several gateways make when all run to the one that has just been idle.
///
/// If one of the two does not take the request, or has been tried with it, all are looked at: those that take it go
/// before those that have been tried, these before those that are full, and these before those whose breaker is open.
/// If every breaker is open, it is the one that lets a request through first, so that its refusal says when.
pub(super) fn choose(count: usize, of: impl Fn(usize) -> Candidate, random: u64) -> usize {
    if count < 2 {
        return 0;
    }
    let (first, second) = two_of(count, random);
    let (a, b) = (of(first), of(second));
    if a.is_fit() && b.is_fit() {
        return if b.in_flight < a.in_flight { second } else { first };
    }
    // The first of equals is taken, so the walk begins where chance has it.
    let start = if a.is_fit() { first } else { second };
    let all = (0..count).map(|step| (start + step) % count);
    all.min_by_key(|index| of(*index).preference()).unwrap_or(start)
}

/// Two different numbers below `count`, each pair as likely as any other.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a product of 32 bits and 32 bits, of which the upper half is taken"
)]
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let below = |bits: u64, end: usize| ((bits * end as u64) >> 32) as usize;
    let first = below(random >> 32, count);
    let second = below(random & u64::from(u32::MAX), count - 1);
    (first, if second >= first { second + 1 } else { second })
}

impl Candidate {
    pub(super) fn is_fit(self) -> bool {
        self.standing == Standing::Takes && !self.tried
    }

    /// The smallest goes first.
    fn preference(self) -> (u8, Duration, u32) {
        match self.standing {
            Standing::Takes => (u8::from(self.tried), Duration::ZERO, self.in_flight),
            Standing::Full => (2, Duration::ZERO, self.in_flight),
            Standing::Open(for_another) => (3, for_another, self.in_flight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate() -> impl Strategy<Value = Candidate> {
        let standing = prop_oneof![
            3 => Just(Standing::Takes),
            1 => Just(Standing::Full),
            1 => (1_u64..5).prop_map(|seconds| Standing::Open(Duration::from_secs(seconds))),
        ];
        (standing, any::<bool>(), 0_u32..4).prop_map(|(standing, tried, in_flight)| Candidate {
            standing,
            tried,
            in_flight,
        })
    }

    fn fit(in_flight: u32) -> Candidate {
        Candidate { standing: Standing::Takes, tried: false, in_flight }
    }

    proptest! {
        /// Against the rules, spelled out: who may be chosen at all.
        #[test]
        fn the_best_kind_is_chosen(all in prop::collection::vec(candidate(), 1..6), random: u64) {
            let chosen = all[choose(all.len(), |index| all[index], random)];

            let takes = |candidate: &&Candidate| candidate.standing == Standing::Takes;
            let untried: Vec<_> = all.iter().filter(takes).filter(|candidate| !candidate.tried).collect();
            let tried: Vec<_> = all.iter().filter(takes).filter(|candidate| candidate.tried).collect();
            let full: Vec<_> = all.iter().filter(|candidate| candidate.standing == Standing::Full).collect();
            if let Some(kind) = [untried, tried, full].iter().find(|kind| !kind.is_empty()) {
                prop_assert!(kind.contains(&&chosen), "{chosen:?}");
            } else {
                let soonest = all.iter().filter_map(|candidate| match candidate.standing {
                    Standing::Open(for_another) => Some(for_another),
                    Standing::Takes | Standing::Full => None,
                }).min();
                prop_assert_eq!(Some(chosen.standing), soonest.map(Standing::Open));
            }
        }

        /// The busiest of all is never taken, unless all are as busy.
        #[test]
        fn never_the_busiest(loads in prop::collection::vec(0_u32..5, 2..6), random: u64) {
            let chosen = loads[choose(loads.len(), |index| fit(loads[index]), random)];
            let busiest = *loads.iter().max().unwrap();
            let how_many = loads.iter().filter(|load| **load == busiest).count();
            prop_assert!(chosen < busiest || how_many > 1, "{chosen} of {loads:?}");
        }

        #[test]
        fn two_that_are_drawn_are_two(count in 2_usize..100, random: u64) {
            let (first, second) = two_of(count, random);
            prop_assert!(first < count && second < count && first != second);
        }
    }

    #[test]
    fn equals_get_equal_shares() {
        for broken in [None, Some(0), Some(3)] {
            let of = |index| match broken {
                Some(broken) if broken == index => {
                    Candidate { standing: Standing::Open(Duration::from_secs(1)), ..fit(0) }
                }
                _ => fit(0),
            };
            let mut shares = [0_u32; 4];
            // Steps through all of 64 bits, evenly.
            let mut random = 0_u64;
            for _ in 0..40_000 {
                random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                shares[choose(4, of, random)] += 1;
            }
            let fair = 40_000 / if broken.is_some() { 3 } else { 4 };
            for (index, share) in shares.into_iter().enumerate() {
                let fair = if broken == Some(index) { 0 } else { fair };
                assert!(share.abs_diff(fair) <= fair / 50, "{shares:?}");
            }
        }
    }
}
