//! A number for bytes, quickly.

/// The same for the same bytes, and mostly another one for others; its upper bits are the ones to be used.
///
/// No secret is in it: it is for what is compared in full afterwards, or may be wrong at the cost of a look.
#[inline]
pub(super) fn mix(seed: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(FACTOR).rotate_left(29);
    let (words, _) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(seed ^ bytes.len() as u64, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    // The last bytes are no whole word as a rule, so some of them count twice.
    let end = bytes.last_chunk::<8>().map(|end| u64::from_le_bytes(*end));
    let end = end.unwrap_or_else(|| bytes.iter().fold(0, |end, byte| end << 8 | u64::from(*byte)));
    mix(sum, end).wrapping_mul(FACTOR)
}
