//! Keys told apart, in bounded room.

use super::*;
use crate::concurrency_limit::{gate::Gate, table::Table};
use proptest::prelude::*;
use std::collections::HashMap;

fn by_path(limit: impl Into<ConcurrencyLimit>) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(limit).key_by(|head| Some(head.uri.path().to_owned()).filter(|path| path != "/"))
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own_and_those_without_one_share_another() {
    let limit = ConcurrencyLimit::new(1);
    let layer = by_path(limit.clone());
    let mut held = Vec::new();
    for (path, status) in [("/a", 200), ("/b", 200), ("/a", 503), ("/", 200), ("/", 503), ("/b", 503)] {
        let answer = ask(&layer, to(path)).await;
        assert_eq!(answer.status(), status, "{path}");
        held.push(answer);
    }
    assert_eq!(limit.in_flight(), 3);
    held.clear();
    assert_eq!(limit.in_flight(), 0);
    assert_eq!(ask(&layer, to("/a")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_in_its_own_queue_and_a_resize_is_for_all_of_them() {
    let limit = ConcurrencyLimit::new(1);
    let layer = by_path(limit.clone()).wait_up_to(60 * SECOND, 1);
    let _held = [ask(&layer, to("/a")).await, ask(&layer, to("/b")).await];
    let waiting = [send(&layer, to("/a")), send(&layer, to("/b"))];
    settle().await;
    assert_eq!((limit.in_flight(), limit.waiting()), (2, 2));
    limit.resize(2);
    for one in waiting {
        assert_eq!(one.await.expect("no panic").status(), 200);
    }
    let _held = [ask(&layer, to("/c")).await, ask(&layer, to("/c")).await];
    assert_eq!(limit.in_flight(), 4, "a key that comes later has the new limit");
}

#[tokio::test(start_paused = true)]
async fn layers_of_one_limit_count_a_key_together() {
    let limit = ConcurrencyLimit::new(1);
    let _held = ask(&by_path(limit.clone()), to("/a")).await;
    assert_eq!(ask(&by_path(limit), to("/a")).await.status(), 503);
}

proptest! {
    /// However many keys there are, and whoever comes and goes: no key ever has more than its limit, and a key is
    /// refused below it only where the table has more keys in flight than places.
    #[test]
    fn no_key_exceeds_its_limit_however_crowded_it_is(
        steps in prop::collection::vec((0u64..24, any::<bool>()), 0..300),
        limit in 1u32..4,
    ) {
        let table = Table::new(limit);
        let mut in_flight: HashMap<u64, Vec<Permit>> = HashMap::new();
        for (name, comes) in steps {
            let key = name * 2048; // all of them neighbours
            if !comes {
                in_flight.get_mut(&key).and_then(Vec::pop);
                continue;
            }
            let keys = in_flight.values().filter(|permits| !permits.is_empty()).count();
            let permits = in_flight.entry(key).or_default();
            let gate = table.gate(key);
            let permit = Gate::enter(&gate);
            if keys < 8 && permits.len() < limit as usize && permit.is_none() {
                // It shares a gate with those who came when there was no place.
                prop_assert!(gate.in_flight() as usize > permits.len());
            }
            permits.extend(permit);
            prop_assert!(permits.len() <= limit as usize);
        }
        let all: usize = in_flight.values().map(Vec::len).sum();
        prop_assert_eq!(table.in_flight() as usize, all);
        drop(in_flight);
        prop_assert_eq!(table.in_flight(), 0);
        // All is calm again: each of eight neighbours has a gate of its own.
        let gates: Vec<_> = (0..8).map(|name| table.gate(name * 2048)).collect();
        let permits: Vec<_> = gates.iter().filter_map(Gate::enter).collect();
        prop_assert_eq!(permits.len(), 8);
    }
}
