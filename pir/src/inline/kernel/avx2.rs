//! AVX2: four 32-bit products per instruction.
//!
//! Like the AVX-512 kernel, but a line takes two registers, each of which `vpshufb` spreads from
//! twice 12 bytes. Two queries are eight sums. With the line's words and a loaded operand they fit
//! the 16 registers. More queries read the block again, from the second-level cache.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi64, _mm256_loadu_si256, _mm256_mul_epu32,
    _mm256_set_m128i, _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi64, _mm256_storeu_si256,
};

use super::{Code, HALF, LANES, LINE, Line, Operand, Operands, Pair, Step, WIDTH};
use crate::inline::modulus::Modulus;
use crate::machine::detect;

/// Words of a register.
const WORDS: usize = 8;
/// Registers of a line.
const PARTS: usize = LANES / WORDS;

/// The kernel, if this machine supports it.
pub(super) fn code() -> Option<Code> {
    detect::avx2().then_some(pair as Code)
}

/// Only [`code`] returns this function.
fn pair(pair: &Pair<'_>, out: [&mut [[u32; LANES]]; 2]) {
    for (block, mut out) in pair.blocks().into_iter().zip(out) {
        let mut queries = pair.queries;
        while let Some((head, rest)) = queries.split_first_chunk::<2>() {
            // SAFETY: `code`, the only way to get this function, has detected avx2.
            out = unsafe { add_up(pair.modulus, block, head, out) };
            queries = rest;
        }
        if let Some(head) = queries.first_chunk::<1>() {
            // SAFETY: as above.
            unsafe { add_up(pair.modulus, block, head, out) };
        }
    }
}

/// Sums one block for `Q` queries, and returns the remaining rows of `out`.
#[target_feature(enable = "avx2")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_up<'o, const Q: usize>(
    modulus: Modulus,
    (lines, start): (&[Step], usize),
    queries: &[&Operands; Q],
    out: &'o mut [[u32; LANES]],
) -> &'o mut [[u32; LANES]] {
    let mut even = [[_mm256_setzero_si256(); PARTS]; Q];
    let mut odd = [[_mm256_setzero_si256(); PARTS]; Q];
    let mut at = start % HALF;
    for lines in lines {
        for w in 0..WIDTH {
            for part in 0..PARTS {
                let line = load_line(&lines[w], part);
                let line_odd = _mm256_srli_epi64::<32>(line);
                for q in 0..Q {
                    let x = load_operand(&queries[q][w], at, part);
                    let x_odd = _mm256_srli_epi64::<32>(x);
                    let products = _mm256_mul_epu32(line, x);
                    even[q][part] = _mm256_add_epi64(even[q][part], products);
                    let products = _mm256_mul_epu32(line_odd, x_odd);
                    odd[q][part] = _mm256_add_epi64(odd[q][part], products);
                }
            }
        }
        at = (at + 1) % HALF;
    }
    let (head, rest) = out.split_at_mut(Q.min(out.len()));
    for (out, (even, odd)) in head.iter_mut().zip(even.into_iter().zip(odd)) {
        let parts = even.into_iter().zip(odd);
        for (out, (even, odd)) in out.as_chunks_mut().0.iter_mut().zip(parts) {
            reduce(even, odd, modulus, out);
        }
    }
    rest
}

#[inline]
#[target_feature(enable = "avx2")]
fn reduce(even: __m256i, odd: __m256i, modulus: Modulus, out: &mut [u32; WORDS]) {
    let mut sums = [[0u64; WORDS / 2]; 2];
    for (sums, register) in sums.iter_mut().zip([even, odd]) {
        // SAFETY: the reference covers 32 writable bytes, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), register) };
    }
    let [even, odd] = sums;
    for (out, (even, odd)) in out.as_chunks_mut().0.iter_mut().zip(even.into_iter().zip(odd)) {
        *out = [modulus.reduce(even), modulus.reduce(odd)];
    }
}

/// Half a line as eight words: `part` is 0 or 1.
///
/// Each half of the register is spread from 12 bytes. The last 12 bytes of the line are loaded
/// together with the four before them, so that no byte after the line is read.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(clippy::indexing_slicing, reason = "`part` is 0 or 1")]
fn load_line(line: &Line, part: usize) -> __m256i {
    const { assert!(PARTS == 2) };
    // −1 clears a byte.
    #[rustfmt::skip]
    let spread = [
        _mm256_setr_epi8(
            0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
            0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
        ),
        _mm256_setr_epi8(
            0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
            4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
        ),
    ];
    let [low, high] = [[0, 12], [24, 32]][part].map(|at| load_bytes(line, at));
    _mm256_shuffle_epi8(_mm256_set_m128i(high, low), spread[part])
}

/// 16 bytes of a line, starting at `at`, which is at most 32.
#[inline]
#[target_feature(enable = "avx2")]
fn load_bytes(line: &Line, at: usize) -> __m128i {
    debug_assert!(at + size_of::<__m128i>() <= LINE);
    // SAFETY: the only caller's `at` is 32 at most, so the 16 bytes are inside the line,
    // initialised, and the load needs no alignment.
    unsafe { _mm_loadu_si128(line.as_ptr().add(at).cast()) }
}

/// Eight of the 16 words starting at `at`, which must be below [`HALF`]. `part` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
fn load_operand(operand: &Operand, at: usize, part: usize) -> __m256i {
    debug_assert!(at < HALF && part < PARTS);
    // SAFETY: in the only caller `at` is a remainder by HALF and `part` runs to PARTS; an operand
    // has HALF + 16 words, so the eight words are inside, initialised, and the load needs no
    // alignment.
    unsafe { _mm256_loadu_si256(operand.as_ptr().add(at + part * WORDS).cast()) }
}
