//! Words and bit-packed numbers.

use crate::geometry::{Geometry, round_word};
use crate::params::{PARTITION_BUCKETS, PLAINTEXT_BITS, PLAINTEXT_MODULUS};

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

/// Bytes of one partition's buckets in a query.
pub(super) fn block_bytes(geometry: &Geometry) -> usize {
    PARTITION_BUCKETS * geometry.rounding().bucket_bits as usize / 8
}

/// Appends a query's numbers, each rounded to its geometry's bits and without the rest, the first one
/// in the low bits. Whole partitions fill whole groups of four bytes.
#[expect(clippy::cast_possible_truncation, reason = "32 bits at a time")]
pub(super) fn write_buckets(bytes: &mut Vec<u8>, words: &[u32], geometry: &Geometry) {
    let bits = geometry.rounding().bucket_bits;
    let (mut pending, mut filled) = (0u64, 0);
    for word in words {
        pending |= u64::from(round_word(*word, bits) >> (32 - bits)) << filled;
        filled += bits;
        if filled >= 32 {
            bytes.extend_from_slice(&(pending as u32).to_le_bytes());
            pending >>= 32;
            filled -= 32;
        }
    }
}

/// The numbers of [`write_buckets`], their lowest bits zero.
#[expect(clippy::cast_possible_truncation, reason = "the mask is of 32 bits at most")]
pub(super) fn read_buckets(bytes: &[u8], geometry: &Geometry) -> Vec<u32> {
    let bits = geometry.rounding().bucket_bits;
    let mut words = Vec::with_capacity(bytes.len() * 8 / bits as usize);
    let (mut pending, mut filled) = (0u64, 0);
    for group in bytes.as_chunks().0 {
        pending |= u64::from(u32::from_le_bytes(*group)) << filled;
        filled += 32;
        while filled >= bits {
            let value = pending & ((1 << bits) - 1);
            words.push((value << (32 - bits)) as u32);
            pending >>= bits;
            filled -= bits;
        }
    }
    words
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
