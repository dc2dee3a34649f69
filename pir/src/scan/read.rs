//! The baseline of every scan: the same bytes read once, with almost no arithmetic.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "vector loads behind a run-time check")
)]

#[cfg(target_arch = "x86_64")]
use crate::machine::detect;

/// Sum of the bytes, read as eight-byte numbers, with the widest registers of this machine. Up to
/// 511 bytes after the last multiple of 512 are ignored.
///
/// A baseline with narrower registers than the kernels would flatter them: on Sapphire Rapids,
/// reading 16 bytes at a time has two thirds of the bandwidth of 64 at a time.
pub fn plain_read(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if detect::avx512_f() {
        // SAFETY: the features were detected just now.
        return unsafe { with_avx512(bytes) };
    } else if detect::avx2() {
        // SAFETY: as above.
        return unsafe { with_avx2(bytes) };
    }
    portable(bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(bytes: &[u8]) -> u64 {
    use std::arch::x86_64::{
        _mm512_add_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi64, _mm512_setzero_si512,
    };
    let mut sums = [_mm512_setzero_si512(); 8];
    for lines in bytes.as_chunks::<64>().0.as_chunks::<8>().0 {
        for (sum, line) in sums.iter_mut().zip(lines) {
            // SAFETY: the reference covers 64 initialised bytes, and the load needs no alignment.
            *sum = _mm512_add_epi64(*sum, unsafe { _mm512_loadu_si512(line.as_ptr().cast()) });
        }
    }
    let sums = sums.into_iter().map(|sum| _mm512_reduce_add_epi64(sum).cast_unsigned());
    sums.fold(0, u64::wrapping_add)
}

/// The compiler's own code, with 32-byte registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2(bytes: &[u8]) -> u64 {
    portable(bytes)
}

#[inline(always)]
fn portable(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for lines in bytes.as_chunks::<512>().0 {
        for line in lines.as_chunks::<128>().0 {
            for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            }
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let mut bytes: Vec<u8> = (0u8..=255).cycle().take(1536).collect();
        let before = portable(&bytes);
        assert_eq!(plain_read(&bytes), before);
        for i in 0..bytes.len() {
            bytes[i] ^= 1;
            assert_ne!(portable(&bytes), before, "byte {i}");
            assert_eq!(plain_read(&bytes), portable(&bytes), "byte {i}");
            bytes[i] ^= 1;
        }
        assert_eq!(plain_read(&[1; 511]), 0);
    }
}
