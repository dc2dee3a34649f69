//! AVX-512: eight 32-bit products per instruction.
//!
//! `vpermb` spreads a line's 48 bytes to 16 words. `vpmuludq` multiplies the even words of two
//! registers. A line's odd words are shifted down once for all queries, and an operand's odd words
//! once per load.
//!
//! The window of an operand at slot j + 16 and step i equals the one at slot j and step i + 16. Two
//! neighbouring blocks, the second 16 steps behind, therefore share every load of an operand. Most
//! of these loads straddle two cache lines. Up to four queries share each line, with 16 sums in
//! registers.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_loadu_si512, _mm512_maskz_loadu_epi8,
    _mm512_maskz_permutexvar_epi8, _mm512_mul_epu32, _mm512_setzero_si512, _mm512_srli_epi64,
    _mm512_storeu_si512,
};

use super::{Code, HALF, LANES, LINE, Line, Operand, Operands, Pair, Step, WIDTH};
use crate::inline::modulus::Modulus;
use crate::machine::{detect, prefetch};

/// Distance in bytes at which memory is prefetched.
const AHEAD: usize = 8192;

/// The kernel, if this machine supports it.
pub(super) fn code() -> Option<Code> {
    detect::avx512_vbmi().then_some(pair as Code)
}

/// Only [`code`] returns this function.
fn pair(pair: &Pair<'_>, [mut first, mut second]: [&mut [[u32; LANES]]; 2]) {
    let mut queries = pair.queries;
    while let Some((head, rest)) = queries.split_first_chunk::<4>() {
        // SAFETY: `code`, the only way to get this function, has detected avx512f, avx512bw and
        // avx512vbmi.
        [first, second] = unsafe { add_up(pair, head, [first, second]) };
        queries = rest;
    }
    if let Some((head, rest)) = queries.split_first_chunk::<2>() {
        // SAFETY: as above.
        [first, second] = unsafe { add_up(pair, head, [first, second]) };
        queries = rest;
    }
    if let Some(head) = queries.first_chunk::<1>() {
        // SAFETY: as above.
        unsafe { add_up(pair, head, [first, second]) };
    }
}

/// Sums of two blocks for `Q` queries: even slots, then odd ones.
type Sums<const Q: usize> = [[[__m512i; 2]; Q]; 2];

/// Sums both blocks for `Q` queries, and returns the remaining rows of `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn add_up<'o, const Q: usize>(
    pair: &Pair<'_>,
    queries: &[&Operands; Q],
    out: [&'o mut [[u32; LANES]]; 2],
) -> [&'o mut [[u32; LANES]]; 2] {
    let mut sums = [[[_mm512_setzero_si512(); 2]; Q]; 2];
    // Number of steps by which the second block lags behind.
    let [first, second] = pair.lines;
    let (alone, first) = first.split_at(LANES.min(first.len()));
    let (both, last) = second.split_at(first.len());
    add_steps::<Q, true, false>(queries, pair.start, [alone, alone], &mut sums);
    let at = pair.start + LANES;
    add_steps::<Q, true, true>(queries, at, [first, both], &mut sums);
    let at = at + first.len();
    add_steps::<Q, false, true>(queries, at, [last, last], &mut sums);
    let mut rest = sums.into_iter().zip(out).map(|(sums, out)| {
        let (head, rest) = out.split_at_mut(Q.min(out.len()));
        for (out, [even, odd]) in head.iter_mut().zip(sums) {
            reduce(even, odd, pair.modulus, out);
        }
        rest
    });
    [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()]
}

/// Adds some steps of the `FIRST` and the `SECOND` block, whose operands begin at `at`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_steps<const Q: usize, const FIRST: bool, const SECOND: bool>(
    queries: &[&Operands; Q],
    at: usize,
    [first, second]: [&[Step]; 2],
    sums: &mut Sums<Q>,
) {
    let spread = spread();
    let mut lanes = *sums;
    let mut at = at % HALF;
    for (first, second) in first.iter().zip(second) {
        for w in 0..WIDTH {
            let lines = [load_line(&first[w], spread), load_line(&second[w], spread)];
            if FIRST {
                prefetch(first[w].as_ptr().cast(), AHEAD);
            }
            if SECOND {
                prefetch(second[w].as_ptr().cast(), AHEAD);
            }
            let lines_odd = lines.map(|line| _mm512_srli_epi64::<32>(line));
            for q in 0..Q {
                let x = load_operand(&queries[q][w], at);
                let x_odd = _mm512_srli_epi64::<32>(x);
                for (block, counts) in [FIRST, SECOND].into_iter().enumerate() {
                    if counts {
                        let [even, odd] = &mut lanes[block][q];
                        *even = _mm512_add_epi64(*even, _mm512_mul_epu32(lines[block], x));
                        let products = _mm512_mul_epu32(lines_odd[block], x_odd);
                        *odd = _mm512_add_epi64(*odd, products);
                    }
                }
            }
        }
        at = (at + 1) % HALF;
    }
    *sums = lanes;
}

/// Moves bytes 3i..3i + 3 of a line to the lower bytes of word i.
#[inline]
#[target_feature(enable = "avx512f")]
fn spread() -> __m512i {
    #[expect(clippy::cast_possible_truncation, reason = "below 64")]
    #[expect(clippy::indexing_slicing, reason = "computed by the compiler")]
    const INDICES: [u8; 64] = {
        let mut indices = [0; 64];
        let mut i = 0;
        while i < 64 {
            indices[i] = (i / 4 * 3 + i % 4) as u8;
            i += 1;
        }
        indices
    };
    // SAFETY: 64 initialised bytes, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(INDICES.as_ptr().cast()) }
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

/// A line as 16 words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn load_line(line: &Line, spread: __m512i) -> __m512i {
    const { assert!(LINE == 48) };
    // SAFETY: the mask selects the 48 initialised bytes that the reference covers; other bytes are
    // not touched, and the load needs no alignment.
    let bytes = unsafe { _mm512_maskz_loadu_epi8((1 << LINE) - 1, line.as_ptr().cast()) };
    // Every fourth byte is cleared.
    _mm512_maskz_permutexvar_epi8(0x7777_7777_7777_7777, spread, bytes)
}

/// 16 words starting at `at`, which must be below [`HALF`].
#[inline]
#[target_feature(enable = "avx512f")]
fn load_operand(operand: &Operand, at: usize) -> __m512i {
    debug_assert!(at < HALF);
    // SAFETY: the only caller's `at` is a remainder by HALF, and an operand has HALF + 16 words:
    // words at..at + 16 are inside, initialised, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(operand.as_ptr().add(at).cast()) }
}
