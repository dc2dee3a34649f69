//! The portable kernel.
//!
//! A word b is split into signed halves, b ≡ low + 2^16·high with both in \[−2^15, 2^15), so that a
//! product with a signed byte is one 16-bit multiplication. Compilers turn [`dot`] into `pmaddwd`
//! (eight products per instruction on any x86-64) and similar instructions. The two sums wrap
//! modulo 2^32, like the result: Σ D·b ≡ Σ D·low + 2^16·Σ D·high.

use super::{RowScan, blocks};
use crate::params::PARTITION_BUCKETS;

/// Number of rows that are widened together and stay in the first-level cache (16 KiB) while every
/// query passes over them.
const CACHED_ROWS: usize = 8;
/// Number of independent sums of a dot product. With 32, compilers find the pairwise multiply-add
/// and use enough registers to hide its latency. With one they do not, at a third of the speed.
const LANES: usize = 32;

/// Half words, or widened bytes, of one partition's 1024 buckets.
type Halves = [i16; PARTITION_BUCKETS];

/// One query's words for one partition.
#[derive(Clone)]
struct Block {
    low: Halves,
    high: Halves,
}

impl Block {
    #[expect(clippy::cast_possible_truncation, reason = "the low half, then the high half")]
    fn new(words: &[&[u32]]) -> Self {
        let words = words.first().copied().unwrap_or_default();
        let mut block = Self { low: [0; PARTITION_BUCKETS], high: [0; PARTITION_BUCKETS] };
        for ((low, high), word) in block.low.iter_mut().zip(&mut block.high).zip(words) {
            *low = *word as i16;
            *high = (word.wrapping_sub(i32::from(*low).cast_unsigned()) >> 16) as i16;
        }
        block
    }
}

/// Queries split into halves; all blocks of a partition are contiguous.
pub(super) struct Queries {
    blocks: Vec<Block>,
    count: usize,
}

impl Queries {
    pub(super) fn new(queries: &[&[u32]]) -> Self {
        Self { blocks: blocks(queries, 1, Block::new), count: queries.len() }
    }

    fn accumulate(&self, rows: &[u8], partition: usize, sums: &mut [u32]) {
        let blocks = self.blocks.chunks_exact(self.count).nth(partition).unwrap_or_default();
        let (rows, _) = rows.as_chunks::<PARTITION_BUCKETS>();
        let mut wide = [[0; PARTITION_BUCKETS]; CACHED_ROWS];
        for (rows, sums) in rows.chunks(CACHED_ROWS).zip(sums.chunks_mut(CACHED_ROWS * self.count))
        {
            for (wide, row) in wide.iter_mut().zip(rows) {
                widen(row, wide);
            }
            for (query, block) in blocks.iter().enumerate() {
                let sums = sums.iter_mut().skip(query).step_by(self.count);
                for (sum, row) in sums.zip(&wide) {
                    let product = dot(row, &block.low).wrapping_add(dot(row, &block.high) << 16);
                    *sum = sum.wrapping_add(product);
                }
            }
        }
    }
}

impl RowScan for Queries {
    fn task_rows(&self) -> usize {
        128
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        let partitions = self.blocks.len() / self.count.max(1);
        for (partition, rows) in bands.iter().take(partitions).enumerate() {
            self.accumulate(rows, partition, sums);
        }
    }
}

fn widen(row: &[u8; PARTITION_BUCKETS], wide: &mut Halves) {
    for (wide, byte) in wide.iter_mut().zip(row) {
        *wide = i16::from(byte.cast_signed());
    }
}

/// Σ entries·words, wrapping; each product has at most 7 + 15 bits.
///
/// A separate function, so that the loop is compiled the same way wherever it is used.
#[inline(never)]
#[expect(clippy::indexing_slicing, reason = "lane counts are constants")]
fn dot(entries: &Halves, words: &Halves) -> u32 {
    let mut sums = [0i32; LANES];
    let (entries, words) = (entries.as_chunks::<LANES>().0, words.as_chunks::<LANES>().0);
    for (entries, words) in entries.iter().zip(words) {
        for lane in 0..LANES {
            let product = i32::from(entries[lane]) * i32::from(words[lane]);
            sums[lane] = sums[lane].wrapping_add(product);
        }
    }
    sums.into_iter().fold(0, i32::wrapping_add).cast_unsigned()
}
