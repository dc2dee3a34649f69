//! Words and bit-packed numbers.

use crate::params::{PLAINTEXT_BITS, PLAINTEXT_MODULUS};

/// Two values of 20 bits fill five bytes, the first value in the low bits.
const PAIR_BYTES: usize = 2 * PLAINTEXT_BITS / 8;

/// Appends words, little endian.
pub(super) fn write_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.reserve(words.len() * 4);
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// Appends a number of things of which there are at most 2^10 (partitions).
#[expect(clippy::cast_possible_truncation, reason = "checked by every caller against the geometry")]
pub(super) fn write_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
}

/// Words from whole groups of four bytes.
pub(super) fn read_words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// Appends values below 2^20, an even number of them.
pub(super) fn write_residues(bytes: &mut Vec<u8>, values: &[u32]) {
    for [low, high] in values.as_chunks().0 {
        let pair = u64::from(*low) | u64::from(*high) << PLAINTEXT_BITS;
        bytes.extend(pair.to_le_bytes().into_iter().take(PAIR_BYTES));
    }
}

/// The values of [`write_residues`].
pub(super) fn read_residues(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.as_chunks::<PAIR_BYTES>().0.iter().flat_map(|[a, b, c, d, e]| {
        let middle = u32::from(*c);
        let low = u32::from(*a) | u32::from(*b) << 8 | (middle & 0xf) << 16;
        [low, middle >> 4 | u32::from(*d) << 4 | u32::from(*e) << 12]
    })
}

/// Whether every value is below t, as every encoder writes them.
pub(super) fn residues_are_reduced(bytes: &[u8]) -> bool {
    // No early exit: the time depends on the size alone.
    read_residues(bytes).fold(true, |good, value| good & (value < PLAINTEXT_MODULUS))
}
