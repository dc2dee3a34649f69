//! AVX2: four products of 32 bits an instruction.
//!
//! As the AVX-512 kernel, with a line in two registers: two queries are eight sums, which with the
//! line's words and a loaded operand fit the 16 registers. More queries read the block again, from
//! the second-level cache.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_loadu_si256, _mm256_mul_epu32,
    _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_srli_epi64, _mm256_storeu_si256,
};

use super::{Code, FOLD, HALF, Kernel, Line, Operand, Pair};
use crate::inline::modulus::Modulus;
use crate::inline::table::{LANES, LINE};

/// Words of a register.
const WORDS: usize = 8;
/// Registers of a line.
const PARTS: usize = LANES / WORDS;

/// The kernel, where this machine runs it.
pub(super) fn code<const W: usize>() -> Option<Code<W>> {
    Kernel::Avx2.is_available().then_some(pair::<W> as Code<W>)
}

/// Handed out by [`code`] only.
fn pair<const W: usize>(pair: &Pair<'_, W>, out: [&mut [[u32; LANES]]; 2]) {
    for (block, mut out) in pair.blocks().into_iter().zip(out) {
        let mut queries = pair.queries;
        while let Some((head, rest)) = queries.split_first_chunk::<2>() {
            // SAFETY: `code`, the only way here, has found avx2.
            out = unsafe { add_up(pair, block, head, out) };
            queries = rest;
        }
        if let Some(head) = queries.first_chunk::<1>() {
            // SAFETY: as above.
            unsafe { add_up(pair, block, head, out) };
        }
    }
}

/// Adds one block up for `Q` queries, and returns the rows of `out` that are left.
#[target_feature(enable = "avx2")]
#[expect(clippy::indexing_slicing, reason = "all indices run to array lengths")]
fn add_up<'o, const W: usize, const Q: usize>(
    pair: &Pair<'_, W>,
    (lines, start): (&[[Line; W]], usize),
    queries: &[&[Operand; W]; Q],
    out: &'o mut [[u32; LANES]],
) -> &'o mut [[u32; LANES]] {
    let fold = _mm256_set1_epi64x(i64::from(pair.fold_factor()));
    let mut even = [[_mm256_setzero_si256(); PARTS]; Q];
    let mut odd = [[_mm256_setzero_si256(); PARTS]; Q];
    let mut at = start % HALF;
    for steps in lines.chunks(FOLD / W) {
        for lines in steps {
            for w in 0..W {
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
            at = (at + pair.step) % HALF;
        }
        for sum in even.as_flattened_mut().iter_mut().chain(odd.as_flattened_mut()) {
            *sum = folded(*sum, fold);
        }
    }
    let (head, rest) = out.split_at_mut(Q.min(out.len()));
    for (out, (even, odd)) in head.iter_mut().zip(even.into_iter().zip(odd)) {
        let parts = even.into_iter().zip(odd);
        for (out, (even, odd)) in out.as_chunks_mut().0.iter_mut().zip(parts) {
            reduce(even, odd, pair.modulus, out);
        }
    }
    rest
}

/// `(sum >> 32)·fold + (sum mod 2^32)`.
#[inline]
#[target_feature(enable = "avx2")]
fn folded(sum: __m256i, fold: __m256i) -> __m256i {
    let high = _mm256_mul_epu32(_mm256_srli_epi64::<32>(sum), fold);
    let low = _mm256_and_si256(sum, _mm256_set1_epi64x(i64::from(u32::MAX)));
    _mm256_add_epi64(high, low)
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

/// Half a line: `part` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
fn load_line(line: &Line, part: usize) -> __m256i {
    const { assert!(LINE == PARTS * size_of::<__m256i>()) };
    debug_assert!(part < PARTS);
    // SAFETY: `part` runs to PARTS in the only caller, so the 32 bytes are inside the line, and the load
    // needs no alignment.
    unsafe { _mm256_loadu_si256(line.as_ptr().cast::<__m256i>().add(part)) }
}

/// Eight of the 16 words from `at` on: `at` must be below [`HALF`], `part` is 0 or 1.
#[inline]
#[target_feature(enable = "avx2")]
fn load_operand(operand: &Operand, at: usize, part: usize) -> __m256i {
    debug_assert!(at < HALF && part < PARTS);
    // SAFETY: in the only caller `at` is a remainder by HALF and `part` runs to PARTS; an operand has
    // HALF + 16 words, so the eight words are inside, initialised, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(operand.as_ptr().add(at + part * WORDS).cast()) }
}
