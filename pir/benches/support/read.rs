//! A read without arithmetic worth mentioning: what the memory can do.
#![expect(unsafe_code, reason = "wide loads behind a run-time check")]

fn plain(chunk: &[u8]) -> u64 {
    let mut sums = [0u64; 64];
    for line in chunk.as_chunks::<512>().0 {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn wide(chunk: &[u8]) -> u64 {
    use std::arch::x86_64::{
        _mm512_add_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi64, _mm512_setzero_si512,
    };
    let mut sums = [_mm512_setzero_si512(); 8];
    for lines in chunk.as_chunks::<64>().0.as_chunks::<8>().0 {
        for (sum, line) in sums.iter_mut().zip(lines) {
            // SAFETY: the reference covers 64 bytes; the load needs no alignment.
            *sum = _mm512_add_epi64(*sum, unsafe { _mm512_loadu_si512(line.as_ptr().cast()) });
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_epi64(sum)).fold(0, i64::wrapping_add) as u64
}

/// Adds up all bytes, eight at a time, with the widest registers there are.
pub(crate) fn sum(chunk: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        // SAFETY: the line above.
        return unsafe { wide(chunk) };
    }
    plain(chunk)
}

/// The load average, which says how far to trust the figures.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
