//! Bytes in cache lines, and the position of the next ones.
#![expect(unsafe_code, reason = "memory that the system zeroes")]

/// Bytes of a cache line, and of the widest vector register.
pub(super) const LINE: usize = 64;

/// One cache line with the kernel's data.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line<T>(pub(super) T);

/// Sums that start at zero. `vec!` would copy element after element, which took two thirds of the
/// scan's time for a shard of two partitions.
///
/// # Safety
/// Zero bytes must be a valid `T`.
pub(super) unsafe fn zeroed<T>(count: usize) -> Box<[T]> {
    // SAFETY: guaranteed by the condition above.
    unsafe { Box::new_zeroed_slice(count).assume_init() }
}

/// Byte `index` of a word, least significant first. It uses shifts, so that the compiler can
/// process many words at once.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "only the lowest byte is wanted")]
pub(super) fn limb(word: u32, index: usize) -> u8 {
    (word >> (8 * index)) as u8
}

/// The address to prefetch: `offset` bytes further on, in this band or at the start of the next
/// one.
///
/// Bands of different partitions are far apart, so the processor's own prefetching would stop at
/// the end of each. After the last band the address stays the same, which prefetches nothing new.
pub(super) fn ahead(bands: &[&[u8]], partition: usize, offset: usize) -> *const u8 {
    let band = bands.get(partition).copied().unwrap_or_default();
    if let Some(rest) = band.get(offset..).filter(|rest| !rest.is_empty()) {
        return rest.as_ptr();
    }
    let next = bands.get(partition + 1).copied().unwrap_or_default();
    next.get(offset.saturating_sub(band.len())..).unwrap_or(band).as_ptr()
}
