//! Numbers in messages: whole words and packed numbers.

use crate::bits;
use crate::geometry::{Geometry, round_word};
use crate::params::{PARTITION_BUCKETS, PLAINTEXT_BITS, PLAINTEXT_MODULUS};

/// Appends words, little endian.
pub(super) fn write_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.reserve(words.len() * 4);
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// Appends a count of at most 2^10 (partitions).
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
    bits::packed_bytes(PARTITION_BUCKETS, geometry.rounding().bucket_bits)
}

/// Appends a query's numbers, each rounded to its geometry's bits, without the remaining low bits.
/// Whole partitions fill whole groups of four bytes.
pub(super) fn write_buckets(bytes: &mut Vec<u8>, words: &[u32], geometry: &Geometry) {
    let width = geometry.rounding().bucket_bits;
    let kept = words.iter().map(|word| round_word(*word, width) >> (32 - width));
    bits::pack(kept, width, bytes);
}

/// The numbers of [`write_buckets`], with zeros in the low bits.
#[expect(clippy::cast_possible_truncation, reason = "numbers of at most 32 bits")]
pub(super) fn read_buckets(bytes: &[u8], geometry: &Geometry) -> Vec<u32> {
    let width = geometry.rounding().bucket_bits;
    let mut words = Vec::with_capacity(bytes.len() * 8 / width as usize);
    words.extend(bits::unpack(bytes, width).map(|value| (value as u32) << (32 - width)));
    words
}

/// Appends an even number of values below 2^20.
pub(super) fn write_residues(bytes: &mut Vec<u8>, values: impl Iterator<Item = u32>) {
    bits::pack(values, PLAINTEXT_BITS, bytes);
}

/// The values of [`write_residues`].
#[expect(clippy::cast_possible_truncation, reason = "20 bits")]
pub(super) fn read_residues(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bits::unpack(bytes, PLAINTEXT_BITS).map(|value| value as u32)
}

/// Whether every value is below t, as in every encoding.
pub(super) fn residues_are_reduced(bytes: &[u8]) -> bool {
    // There is no early exit: the time depends only on the size.
    read_residues(bytes).fold(true, |good, value| good & (value < PLAINTEXT_MODULUS))
}
