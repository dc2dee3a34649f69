//! AVX-512 VNNI: 64 products of bytes per instruction, `vpdpbusd`, unsigned times signed.
//! [`limbs`](super::limbs) explains the conversion of words to bytes.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_setzero_si512,
    _mm512_slli_epi32, _mm512_storeu_si512,
};
use std::convert::identity;

use super::limbs::{Block, Code, LIMBS, Lanes, Queries, ROWS, Row, Rows, STEPS, Sums};
use super::lines::{LINE, Line};
use crate::machine::{detect, prefetch};
use crate::params::PARTITION_BUCKETS;

static CODE: Code = Code {
    alone: add_in_turn,
    prefetching: [add_rows::<ROWS, 0>, add_rows::<ROWS, 1>, add_rows::<ROWS, 2>],
    ahead: 16 * PARTITION_BUCKETS,
};

/// `None` if this machine lacks the instructions.
pub(super) fn prepare(queries: &[&[u32]]) -> Option<Queries> {
    // SAFETY: the features of the code below were detected.
    detect::avx512_vnni().then(|| unsafe { Queries::new(queries, &CODE, identity) })
}

/// Adds one row after another. A single query waits only for memory, which is fastest in its own
/// order. (On AMD processors, [`staged`](super::staged) handles this case.)
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_in_turn(rows: &Rows, query: &Block, sums: &mut Sums, next: *const u8) {
    let rows = rows.as_chunks().0.iter().zip(sums.as_chunks_mut().0);
    for (row, (rows, sums)) in rows.enumerate() {
        add_rows::<1, 1>(rows, query, sums, next.wrapping_add(row * PARTITION_BUCKETS));
    }
}

/// Adds `N` rows times one query to their sums, and prefetches `LINES` lines per step starting at
/// `next`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_rows<const N: usize, const LINES: usize>(
    rows: &[Row; N],
    query: &Block,
    sums: &mut [Lanes; N],
    next: *const u8,
) {
    let mut lanes = [[_mm512_setzero_si512(); LIMBS]; N];
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
    add_joined(lanes, sums);
}

/// Combines the sums of a word's four bytes, and adds them to the sums of their rows.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add_joined<const N: usize>(lanes: [[__m512i; LIMBS]; N], sums: &mut [Lanes; N]) {
    for ([first, second, third, fourth], Line(sums)) in lanes.into_iter().zip(sums) {
        let joined = _mm512_add_epi32(third, _mm512_slli_epi32::<8>(fourth));
        let joined = _mm512_add_epi32(second, _mm512_slli_epi32::<8>(joined));
        let joined = _mm512_add_epi32(first, _mm512_slli_epi32::<8>(joined));
        store(_mm512_add_epi32(load(sums), joined), sums);
    }
}

/// Any 64 bytes as a register.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load<T: Copy, const N: usize>(line: &[T; N]) -> __m512i {
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
