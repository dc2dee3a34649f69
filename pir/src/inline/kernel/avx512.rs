//! AVX-512: eight products of 32 bits an instruction.
//!
//! `vpmuludq` multiplies the even words of two registers. A line's odd words are shifted down once for
//! all queries, an operand's once a load; so a line and an operand give two multiplications, two
//! additions and one shift of their own. Up to eight queries share each loaded line: 16 sums in
//! registers.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_mul_epu32,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_storeu_si512,
};

use super::{Block, Code, FOLD, HALF, Kernel, Line, Operand};
use crate::inline::modulus::Modulus;
use crate::inline::table::LANES;

/// The kernel, where this machine runs it.
pub(super) fn code<const W: usize>() -> Option<Code<W>> {
    Kernel::Avx512.is_available().then_some(block::<W> as Code<W>)
}

/// Handed out by [`code`] only.
fn block<const W: usize>(block: &Block<'_, W>, out: &mut [[u32; LANES]]) {
    let (mut queries, mut out) = (block.queries, out);
    while let Some((head, rest)) = queries.split_first_chunk::<8>() {
        // SAFETY: `code`, the only way here, has found avx512f.
        out = unsafe { add_up(block, head, out) };
        queries = rest;
    }
    if let Some((head, rest)) = queries.split_first_chunk::<4>() {
        // SAFETY: as above.
        out = unsafe { add_up(block, head, out) };
        queries = rest;
    }
    if let Some((head, rest)) = queries.split_first_chunk::<2>() {
        // SAFETY: as above.
        out = unsafe { add_up(block, head, out) };
        queries = rest;
    }
    if let Some(head) = queries.first_chunk::<1>() {
        // SAFETY: as above.
        unsafe { add_up(block, head, out) };
    }
}

/// Adds up for `Q` queries, and returns the rows of `out` that are left.
#[target_feature(enable = "avx512f")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_up<'o, const W: usize, const Q: usize>(
    block: &Block<'_, W>,
    queries: &[&[Operand; W]; Q],
    out: &'o mut [[u32; LANES]],
) -> &'o mut [[u32; LANES]] {
    let fold = _mm512_set1_epi64(i64::from(block.fold_factor()));
    let mut even = [_mm512_setzero_si512(); Q];
    let mut odd = [_mm512_setzero_si512(); Q];
    let mut at = block.start % HALF;
    for steps in block.lines.chunks(FOLD / W) {
        for lines in steps {
            for w in 0..W {
                let line = load_line(&lines[w]);
                let line_odd = _mm512_srli_epi64::<32>(line);
                for q in 0..Q {
                    let x = load_operand(&queries[q][w], at);
                    let x_odd = _mm512_srli_epi64::<32>(x);
                    even[q] = _mm512_add_epi64(even[q], _mm512_mul_epu32(line, x));
                    odd[q] = _mm512_add_epi64(odd[q], _mm512_mul_epu32(line_odd, x_odd));
                }
            }
            at = (at + block.step) % HALF;
        }
        for sum in even.iter_mut().chain(&mut odd) {
            *sum = folded(*sum, fold);
        }
    }
    let (head, rest) = out.split_at_mut(Q.min(out.len()));
    for (out, (even, odd)) in head.iter_mut().zip(even.into_iter().zip(odd)) {
        reduce(even, odd, block.modulus, out);
    }
    rest
}

/// `(sum >> 32)·fold + (sum mod 2^32)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn folded(sum: __m512i, fold: __m512i) -> __m512i {
    let high = _mm512_mul_epu32(_mm512_srli_epi64::<32>(sum), fold);
    let low = _mm512_and_si512(sum, _mm512_set1_epi64(i64::from(u32::MAX)));
    _mm512_add_epi64(high, low)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn reduce(even: __m512i, odd: __m512i, modulus: Modulus, out: &mut [u32; LANES]) {
    let mut sums = [[0u64; LANES / 2]; 2];
    for (sums, register) in sums.iter_mut().zip([even, odd]) {
        // SAFETY: the reference covers 64 writable bytes, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), register) };
    }
    let [even, odd] = sums;
    for (out, (even, odd)) in out.as_chunks_mut().0.iter_mut().zip(even.into_iter().zip(odd)) {
        *out = [modulus.reduce(even), modulus.reduce(odd)];
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_line(line: &Line) -> __m512i {
    // SAFETY: the reference covers 64 initialised bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

/// 16 words from `at` on, which must be below [`HALF`].
#[inline]
#[target_feature(enable = "avx512f")]
fn load_operand(operand: &Operand, at: usize) -> __m512i {
    debug_assert!(at < HALF);
    // SAFETY: both callers' `at` is a remainder by HALF, and an operand has HALF + 16 words: words
    // at..at + 16 are inside, initialised, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(operand.as_ptr().add(at).cast()) }
}
