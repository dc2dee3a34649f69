//! Common code of the kernels that multiply bytes, 16, 32 or 64 at a time.
//!
//! Their instructions multiply bytes and add groups of four products to a 32-bit lane, wrapping. A
//! word consists of four bytes, b ≡ Σ_l 2^(8l)·b_l, so Σ D·b ≡ Σ_l 2^(8l)·(Σ D·b_l) modulo 2^32,
//! and overflow of a lane does not matter. The bytes of a query are signed or unsigned, as the
//! instruction requires ([`signed`]); the table's bytes are signed as stored.
//!
//! Four rows times four bytes are 16 sums in registers: each loaded line of the table is used four
//! times, and each line of the query four times. At the end of a partition the four sums of a row
//! are combined before they leave the registers; kept separately in memory, they took a sixth of
//! the time. Four queries of one partition are 16 KiB, which stay in the first-level cache with the
//! rows and their sums. Sums of a band are in the second-level cache, to which rows are prefetched
//! well before their turn: a few rows ahead, or, if queries pass over a band several times, a band
//! ahead, with each query prefetching its share. Memory and arithmetic therefore never wait for
//! each other.
#![expect(unsafe_code, reason = "vector code is called through a table, after a run-time check")]

use super::RowScan;
use super::lines::{LINE, Line, ahead, limb, zeroed};
use crate::params::PARTITION_BUCKETS;

/// Bytes of a word.
pub(super) const LIMBS: usize = 4;
/// Lines of a partition's row.
pub(super) const STEPS: usize = PARTITION_BUCKETS / LINE;
/// Number of rows that share a loaded line of a query.
pub(super) const ROWS: usize = 4;
/// Number of queries whose blocks stay in the first-level cache together.
const CACHED_QUERIES: usize = 4;

/// One query's words for one partition: for each line of a row, the four bytes of its words.
pub(super) type Block = [[Line<[u8; LINE]>; LIMBS]; STEPS];
/// One row of one partition.
pub(super) type Row = [[u8; LINE]; STEPS];
/// Rows that are multiplied together.
pub(super) type Rows = [Row; ROWS];
/// Each row's sum, not yet reduced across lanes. A kernel may use only a part of the lanes.
pub(super) type Sums = [Lanes; ROWS];
/// Sums with as many lanes as the widest register has.
pub(super) type Lanes = Line<[u32; LINE / 4]>;

/// Machine code that adds four rows times one query's block to their sums, and prefetches lines of
/// memory in order, starting at the pointer.
///
/// # Safety
/// The processor must support the instructions of the code's kernel.
pub(super) type AddRows = unsafe fn(&Rows, &Block, &mut Sums, *const u8);

/// A kernel's machine code.
pub(super) struct Code {
    /// For a single query, which waits only for memory: prefetches four lines per step.
    pub(super) alone: AddRows,
    /// Prefetch none, one or two lines per step.
    pub(super) prefetching: [AddRows; 3],
    /// Distance in bytes at which rows are prefetched if queries pass over a band once.
    pub(super) ahead: usize,
}

/// Queries split into bytes, with all blocks of a partition contiguous, and the code that
/// multiplies them.
pub(super) struct Queries {
    blocks: Vec<Block>,
    count: usize,
    code: &'static Code,
}

impl Queries {
    /// Splits each word according to `digits`.
    ///
    /// # Safety
    /// This machine must support `code`.
    pub(super) unsafe fn new(
        queries: &[&[u32]],
        code: &'static Code,
        digits: impl Fn(u32) -> u32 + Sync,
    ) -> Self {
        Self { blocks: blocks(queries, digits), count: queries.len(), code }
    }

    /// Adds one partition's band times some queries (those of `group`) to their sums.
    fn add_band(
        &self,
        bands: &[&[u8]],
        partition: usize,
        group: usize,
        queries: &[Block],
        sums: &mut [Sums],
    ) {
        let Code { alone, prefetching: [none, one, two], ahead: distance } = *self.code;
        let band = bands.get(partition).copied().unwrap_or_default();
        let rows: &[Rows] = band.as_chunks().0.as_chunks().0.as_chunks().0;
        let distance = if self.count > CACHED_QUERIES { band.len() } else { distance };
        for (index, (rows, sums)) in rows.iter().zip(sums.chunks_exact_mut(self.count)).enumerate()
        {
            let next = ahead(bands, partition, index * size_of::<Rows>() + distance);
            let places = group * CACHED_QUERIES..;
            let sums = sums.iter_mut().skip(places.start);
            for (place, (query, sums)) in places.zip(queries.iter().zip(sums)) {
                // This query's share of the next rows.
                let first = place * ROWS / self.count;
                let asked = (place + 1) * ROWS / self.count - first;
                let add = match asked {
                    0 => none,
                    1 => one,
                    2 => two,
                    _ => alone,
                };
                // SAFETY: `self` exists, so this machine supports `code`.
                unsafe { add(rows, query, sums, next.wrapping_add(first * PARTITION_BUCKETS)) }
            }
        }
    }
}

/// Splits each word according to `digits`. All blocks of a partition are contiguous.
pub(super) fn blocks(queries: &[&[u32]], digits: impl Fn(u32) -> u32 + Sync) -> Vec<Block> {
    super::blocks(queries, 1, |words| block(words.first().copied().unwrap_or_default(), &digits))
}

fn block(words: &[u32], digits: impl Fn(u32) -> u32) -> Block {
    let mut block = [[Line([0; LINE]); LIMBS]; STEPS];
    for (lines, words) in block.iter_mut().zip(words.chunks(LINE)) {
        for (index, line) in lines.iter_mut().enumerate() {
            for (byte, word) in line.0.iter_mut().zip(words) {
                *byte = limb(digits(*word), index);
            }
        }
    }
    block
}

/// The word whose bytes, read as signed, are the digits of this word: b ≡ Σ_l 2^(8l)·s_l modulo
/// 2^32.
///
/// With M = Σ_l 2^(8l)·128 and u_l the unsigned bytes of b + M, b ≡ Σ_l 2^(8l)·(u_l − 128). The
/// number u − 128 is u with its highest bit flipped, read as signed.
/// - 128 is u with its highest bit flipped, read as signed.
#[cfg(any(target_arch = "aarch64", test))]
pub(super) fn signed(word: u32) -> u32 {
    const M: u32 = 0x8080_8080;
    word.wrapping_add(M) ^ M
}

impl RowScan for Queries {
    /// Long bands, because sequential reading restarts with each band. If queries pass over a band
    /// several times, the band and the next one must instead fit the second-level cache.
    fn task_rows(&self) -> usize {
        if self.count <= CACHED_QUERIES { 1024 } else { 256 }
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        let blocks = sums.len() / (ROWS * self.count.max(1));
        // SAFETY: sums are numbers.
        let mut lanes: Box<[Sums]> = unsafe { zeroed(blocks * self.count) };
        for (partition, queries) in self.blocks.chunks_exact(self.count).enumerate() {
            for (group, queries) in queries.chunks(CACHED_QUERIES).enumerate() {
                self.add_band(bands, partition, group, queries, &mut lanes);
            }
        }
        let rows = sums.chunks_mut(ROWS * self.count);
        for (sums, lanes) in rows.zip(lanes.chunks_exact(self.count)) {
            for (row, sums) in sums.chunks_mut(self.count).enumerate() {
                let lanes = lanes.iter().filter_map(|rows| rows.get(row));
                for (sum, Line(lanes)) in sums.iter_mut().zip(lanes) {
                    *sum = lanes.iter().copied().fold(*sum, u32::wrapping_add);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_digits_are_the_word() {
        let value = |digits: u32| {
            let digits = digits.to_le_bytes().map(|digit| i32::from(digit.cast_signed()));
            digits.iter().rev().fold(0i32, |sum, digit| sum.wrapping_mul(256).wrapping_add(*digit))
        };
        let words = [0, 1, 127, 128, 255, 256, 0x7fff_ffff, 1 << 31, 0x807f_80ff, u32::MAX];
        for word in words.into_iter().chain((0..100_000).map(|i: u32| i.wrapping_mul(0x9e37_79b9)))
        {
            assert_eq!(value(signed(word)).cast_unsigned(), word, "{word:#x}");
        }
    }
}
