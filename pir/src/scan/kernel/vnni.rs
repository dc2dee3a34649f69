//! AVX-512 VNNI: 64 products of bytes an instruction.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes and adds each four products to a 32-bit lane,
//! wrapping. A word is its four unsigned bytes, b = Σ_l 2^(8l)·b_l, the table's bytes are signed as
//! they lie, so Σ D·b ≡ Σ_l 2^(8l)·(Σ D·b_l) modulo 2^32 and no lane's overflow matters.
//!
//! Four rows times four bytes are 16 sums in registers: each loaded line of the table is used four
//! times and each line of the query four times. Four queries of one partition are 16 KiB, which with the
//! rows and their sums stay in the first-level cache; sums of a band wait in the second, where the rows are
//! asked for well before their turn: a few rows ahead, or, where queries pass over a band several times, a
//! band ahead, each query asking for its share, so that memory and arithmetic never wait for each other.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_storeu_si512,
};

use super::lines::{LINE, Line, ahead, limb, zeroed};
use super::{RowScan, detect};
use crate::params::PARTITION_BUCKETS;
use crate::prefetch::prefetch;

/// Bytes of a word.
const LIMBS: usize = 4;
/// Lines of a partition's row.
const STEPS: usize = PARTITION_BUCKETS / LINE;
/// Rows that share a loaded line of a query.
const ROWS: usize = 4;
/// Queries whose blocks stay in the first-level cache together.
const CACHED_QUERIES: usize = 4;
/// How far ahead of the rows in work memory is asked for, where queries pass over a band once.
const AHEAD: usize = 16 * PARTITION_BUCKETS;

/// One query's words for one partition: for each line of a row, the four bytes of its words.
type Block = [[Line<[u8; LINE]>; LIMBS]; STEPS];
/// Some rows of one partition.
type Rows<const N: usize> = [[[u8; LINE]; STEPS]; N];
/// Sums of some rows times one query, not yet added up across lanes.
type Sums<const N: usize> = [[Line<[u32; LINE / 4]>; LIMBS]; N];

/// Queries split into bytes, all blocks of a partition together. To have one is to know that this
/// machine runs the kernel.
pub(super) struct Queries {
    blocks: Vec<Block>,
    count: usize,
}

impl Queries {
    /// `None` where this machine lacks the instructions.
    pub(super) fn new(queries: &[&[u32]]) -> Option<Self> {
        if !detect::avx512_vnni() {
            return None;
        }
        let partitions = queries.first().map_or(0, |query| query.len() / PARTITION_BUCKETS);
        let mut blocks = Vec::with_capacity(partitions * queries.len());
        for partition in 0..partitions {
            for query in queries {
                let words = query.get(partition * PARTITION_BUCKETS..).unwrap_or_default();
                blocks.push(block(words));
            }
        }
        Some(Self { blocks, count: queries.len() })
    }
}

fn block(words: &[u32]) -> Block {
    let mut block = [[Line([0; LINE]); LIMBS]; STEPS];
    for (lines, words) in block.iter_mut().zip(words.chunks(LINE)) {
        for (index, line) in lines.iter_mut().enumerate() {
            for (byte, word) in line.0.iter_mut().zip(words) {
                *byte = limb(*word, index);
            }
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
        let mut lanes: Box<[Sums<ROWS>]> = unsafe { zeroed(blocks * self.count) };
        for (partition, queries) in self.blocks.chunks_exact(self.count).enumerate() {
            for (group, queries) in queries.chunks(CACHED_QUERIES).enumerate() {
                // SAFETY: `self` exists, so `Queries::new` has found avx512f, avx512bw and
                // avx512vnni.
                unsafe { add_band(bands, partition, queries, group, self.count, &mut lanes) }
            }
        }
        // SAFETY: as above.
        unsafe { add_totals(&lanes, self.count, sums) }
    }
}

/// Adds each row's and query's lanes to their sum: Σ_l 2^(8l)·(sum of the lanes of byte l). Vector code,
/// since every shard does it for all rows, however few its partitions.
#[target_feature(enable = "avx512f")]
fn add_totals(lanes: &[Sums<ROWS>], count: usize, sums: &mut [u32]) {
    let rows = sums.chunks_mut(ROWS * count);
    for (sums, lanes) in rows.zip(lanes.chunks_exact(count)) {
        for (row, sums) in sums.chunks_mut(count).enumerate() {
            for (sum, lanes) in sums.iter_mut().zip(lanes.iter().filter_map(|rows| rows.get(row))) {
                let mut total = _mm512_setzero_si512();
                for Line(limb) in lanes.iter().rev() {
                    total = _mm512_add_epi32(_mm512_slli_epi32::<8>(total), load(limb));
                }
                *sum = sum.wrapping_add(_mm512_reduce_add_epi32(total).cast_unsigned());
            }
        }
    }
}

/// Adds one partition's band times some queries (group `group` of `count`) to their sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_band(
    bands: &[&[u8]],
    partition: usize,
    queries: &[Block],
    group: usize,
    count: usize,
    sums: &mut [Sums<ROWS>],
) {
    let band = bands.get(partition).copied().unwrap_or_default();
    let rows: &[Rows<ROWS>] = band.as_chunks().0.as_chunks().0.as_chunks().0;
    let distance = if count > CACHED_QUERIES { band.len() } else { AHEAD };
    for (index, (rows, sums)) in rows.iter().zip(sums.chunks_exact_mut(count)).enumerate() {
        let next = ahead(bands, partition, index * size_of::<Rows<ROWS>>() + distance);
        let places = group * CACHED_QUERIES..;
        let sums = sums.iter_mut().skip(places.start);
        for (place, (query, sums)) in places.zip(queries.iter().zip(sums)) {
            // This query's share of the next rows.
            let first = place * ROWS / count;
            let asked = (place + 1) * ROWS / count - first;
            let next = next.wrapping_add(first * PARTITION_BUCKETS);
            match asked {
                // A query alone waits for nothing but memory, which comes fastest in its own order.
                4 => {
                    let rows = rows.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
                    for (row, (rows, sums)) in rows.enumerate() {
                        let next = next.wrapping_add(row * PARTITION_BUCKETS);
                        add_rows::<1, 1>(rows, query, sums, next);
                    }
                }
                2 => add_rows::<ROWS, 2>(rows, query, sums, next),
                1 => add_rows::<ROWS, 1>(rows, query, sums, next),
                _ => add_rows::<ROWS, 0>(rows, query, sums, next),
            }
        }
    }
}

/// Adds `N` rows times one query to their sums, and asks for `LINES` lines from `next` on a step.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_rows<const N: usize, const LINES: usize>(
    rows: &Rows<N>,
    query: &Block,
    sums: &mut Sums<N>,
    next: *const u8,
) {
    let mut lanes = [[_mm512_setzero_si512(); LIMBS]; N];
    for (lanes, sums) in lanes.iter_mut().zip(sums.iter()) {
        for (lanes, Line(sums)) in lanes.iter_mut().zip(sums) {
            *lanes = load(sums);
        }
    }
    for step in 0..STEPS {
        let words: [__m512i; LIMBS] = [
            load(&query[step][0].0),
            load(&query[step][1].0),
            load(&query[step][2].0),
            load(&query[step][3].0),
        ];
        for row in 0..N {
            let entries = load(&rows[row][step]);
            for limb in 0..LIMBS {
                lanes[row][limb] = _mm512_dpbusd_epi32(lanes[row][limb], words[limb], entries);
            }
        }
        for line in 0..LINES {
            prefetch(next, (step * LINES + line) * LINE);
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums) {
        for (lanes, Line(sums)) in lanes.iter().zip(sums) {
            store(*lanes, sums);
        }
    }
}

/// Any 64 bytes as a register.
#[inline]
#[target_feature(enable = "avx512f")]
fn load<T: Copy, const N: usize>(line: &[T; N]) -> __m512i {
    const { assert!(size_of::<[T; N]>() == LINE) };
    // SAFETY: the reference covers 64 initialised bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(register: __m512i, line: &mut [u32; LINE / 4]) {
    // SAFETY: the reference covers 64 writable bytes, any of whose values is valid, and the store
    // needs no alignment.
    unsafe { _mm512_storeu_si512(line.as_mut_ptr().cast(), register) }
}
