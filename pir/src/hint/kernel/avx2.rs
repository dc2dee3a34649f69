//! AVX2: half of the rows at a time.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m256i, _mm_loadl_epi64, _mm256_add_epi32, _mm256_blend_epi32, _mm256_cvtepi8_epi32,
    _mm256_loadu_si256, _mm256_min_epu32, _mm256_mul_epu32, _mm256_mullo_epi32, _mm256_set1_epi32,
    _mm256_srli_epi64, _mm256_storeu_si256, _mm256_sub_epi32,
};

use crate::hint::planes::ROWS;
use crate::hint::transform::{Lanes, Line, Twiddle};
use crate::machine::Avx2;

/// Numbers of a register.
const LANES: usize = 8;

impl Lanes for Avx2 {
    type Vector = __m256i;
    const PARTS: usize = 2;

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "part < PARTS")]
    fn load(self, line: &Line, part: usize) -> __m256i {
        let half: &[u32; LANES] = &line.0.as_chunks().0[part];
        // SAFETY: the invariant of `self`; the reference covers 32 initialised bytes, and the load
        // needs no alignment.
        unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "part < PARTS")]
    fn widen(self, bytes: &[i8; ROWS], part: usize) -> __m256i {
        let half: &[i8; LANES] = &bytes.as_chunks().0[part];
        // SAFETY: the invariant of `self`; the reference covers 8 initialised bytes, which is what
        // the load reads, and the load needs no alignment.
        unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(half.as_ptr().cast())) }
    }

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "part < PARTS")]
    fn store(self, vector: __m256i, line: &mut Line, part: usize) {
        let half: &mut [u32; LANES] = &mut line.0.as_chunks_mut().0[part];
        // SAFETY: the invariant of `self`; the reference covers 32 writable bytes, any of whose
        // values is valid, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn splat(self, number: u32) -> __m256i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm256_set1_epi32(number.cast_signed()) }
    }

    #[inline(always)]
    fn add(self, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm256_add_epi32(x, y) }
    }

    #[inline(always)]
    fn subtract(self, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm256_sub_epi32(x, y) }
    }

    #[inline(always)]
    fn min(self, x: __m256i, y: __m256i) -> __m256i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm256_min_epu32(x, y) }
    }

    #[inline(always)]
    fn times(self, x: __m256i, w: Twiddle, prime: __m256i) -> __m256i {
        let (factor, quotient) = (self.splat(w.factor), self.splat(w.quotient));
        // SAFETY: the invariant of `self`.
        unsafe { times(x, factor, quotient, prime) }
    }
}

/// x·factor − ⌊x·quotient/2^32⌋·prime, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn times(x: __m256i, factor: __m256i, quotient: __m256i, prime: __m256i) -> __m256i {
    // Computes the 64-bit products of the even lanes and of the odd lanes, then takes their upper
    // halves, each in its original lane.
    let even = _mm256_mul_epu32(x, quotient);
    let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(x), quotient);
    let high = _mm256_blend_epi32::<0b1010_1010>(_mm256_srli_epi64::<32>(even), odd);
    _mm256_sub_epi32(_mm256_mullo_epi32(x, factor), _mm256_mullo_epi32(high, prime))
}
