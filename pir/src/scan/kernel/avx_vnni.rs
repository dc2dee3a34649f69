//! AVX-VNNI: 32 products of bytes per instruction, for processors that have `vpdpbusd` without
//! AVX-512 (Alder Lake, Sierra Forest and their successors). [`limbs`](super::limbs) explains the
//! conversion of words to bytes.
//!
//! AVX-512 has the same instruction on the same registers, with another encoding. The code is
//! therefore written once and compiled for both: tests run the other encoding if the processor
//! lacks this one.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_storeu_si256,
};
use std::convert::identity;

use super::limbs::{Block, Code, LIMBS, Queries, ROWS, Rows, STEPS, Sums};
use super::lines::{LINE, Line};
use crate::machine::{detect, prefetch};
use crate::params::PARTITION_BUCKETS;

/// Bytes of a register.
const WIDTH: usize = 32;
/// Registers of a line.
const PARTS: usize = LINE / WIDTH;

macro_rules! code {
    ($features:literal, $dpbusd:ident) => {
        use std::arch::x86_64::$dpbusd;

        use super::*;

        pub(super) static CODE: Code = Code {
            alone: add_rows::<4>,
            prefetching: [add_rows::<0>, add_rows::<1>, add_rows::<2>],
            ahead: 8 * PARTITION_BUCKETS,
        };

        /// Adds four rows times one query to their sums, and prefetches `LINES` lines per step
        /// starting at `next`.
        #[target_feature(enable = $features)]
        fn add_rows<const LINES: usize>(
            rows: &Rows,
            query: &Block,
            sums: &mut Sums,
            next: *const u8,
        ) {
            let mut lanes = [[_mm256_setzero_si256(); LIMBS]; ROWS];
            for step in 0..STEPS {
                for part in 0..PARTS {
                    let words: [__m256i; LIMBS] = [
                        load(&query[step][0].0, part),
                        load(&query[step][1].0, part),
                        load(&query[step][2].0, part),
                        load(&query[step][3].0, part),
                    ];
                    for row in 0..ROWS {
                        let entries = load(&rows[row][step], part);
                        for limb in 0..LIMBS {
                            lanes[row][limb] = $dpbusd(lanes[row][limb], words[limb], entries);
                        }
                        // Prefetches are spread evenly, because many at once are dropped.
                        let place = part * ROWS + row;
                        let asked = place * LINES / (PARTS * ROWS);
                        if asked != (place + 1) * LINES / (PARTS * ROWS) {
                            prefetch(next, (step * LINES + asked) * LINE);
                        }
                    }
                }
            }
            for ([first, second, third, fourth], Line(sums)) in lanes.into_iter().zip(sums) {
                let joined = _mm256_add_epi32(third, _mm256_slli_epi32::<8>(fourth));
                let joined = _mm256_add_epi32(second, _mm256_slli_epi32::<8>(joined));
                let joined = _mm256_add_epi32(first, _mm256_slli_epi32::<8>(joined));
                store(_mm256_add_epi32(load(sums, 0), joined), sums);
            }
        }
    };
}

#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
mod vex {
    code!("avx2,avxvnni", _mm256_dpbusd_avx_epi32);
}

#[cfg(test)]
mod evex {
    code!("avx2,avx512vl,avx512vnni", _mm256_dpbusd_epi32);
}

/// `None` if this machine lacks the instructions.
pub(super) fn prepare(queries: &[&[u32]]) -> Option<Queries> {
    // SAFETY: the features of the code were detected.
    detect::avx_vnni().then(|| unsafe { Queries::new(queries, &vex::CODE, identity) })
}

/// The same in AVX-512's encoding; `None` if this machine lacks that.
#[cfg(test)]
pub(super) fn prepare_evex(queries: &[&[u32]]) -> Option<Queries> {
    let found = detect::avx2() && detect::avx512_vnni() && detect::avx512_vl();
    // SAFETY: the features of the code were detected.
    found.then(|| unsafe { Queries::new(queries, &evex::CODE, identity) })
}

/// Half a line as a register.
#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Copy, const N: usize>(line: &[T; N], half: usize) -> __m256i {
    const { assert!(size_of::<[T; N]>() == LINE) };
    // SAFETY: the reference covers 64 initialised bytes, of which 32 are read from the start or the
    // middle; the load needs no alignment.
    unsafe { _mm256_loadu_si256(line.as_ptr().cast::<__m256i>().add(half % PARTS)) }
}

/// Stores to the first half of a line.
#[inline]
#[target_feature(enable = "avx2")]
fn store(register: __m256i, line: &mut [u32; LINE / 4]) {
    // SAFETY: the reference covers 64 writable bytes, any of whose values is valid, and the store
    // needs no alignment.
    unsafe { _mm256_storeu_si256(line.as_mut_ptr().cast(), register) }
}
