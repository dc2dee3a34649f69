//! AVX-512: all rows at a time.
#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use std::arch::x86_64::{
    __m512i, _mm_loadu_si128, _mm512_add_epi32, _mm512_cvtepi8_epi32, _mm512_loadu_si512,
    _mm512_mask_shuffle_epi32, _mm512_min_epu32, _mm512_mul_epu32, _mm512_mullo_epi32,
    _mm512_set1_epi32, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_sub_epi32,
};

use crate::hint::planes::ROWS;
use crate::hint::transform::{Lanes, Line, Twiddle};
use crate::machine::Avx512;

impl Lanes for Avx512 {
    type Vector = __m512i;
    const PARTS: usize = 1;

    #[inline(always)]
    fn load(self, line: &Line, _: usize) -> __m512i {
        // SAFETY: the invariant of `self`; the reference covers 64 initialised bytes, and the load
        // needs no alignment.
        unsafe { _mm512_loadu_si512(line.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn widen(self, bytes: &[i8; ROWS], _: usize) -> __m512i {
        // SAFETY: the invariant of `self`; the reference covers 16 initialised bytes, and the load
        // needs no alignment.
        unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn store(self, vector: __m512i, line: &mut Line, _: usize) {
        // SAFETY: the invariant of `self`; the reference covers 64 writable bytes, any of whose
        // values is valid, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(line.0.as_mut_ptr().cast(), vector) }
    }

    #[inline(always)]
    fn splat(self, number: u32) -> __m512i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm512_set1_epi32(number.cast_signed()) }
    }

    #[inline(always)]
    fn add(self, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm512_add_epi32(x, y) }
    }

    #[inline(always)]
    fn subtract(self, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm512_sub_epi32(x, y) }
    }

    #[inline(always)]
    fn min(self, x: __m512i, y: __m512i) -> __m512i {
        // SAFETY: the invariant of `self`.
        unsafe { _mm512_min_epu32(x, y) }
    }

    #[inline(always)]
    fn times(self, x: __m512i, w: Twiddle, prime: __m512i) -> __m512i {
        let (factor, quotient) = (self.splat(w.factor), self.splat(w.quotient));
        // SAFETY: the invariant of `self`.
        unsafe { times(x, factor, quotient, prime) }
    }
}

/// x·factor − ⌊x·quotient/2^32⌋·prime, in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn times(x: __m512i, factor: __m512i, quotient: __m512i, prime: __m512i) -> __m512i {
    // Computes the 64-bit products of the even lanes and of the odd lanes, then takes their upper
    // halves, each in its original lane.
    let even = _mm512_mul_epu32(x, quotient);
    let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(x), quotient);
    let high = _mm512_mask_shuffle_epi32::<0b11_11_01_01>(odd, 0x5555, even);
    _mm512_sub_epi32(_mm512_mullo_epi32(x, factor), _mm512_mullo_epi32(high, prime))
}
