//! AVX-512 VNNI for a single query on AMD processors: rows are copied before they are multiplied.
//!
//! A single query waits only for memory. These processors prefetch at memory's full rate by
//! themselves, as long as each line is touched once and in order; explicit prefetches are touches
//! out of order. But if rows are multiplied directly from memory, the products that wait for a line
//! fill the processor's queues, and too few lines are in flight. Each pair of rows is therefore
//! copied, two lines at a time, to a buffer in the first-level cache, while the previous pair is
//! multiplied there without waiting. The time of the copies is hidden behind memory access
//! (decision 007).
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::asm;
use std::arch::x86_64::_mm512_setzero_si512;
use std::convert::identity;

use super::RowScan;
use super::limbs::{Block, LIMBS, Lanes, Row, blocks};
use super::lines::{Line, zeroed};
use super::vnni::add_joined;
use crate::machine::detect;

/// Number of rows that are copied and multiplied together, and of lines that are copied per step.
const PAIR: usize = 2;

/// Two rows of one partition.
type Rows = [Row; PAIR];

/// The buffers to which pairs of rows are copied in turn.
type Stages = Line<[Rows; 2]>;

// Assumptions of the machine code below.
const _: () = assert!(size_of::<Block>() == 16 * 256 && size_of::<Rows>() == 16 * 128);
const _: () = assert!(size_of::<Row>() == 1024);

/// A query split into bytes, with a block for each partition. A value proves that this machine
/// supports the code.
pub(super) struct Query {
    blocks: Vec<Block>,
}

/// `None` if this machine lacks the instructions.
pub(super) fn prepare(query: &[u32]) -> Option<Query> {
    detect::avx512_vnni().then(|| Query { blocks: blocks(&[query], identity) })
}

impl RowScan for Query {
    /// Long bands, because sequential reading restarts with each band.
    fn task_rows(&self) -> usize {
        4096
    }

    fn scan_rows(&self, bands: &[&[u8]], sums: &mut [u32]) {
        // SAFETY: sums are numbers.
        let mut lanes: Box<[Lanes]> = unsafe { zeroed(sums.len()) };
        // SAFETY: `self` exists, so `prepare` has detected the features.
        unsafe { add_bands(bands, &self.blocks, &mut lanes) }
        for (sum, Line(lanes)) in sums.iter_mut().zip(&lanes) {
            *sum = lanes.iter().copied().fold(*sum, u32::wrapping_add);
        }
    }
}

/// Adds each partition's band times its block to the rows' sums.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_bands(bands: &[&[u8]], query: &[Block], sums: &mut [Lanes]) {
    let Some(first) = pairs(bands, 0).first() else { return };
    // SAFETY: rows are numbers.
    let mut stages: Box<[Stages]> = unsafe { zeroed(1) };
    let [Line([staged, stage])] = &mut *stages else { return };
    let (mut staged, mut stage) = (staged, stage);
    *staged = *first;
    for (partition, query) in query.iter().enumerate() {
        let rows = pairs(bands, partition);
        // After the last band any rows may be copied, because they are not multiplied.
        let following = pairs(bands, partition + 1).first().unwrap_or(first);
        for (index, sums) in sums.as_chunks_mut().0.iter_mut().enumerate() {
            let next = rows.get(index + 1).unwrap_or(following);
            add_pair(staged, query, sums, next, stage);
            (staged, stage) = (stage, staged);
        }
    }
}

fn pairs<'bands>(bands: &[&'bands [u8]], partition: usize) -> &'bands [Rows] {
    let band = bands.get(partition).copied().unwrap_or_default();
    band.as_chunks().0.as_chunks().0.as_chunks().0
}

/// Adds two rows times the query to their sums, and copies the next two.
///
/// This is written in assembly, because the speed depends on the order of instructions: with the
/// loop unrolled, or a copy moved by the compiler, it took up to two fifths longer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_pair(rows: &Rows, query: &Block, sums: &mut [Lanes; PAIR], next: &Rows, stage: &mut Rows) {
    let mut lanes = [[_mm512_setzero_si512(); LIMBS]; PAIR];
    let [[a0, a1, a2, a3], [b0, b1, b2, b3]] = &mut lanes;
    // SAFETY: 16 steps of 2 lines read all of `next` and write all of `stage`; of 4 lines, all of
    // `query`; of one line at the start of each row, all of `rows`. Every byte value is valid, and
    // nothing needs to be aligned.
    unsafe {
        asm!(
            "2:",
            // Two lines of the next rows, in memory order.
            "vmovdqu64 {line}, [{next}]",
            "vmovdqu64 [{stage}], {line}",
            "vmovdqu64 {line}, [{next} + 64]",
            "vmovdqu64 [{stage} + 64], {line}",
            // The four bytes of 64 words.
            "vmovdqu64 {w0}, [{query}]",
            "vmovdqu64 {w1}, [{query} + 64]",
            "vmovdqu64 {w2}, [{query} + 128]",
            "vmovdqu64 {w3}, [{query} + 192]",
            // 64 entries of the first row, and of the second.
            "vmovdqu64 {line}, [{rows}]",
            "vpdpbusd {a0}, {w0}, {line}",
            "vpdpbusd {a1}, {w1}, {line}",
            "vpdpbusd {a2}, {w2}, {line}",
            "vpdpbusd {a3}, {w3}, {line}",
            "vmovdqu64 {line}, [{rows} + 1024]",
            "vpdpbusd {b0}, {w0}, {line}",
            "vpdpbusd {b1}, {w1}, {line}",
            "vpdpbusd {b2}, {w2}, {line}",
            "vpdpbusd {b3}, {w3}, {line}",
            "add {rows}, 64",
            "add {query}, 256",
            "sub {stage}, -128",
            "sub {next}, -128",
            "cmp {next}, {end}",
            "jne 2b",
            end = in(reg) next.as_ptr_range().end,
            next = inout(reg) next.as_ptr() => _,
            stage = inout(reg) stage.as_mut_ptr() => _,
            query = inout(reg) query.as_ptr() => _,
            rows = inout(reg) rows.as_ptr() => _,
            line = out(zmm_reg) _,
            w0 = out(zmm_reg) _, w1 = out(zmm_reg) _, w2 = out(zmm_reg) _, w3 = out(zmm_reg) _,
            a0 = inout(zmm_reg) *a0, a1 = inout(zmm_reg) *a1,
            a2 = inout(zmm_reg) *a2, a3 = inout(zmm_reg) *a3,
            b0 = inout(zmm_reg) *b0, b1 = inout(zmm_reg) *b1,
            b2 = inout(zmm_reg) *b2, b3 = inout(zmm_reg) *b3,
            options(nostack),
        );
    }
    add_joined(lanes, sums);
}
