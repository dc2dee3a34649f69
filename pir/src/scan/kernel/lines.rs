//! Bytes in cache lines, and where the next ones are.
#![expect(unsafe_code, reason = "a hint to the processor takes an address")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Bytes of a cache line, and of the widest vector register.
pub(super) const LINE: usize = 64;

/// One cache line of whatever the kernel keeps in it.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line<T>(pub(super) T);

/// Byte `index` of a word, least significant first.
pub(super) fn limb(word: u32, index: usize) -> u8 {
    word.to_le_bytes().get(index).copied().unwrap_or_default()
}

/// Where to read ahead: as many bytes further on, in this band or at the start of the next one.
///
/// Bands of different partitions lie far apart, so the processor's own prefetching would stop at
/// the end of each. After the last band it stays in place, which asks for nothing new.
pub(super) fn ahead(bands: &[&[u8]], partition: usize, offset: usize) -> *const u8 {
    let band = bands.get(partition).copied().unwrap_or_default();
    if let Some(rest) = band.get(offset..).filter(|rest| !rest.is_empty()) {
        return rest.as_ptr();
    }
    let next = bands.get(partition + 1).copied().unwrap_or_default();
    next.get(offset.saturating_sub(band.len())..).unwrap_or(band).as_ptr()
}

/// Asks for the line at `start + offset` in the first-level cache.
#[inline(always)]
pub(super) fn prefetch(start: *const u8, offset: usize) {
    // SAFETY: a prefetch reads nothing and faults nowhere, whatever the address; SSE is part of
    // every x86-64 processor.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset).cast()) }
}
