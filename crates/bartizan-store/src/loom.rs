//! Every interleaving of two threads over the locked sets.

use crate::{
    Charge, Key, PolicyName, Quota, Verdict,
    buckets::{Buckets, Step},
};
use loom::{sync::Arc, thread};

const NOW: u64 = 1_700_000_000_000_000_000;

fn passes(buckets: &Buckets, policies: &[(&'static str, u32)]) -> bool {
    let names: Vec<_> = policies.iter().map(|&(policy, _)| PolicyName::new(policy)).collect();
    let charges: Vec<_> = policies
        .iter()
        .zip(&names)
        .map(|(&(_, burst), policy)| Charge {
            policy,
            key: &Key::GLOBAL,
            quota: Quota::per_hour(1000).burst(burst),
            cost: 1,
        })
        .collect();
    buckets.step(&charges, Step::Take, NOW).verdict() == Verdict::Admitted
}

#[test]
fn loom_one_place_is_given_once() {
    loom::model(|| {
        let buckets = Arc::new(Buckets::for_keys(1));
        let other = Arc::clone(&buckets);
        let racer = thread::spawn(move || passes(&other, &[("a", 1)]));
        let here = passes(&buckets, &[("a", 1)]);
        assert!(here != racer.join().unwrap(), "exactly one of two passes");
    });
}

/// The two threads name the policies in opposite order: a lock taken out of order would deadlock, and a step that
/// others could see half done would let both fail or both pass.
#[test]
fn loom_two_policies_are_one_step() {
    loom::model(|| {
        let buckets = Arc::new(Buckets::for_keys(100)); // so many sets that the two policies have one each
        let other = Arc::clone(&buckets);
        let racer = thread::spawn(move || passes(&other, &[("a", 1), ("b", 2)]));
        let here = passes(&buckets, &[("b", 2), ("a", 1)]);
        assert!(here != racer.join().unwrap(), "exactly one of two passes");
        assert!(passes(&buckets, &[("b", 2)]), "the refused one took nothing from b");
        assert!(!passes(&buckets, &[("b", 2)]));
    });
}

#[test]
fn loom_a_settlement_beside_a_decision_is_not_lost() {
    loom::model(|| {
        let buckets = Arc::new(Buckets::for_keys(1));
        let quota = Quota::per_hour(1000).burst(2);
        let policy = PolicyName::new("a");
        let charge = Charge { policy: &policy, key: &Key::GLOBAL, quota, cost: 1 };
        let stamp = buckets.step(&[charge], Step::Take, NOW).standings()[0].stamp();
        let other = Arc::clone(&buckets);
        let racer = thread::spawn(move || passes(&other, &[("a", 2)]));
        buckets.settle(&charge, stamp, 0, NOW);
        assert!(racer.join().unwrap());
        assert!(passes(&buckets, &[("a", 2)]));
        assert!(!passes(&buckets, &[("a", 2)]));
    });
}
