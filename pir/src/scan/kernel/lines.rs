//! Bytes in cache lines, and where the next ones are.
#![expect(unsafe_code, reason = "memory that the system zeroes")]

/// Bytes of a cache line, and of the widest vector register.
pub(super) const LINE: usize = 64;

/// One cache line of whatever the kernel keeps in it.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line<T>(pub(super) T);

/// Sums that begin at zero: one stroke, where `vec!` would copy element after element, which for a
/// shard of two partitions took two thirds of the time of scanning them.
///
/// # Safety
/// Bytes of zero must be a `T`.
pub(super) unsafe fn zeroed<T>(count: usize) -> Box<[T]> {
    // SAFETY: by the condition above.
    unsafe { Box::new_zeroed_slice(count).assume_init() }
}

/// Byte `index` of a word, least significant first. Shifted, so that the compiler takes many words
/// at once.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is what is asked for")]
pub(super) fn limb(word: u32, index: usize) -> u8 {
    (word >> (8 * index)) as u8
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
