//! Telling keys apart by 64 bits that nobody can foresee.

use crate::Key;
use std::hash::BuildHasher;

#[cfg(not(bartizan_loom))]
type Source = std::hash::RandomState;
/// A model checker runs the same thing again and again, and needs it to be the same.
#[cfg(bartizan_loom)]
type Source = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// A linear function of a key's words, drawn at random; a hash is the upper half of its value.
///
/// This is Dietzfelbinger's multiply-shift scheme, which is strongly universal: for whoever does not see hashes, any two
/// keys, however he chose them, have equal ones with a probability of 2⁻⁶⁴. And it takes two multiplications for each
/// word, where a hash whose values might be seen takes fifty operations and more.
pub(crate) struct Secret {
    constant: u128,
    factors: [u128; Key::MOST_WORDS],
}

impl Secret {
    /// Another secret each time.
    pub(crate) fn draw() -> Self {
        let (random, mut drawn) = (Source::default(), 0_u64);
        let mut half = || {
            drawn += 1;
            u128::from(random.hash_one(drawn))
        };
        let mut draw = || half() << 64 | half();
        Self { constant: draw(), factors: std::array::from_fn(|_| draw()) }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the upper half of 128 bits")]
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let products = self.factors.iter().zip(key.words()).map(|(factor, word)| factor.wrapping_mul(word.into()));
        (products.fold(self.constant, u128::wrapping_add) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn different_keys_have_different_hashes_and_no_two_secrets_agree(
            a in prop::collection::vec(any::<u8>(), 0..80),
            b in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let (secret, other) = (Secret::draw(), Secret::draw());
            let (a_key, b_key) = (Key::new(&a), Key::new(&b));
            prop_assert_eq!(a == b, secret.hash(&a_key) == secret.hash(&b_key));
            prop_assert!(secret.hash(&a_key) != other.hash(&a_key));
        }
    }
}
