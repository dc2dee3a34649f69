//! ARM's `sdot`: 16 products of bytes per instruction, signed times signed (Armv8.2 and later:
//! Graviton 2, Apple M1, Ampere Altra). [`limbs`](super::limbs) explains the conversion of words to
//! bytes.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddq_s32, vdupq_n_s32, vld1q_s8, vld1q_s32, vshlq_n_s32, vst1q_s32,
};
use std::arch::asm;

use super::limbs::{Block, Code, LIMBS, Queries, ROWS, Rows, STEPS, Sums, signed};
use super::lines::{LINE, Line};
use crate::machine::{detect, prefetch};
use crate::params::PARTITION_BUCKETS;

/// Bytes of a register.
const WIDTH: usize = 16;
/// Registers of a line.
const PARTS: usize = LINE / WIDTH;

static CODE: Code = Code {
    alone: add_rows::<4>,
    prefetching: [add_rows::<0>, add_rows::<1>, add_rows::<2>],
    ahead: 16 * PARTITION_BUCKETS,
};

/// `None` if this machine lacks the instructions.
pub(super) fn prepare(queries: &[&[u32]]) -> Option<Queries> {
    // SAFETY: the features of the code below were detected.
    detect::dotprod().then(|| unsafe { Queries::new(queries, &CODE, signed) })
}

/// Adds four rows times one query to their sums, and prefetches `LINES` lines per step starting at
/// `next`.
#[target_feature(enable = "neon,dotprod")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_rows<const LINES: usize>(rows: &Rows, query: &Block, sums: &mut Sums, next: *const u8) {
    let mut lanes = [[vdupq_n_s32(0); LIMBS]; ROWS];
    for step in 0..STEPS {
        for part in 0..PARTS {
            let words = [
                load(&query[step][0].0, part),
                load(&query[step][1].0, part),
                load(&query[step][2].0, part),
                load(&query[step][3].0, part),
            ];
            for row in 0..ROWS {
                let entries = load(&rows[row][step], part);
                for limb in 0..LIMBS {
                    lanes[row][limb] = sdot(lanes[row][limb], words[limb], entries);
                }
            }
            if part < LINES {
                prefetch(next, (step * LINES + part) * LINE);
            }
        }
    }
    for ([first, second, third, fourth], Line(sums)) in lanes.into_iter().zip(sums) {
        let joined = vaddq_s32(third, vshlq_n_s32::<8>(fourth));
        let joined = vaddq_s32(second, vshlq_n_s32::<8>(joined));
        let joined = vaddq_s32(first, vshlq_n_s32::<8>(joined));
        // SAFETY: the reference covers 64 bytes, of which the first 16 are read and written; any
        // value of theirs is valid, and neither needs an alignment beyond a number's.
        unsafe {
            let start = sums.as_mut_ptr().cast::<i32>();
            vst1q_s32(start, vaddq_s32(vld1q_s32(start), joined));
        }
    }
}

/// Adds four products of signed bytes to each sum. The compiler's intrinsic for it is not stable.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sums: int32x4_t, words: int8x16_t, entries: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction is enabled here, and changes only its first register.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {words:v}.16b, {entries:v}.16b",
            sums = inout(vreg) sums,
            words = in(vreg) words,
            entries = in(vreg) entries,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// A quarter of a line as a register.
#[inline]
#[target_feature(enable = "neon")]
fn load(line: &[u8; LINE], quarter: usize) -> int8x16_t {
    // SAFETY: the reference covers 64 initialised bytes, of which 16 are read from a multiple of 16
    // on; bytes need no alignment.
    unsafe { vld1q_s8(line.as_ptr().cast::<i8>().add(quarter % PARTS * WIDTH)) }
}
