//! Prefetches memory before it is needed.
#![expect(unsafe_code, reason = "a hint to the processor takes an address")]

use std::arch::asm;

/// Prefetches the line at `start + offset` to the second-level cache. Prefetches to the first level
/// would wait for the few buffers of its misses, and then the computation would wait too.
///
/// The instruction keeps its position among loads. The compiler would move hints to the end of an
/// unrolled loop, where some are dropped because there are too many at once.
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
