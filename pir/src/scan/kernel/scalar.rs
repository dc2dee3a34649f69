//! The portable kernel.
//!
//! A word b is split into signed halves, b ≡ low + 2^16·high with both in \[−2^15, 2^15), so that a
//! product with a signed byte is one 16-bit multiplication: compilers turn the pairwise sums below
//! into `pmaddwd` (eight products an instruction on any x86-64) and its like. The two sums wrap
//! modulo 2^32, which the result does too: Σ D·b ≡ Σ D·low + 2^16·Σ D·high.

use crate::params::PARTITION_BUCKETS;

/// Rows that stay in the first-level cache while groups of queries pass over them.
const CACHED_ROWS: usize = 16;
/// Lanes of an accumulator; each takes two products a step.
const LANES: usize = 4;
const STEP: usize = 2 * LANES;

/// One query's words for one partition.
#[derive(Clone)]
struct Block {
    low: [i16; PARTITION_BUCKETS],
    high: [i16; PARTITION_BUCKETS],
}

impl Block {
    #[expect(clippy::cast_possible_truncation, reason = "the low half, then the high half")]
    fn new(words: &[u32]) -> Self {
        let mut block = Self { low: [0; PARTITION_BUCKETS], high: [0; PARTITION_BUCKETS] };
        for ((low, high), word) in block.low.iter_mut().zip(&mut block.high).zip(words) {
            *low = *word as i16;
            *high = (word.wrapping_sub(i32::from(*low).cast_unsigned()) >> 16) as i16;
        }
        block
    }
}

/// Queries split into halves, all blocks of a partition together.
pub(in crate::scan) struct Queries {
    blocks: Vec<Block>,
    count: usize,
}

impl Queries {
    pub(super) fn new(queries: &[&[u32]]) -> Self {
        let partitions = queries.first().map_or(0, |query| query.len() / PARTITION_BUCKETS);
        let mut blocks = Vec::with_capacity(partitions * queries.len());
        for partition in 0..partitions {
            let words = partition * PARTITION_BUCKETS..(partition + 1) * PARTITION_BUCKETS;
            let block = |query: &&[u32]| Block::new(query.get(words.clone()).unwrap_or_default());
            blocks.extend(queries.iter().map(block));
        }
        Self { blocks, count: queries.len() }
    }

    pub(super) fn partitions(&self) -> usize {
        self.blocks.len() / self.count.max(1)
    }

    pub(super) fn accumulate(&self, rows: &[u8], partition: usize, sums: &mut [u32]) {
        let blocks = self.blocks.chunks_exact(self.count).nth(partition).unwrap_or_default();
        let (rows, _) = rows.as_chunks::<PARTITION_BUCKETS>();
        for (rows, sums) in rows.chunks(CACHED_ROWS).zip(sums.chunks_mut(CACHED_ROWS * self.count))
        {
            let (fours, rest) = blocks.as_chunks::<4>();
            for (group, four) in fours.iter().enumerate() {
                accumulate_group(rows, four.each_ref(), sums, self.count, 4 * group);
            }
            let first = 4 * fours.len();
            match rest {
                [a, b, c] => accumulate_group(rows, [a, b, c], sums, self.count, first),
                [a, b] => accumulate_group(rows, [a, b], sums, self.count, first),
                [a] => accumulate_group(rows, [a], sums, self.count, first),
                _ => {}
            }
        }
    }
}

/// Adds the products of some rows with Q queries, the `first` and following of `count`.
fn accumulate_group<const Q: usize>(
    rows: &[[u8; PARTITION_BUCKETS]],
    blocks: [&Block; Q],
    sums: &mut [u32],
    count: usize,
    first: usize,
) {
    for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(count)) {
        for (sum, product) in sums.iter_mut().skip(first).zip(dot(row, blocks)) {
            *sum = sum.wrapping_add(product);
        }
    }
}

/// One row times the blocks of Q queries.
#[inline]
#[expect(clippy::indexing_slicing, reason = "all arrays have a multiple of STEP elements")]
fn dot<const Q: usize>(row: &[u8; PARTITION_BUCKETS], blocks: [&Block; Q]) -> [u32; Q] {
    let mut low = [[0i32; LANES]; Q];
    let mut high = [[0i32; LANES]; Q];
    for start in (0..PARTITION_BUCKETS).step_by(STEP) {
        let entries: [i16; STEP] = std::array::from_fn(|i| i16::from(row[start + i].cast_signed()));
        for q in 0..Q {
            for (sums, words) in [(&mut low[q], &blocks[q].low), (&mut high[q], &blocks[q].high)] {
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let product = |i: usize| i32::from(entries[i]) * i32::from(words[start + i]);
                    // Two products of 7 and 15 bits: below 2^23.
                    let pair = product(2 * lane) + product(2 * lane + 1);
                    *sum = sum.wrapping_add(pair);
                }
            }
        }
    }
    let total =
        |lanes: [i32; LANES]| lanes.into_iter().fold(0i32, i32::wrapping_add).cast_unsigned();
    std::array::from_fn(|q| total(low[q]).wrapping_add(total(high[q]) << 16))
}
