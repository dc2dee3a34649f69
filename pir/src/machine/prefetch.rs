//! Asking for memory before it is needed.
#![expect(unsafe_code, reason = "a hint to the processor takes an address")]

use std::arch::asm;

/// Asks for the line at `start + offset` in the second-level cache: requests for the first level
/// wait for the few buffers of its misses, and then so does the work.
///
/// It stays where it stands among loads. The compiler would gather what it takes for a hint at the
/// end of an unrolled loop, where so many at once are dropped.
#[inline(always)]
pub(crate) fn prefetch(start: *const u8, offset: usize) {
    let line = start.wrapping_add(offset);
    // SAFETY: a prefetch changes nothing and faults nowhere, whatever the address; SSE is part of
    // every x86-64 processor, and `prfm` of every ARM one.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("prefetcht1 [{line}]", line = in(reg) line, options(nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("prfm pldl2keep, [{line}]", line = in(reg) line, options(nostack, preserves_flags));
    }
}
