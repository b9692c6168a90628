//! Which of the ordinary requests are logged.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A share of the requests.
///
/// A request with an id is in or out by that id, so that services which share ids and shares log the same requests.
/// Those without are counted, and spread evenly.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// The share, of 2⁶⁴; `None` is all of them.
    below: Option<u64>,
    count: Arc<AtomicU64>,
}

// ===== impl Sample =====

impl Sample {
    pub(super) fn all() -> Self {
        Self { below: None, count: Arc::default() }
    }

    /// This share: 0 is none, 1 is all, and what is not between them is the nearer of the two.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from a float saturates")]
    pub(super) fn share(share: f64) -> Self {
        const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;
        Self { below: (share < 1.0).then_some((share * TWO_TO_64) as u64), ..Self::all() }
    }

    pub(super) fn takes(&self, request_id: &[u8]) -> bool {
        let Some(below) = self.below else { return true };
        let point = if request_id.is_empty() {
            // Steps of the golden ratio fill the circle evenly, whatever the share.
            self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        } else {
            hash(request_id)
        };
        point < below
    }
}

/// FNV-1a, mixed once more, since its upper bits alone are not even enough. It must never change: services of different
/// builds agree by it.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_kept_with_ids_and_without() {
        for share in [0.0, 0.01, 0.25, 0.9, 1.0] {
            let (with, without) = (Sample::share(share), Sample::share(share));
            let expected = share * 20_000.0;
            let taken = |sample: &Sample, id: &dyn Fn(u32) -> String| {
                f64::from((0..20_000).map(|n| u32::from(sample.takes(id(n).as_bytes()))).sum::<u32>())
            };
            assert!((taken(&with, &|n| format!("0190-{n}")) - expected).abs() <= 300.0, "{share} by id");
            assert!((taken(&without, &|_| String::new()) - expected).abs() <= 20.0, "{share} by count");
        }
    }

    #[test]
    fn one_id_is_in_or_out_everywhere_and_a_larger_share_takes_what_a_smaller_one_takes() {
        for n in 0..1000 {
            let id = n.to_string();
            let taken = Sample::share(0.3).takes(id.as_bytes());
            assert_eq!(Sample::share(0.3).takes(id.as_bytes()), taken);
            assert!(!taken || Sample::share(0.5).takes(id.as_bytes()));
        }
    }

    #[test]
    fn shares_out_of_range_are_none_or_all() {
        assert!(!Sample::share(-1.0).takes(b"a"));
        assert!(Sample::share(2.0).takes(b"a"));
        assert!(Sample::share(f64::NAN).takes(b"a"));
    }
}
