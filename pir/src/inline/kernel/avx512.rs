//! AVX-512: eight products of 32 bits an instruction.
//!
//! `vpmuludq` multiplies the even words of two registers. A line's odd words are shifted down once for
//! all queries, an operand's once a load.
//!
//! An operand's window at slot j + 16 and giant step g is the one at slot j and step g + 16/B. So two
//! neighbouring blocks, the second 16/B steps behind, share every load of an operand, of which most
//! straddle two cache lines. Up to four queries share each line: 16 sums in registers.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_mul_epu32,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_storeu_si512,
};

use super::{Code, FOLD, HALF, Kernel, Line, Operand, Pair};
use crate::inline::modulus::Modulus;
use crate::inline::table::LANES;
use crate::prefetch::prefetch;

/// How far ahead of the lines in work memory is asked for, and for how many queries at least: with
/// fewer, the processor's own prefetching keeps up better alone.
const AHEAD: usize = 8192;
const PREFETCH_QUERIES: usize = 4;

/// The kernel, where this machine runs it.
pub(super) fn code<const W: usize>() -> Option<Code<W>> {
    Kernel::Avx512.is_available().then_some(pair::<W> as Code<W>)
}

/// Handed out by [`code`] only.
fn pair<const W: usize>(pair: &Pair<'_, W>, [mut first, mut second]: [&mut [[u32; LANES]]; 2]) {
    let mut queries = pair.queries;
    while let Some((head, rest)) = queries.split_first_chunk::<4>() {
        // SAFETY: `code`, the only way here, has found avx512f.
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

/// Adds both blocks up for `Q` queries, and returns the rows of `out` that are left.
#[target_feature(enable = "avx512f")]
fn add_up<'o, const W: usize, const Q: usize>(
    pair: &Pair<'_, W>,
    queries: &[&[Operand; W]; Q],
    out: [&'o mut [[u32; LANES]]; 2],
) -> [&'o mut [[u32; LANES]]; 2] {
    let mut sums = [[[_mm512_setzero_si512(); 2]; Q]; 2];
    // The second block lags so many steps behind.
    let [first, second] = pair.lines;
    let (alone, first) = first.split_at((LANES / pair.step).min(first.len()));
    let (both, last) = second.split_at(first.len());
    add_steps::<W, Q, true, false>(pair, queries, pair.start, [alone, alone], &mut sums);
    let at = pair.start + LANES;
    add_steps::<W, Q, true, true>(pair, queries, at, [first, both], &mut sums);
    let at = at + first.len() * pair.step;
    add_steps::<W, Q, false, true>(pair, queries, at, [last, last], &mut sums);
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
#[target_feature(enable = "avx512f")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_steps<const W: usize, const Q: usize, const FIRST: bool, const SECOND: bool>(
    pair: &Pair<'_, W>,
    queries: &[&[Operand; W]; Q],
    at: usize,
    [first, second]: [&[[Line; W]]; 2],
    sums: &mut Sums<Q>,
) {
    let fold = _mm512_set1_epi64(i64::from(pair.fold_factor()));
    let mut lanes = *sums;
    let mut at = at % HALF;
    for (first, second) in first.chunks(FOLD / W).zip(second.chunks(FOLD / W)) {
        for (first, second) in first.iter().zip(second) {
            for w in 0..W {
                let lines = [load_line(&first[w]), load_line(&second[w])];
                if FIRST && Q >= PREFETCH_QUERIES {
                    prefetch(first[w].as_ptr().cast(), AHEAD);
                }
                if SECOND && Q >= PREFETCH_QUERIES {
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
            at = (at + pair.step) % HALF;
        }
        for sum in lanes.as_flattened_mut().as_flattened_mut() {
            *sum = folded(*sum, fold);
        }
    }
    *sums = lanes;
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
    // SAFETY: the only caller's `at` is a remainder by HALF, and an operand has HALF + 16 words: words
    // at..at + 16 are inside, initialised, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(operand.as_ptr().add(at).cast()) }
}
