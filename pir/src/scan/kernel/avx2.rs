//! AVX2: 16 products of half words per instruction.
//!
//! AVX2's 8-bit multiply-adds saturate (255·127·2 exceeds 16 bits). A word is therefore split as in
//! the scalar kernel, b ≡ low + 2^16·high with both halves signed, and the table's bytes are
//! widened as they are loaded. `vpmaddwd` adds two products of at most 22 bits to a 32-bit lane,
//! wrapping.
//!
//! Four rows times two halves are eight sums in registers, so that each load of a query is used
//! four times. One partition's block of a query is 4 KiB and stays in the first-level cache.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_setzero_si256, _mm256_storeu_si256,
};

use super::lines::{LINE, Line, ahead, zeroed};
use super::{RowScan, blocks};
use crate::machine::{detect, prefetch};
use crate::params::PARTITION_BUCKETS;

/// Half words of a register.
const LANES: usize = 16;
/// Low and high.
const HALVES: usize = 2;
/// Registers of widened bytes in a partition's row.
const STEPS: usize = PARTITION_BUCKETS / LANES;
/// Rows that share a loaded register of a query.
const ROWS: usize = 4;
/// Steps for each line of the table.
const LINE_STEPS: usize = LINE / LANES;
/// Distance in bytes at which rows are prefetched.
const AHEAD: usize = 2 * ROWS * PARTITION_BUCKETS;

/// One query's words for one partition: the low halves and the high halves of 16 words at a time.
type Block = [Line<[[i16; LANES]; HALVES]>; STEPS];
/// Some rows of one partition.
type Rows = [[[u8; LANES]; STEPS]; ROWS];
/// Sums of some rows times one query, not yet reduced across lanes.
type Sums = [Line<[[u32; LANES / 2]; HALVES]>; ROWS];

/// Queries split into halves; all blocks of a partition are contiguous. A value proves that this
/// machine supports the kernel.
pub(super) struct Queries {
    blocks: Vec<Block>,
    count: usize,
}

impl Queries {
    /// `None` if this machine lacks the instructions.
    pub(super) fn new(queries: &[&[u32]]) -> Option<Self> {
        detect::avx2().then(|| Self { blocks: blocks(queries, 1, block), count: queries.len() })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half, then the high half")]
fn block(words: &[&[u32]]) -> Block {
    let words = words.first().copied().unwrap_or_default();
    let mut block = [Line([[0; LANES]; HALVES]); STEPS];
    for (Line([lows, highs]), words) in block.iter_mut().zip(words.chunks(LANES)) {
        for ((low, high), word) in lows.iter_mut().zip(highs).zip(words) {
            *low = *word as i16;
            *high = (word.wrapping_sub(i32::from(*low).cast_unsigned()) >> 16) as i16;
        }
    }
    block
}

impl RowScan for Queries {
    fn task_rows(&self) -> usize {
        if self.count < 8 { 256 } else { 128 }
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        let blocks = sums.len() / (ROWS * self.count.max(1));
        // SAFETY: sums are numbers.
        let mut lanes: Box<[Sums]> = unsafe { zeroed(blocks * self.count) };
        for (partition, queries) in self.blocks.chunks_exact(self.count).enumerate() {
            // SAFETY: `self` exists, so `Queries::new` has detected avx2.
            unsafe { add_band(bands, partition, queries, &mut lanes) }
        }
        let rows = sums.chunks_mut(ROWS * self.count);
        for (sums, lanes) in rows.zip(lanes.chunks_exact(self.count)) {
            for (row, sums) in sums.chunks_mut(self.count).enumerate() {
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum = sum.wrapping_add(lanes.get(row).map_or(0, total));
                }
            }
        }
    }
}

fn total(Line([low, high]): &Line<[[u32; LANES / 2]; HALVES]>) -> u32 {
    let lanes = |half: &[u32; LANES / 2]| half.iter().copied().fold(0, u32::wrapping_add);
    lanes(low).wrapping_add(lanes(high) << 16)
}

/// Adds one partition's band times all queries to their sums.
#[target_feature(enable = "avx2")]
fn add_band(bands: &[&[u8]], partition: usize, queries: &[Block], sums: &mut [Sums]) {
    let band = bands.get(partition).copied().unwrap_or_default();
    let rows: &[Rows] = band.as_chunks().0.as_chunks().0.as_chunks().0;
    let sums = sums.chunks_exact_mut(queries.len());
    for (index, (rows, sums)) in rows.iter().zip(sums).enumerate() {
        let next = ahead(bands, partition, index * size_of::<Rows>() + AHEAD);
        for (first, (query, sums)) in queries.iter().zip(sums).enumerate() {
            if first == 0 {
                add_rows::<true>(rows, query, sums, next);
            } else {
                add_rows::<false>(rows, query, sums, next);
            }
        }
    }
}

/// Adds four rows times one query to their sums, and prefetches the same amount of memory starting
/// at `next`.
#[target_feature(enable = "avx2")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_rows<const PREFETCH: bool>(rows: &Rows, query: &Block, sums: &mut Sums, next: *const u8) {
    let mut lanes = [[_mm256_setzero_si256(); HALVES]; ROWS];
    for (lanes, Line(sums)) in lanes.iter_mut().zip(sums.iter()) {
        for (lanes, sums) in lanes.iter_mut().zip(sums) {
            *lanes = load(sums);
        }
    }
    for step in 0..STEPS {
        let words: [__m256i; HALVES] = [load(&query[step].0[0]), load(&query[step].0[1])];
        for row in 0..ROWS {
            let entries = widen(&rows[row][step]);
            for half in 0..HALVES {
                let products = _mm256_madd_epi16(words[half], entries);
                lanes[row][half] = _mm256_add_epi32(lanes[row][half], products);
            }
        }
        // Four steps cover four lines of the table: one prefetch each.
        const { assert!(ROWS == LINE_STEPS) };
        if PREFETCH {
            prefetch(next, step * LINE);
        }
    }
    for (lanes, Line(sums)) in lanes.iter().zip(sums) {
        for (lanes, sums) in lanes.iter().zip(sums) {
            store(*lanes, sums);
        }
    }
}

/// Converts 16 signed bytes to half words.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(bytes: &[u8; LANES]) -> __m256i {
    // SAFETY: the reference covers 16 initialised bytes, and the load needs no alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// Any 32 bytes as a register.
#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Copy, const N: usize>(half_line: &[T; N]) -> __m256i {
    const { assert!(size_of::<[T; N]>() == LINE / 2) };
    // SAFETY: the reference covers 32 initialised bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(half_line.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(register: __m256i, half_line: &mut [u32; LANES / 2]) {
    // SAFETY: the reference covers 32 writable bytes, any of whose values is valid, and the store
    // needs no alignment.
    unsafe { _mm256_storeu_si256(half_line.as_mut_ptr().cast(), register) }
}
