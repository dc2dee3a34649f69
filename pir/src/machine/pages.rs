//! Memory for a matrix, in large pages if the system provides them.
//!
//! A scan reads gibibytes. With 4 KiB pages it would spend a part of its time on address
//! translation, and the processor's prefetching would stop at the end of each page.
#![expect(unsafe_code, reason = "aligned allocation, and advice to the system about it")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// A large page of x86-64 and of most ARM systems.
const LARGE_PAGE: usize = 2 << 20;
/// Bytes of a cache line, and of the widest vector load.
const CACHE_LINE: usize = 64;

/// Bytes at an address that is aligned to a cache line, or to a large page if they fill one. The
/// owner may change them.
///
/// Invariants: `start` is the start of an allocation of `layout`. All of its bytes (at least one)
/// are initialised and owned only by this value.
pub(crate) struct Pages {
    start: NonNull<u8>,
    layout: Layout,
    large: bool,
}

// SAFETY: the allocation has one owner, and is written through an exclusive reference only.
unsafe impl Send for Pages {}
// SAFETY: shared access only reads.
unsafe impl Sync for Pages {}

impl Pages {
    /// Copies at least one byte. Returns `None` for no bytes, or for more than half the address
    /// space.
    pub(crate) fn copy(bytes: &[u8]) -> Option<Self> {
        let (start, layout, large) = allocate(bytes.len())?;
        // SAFETY: a new allocation of `bytes.len()` bytes overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), layout.size()) };
        Some(Self { start, layout, large })
    }

    /// At least one byte of zeros; `None` as for [`copy`](Self::copy).
    pub(crate) fn zeroed(length: usize) -> Option<Self> {
        let (start, layout, large) = allocate(length)?;
        // SAFETY: the allocation has so many bytes, and nothing else refers to them.
        unsafe { ptr::write_bytes(start.as_ptr(), 0, layout.size()) };
        Some(Self { start, layout, large })
    }

    /// Whether the system accepted the request for large pages. It may still use small ones if its
    /// memory is fragmented.
    pub(crate) fn large(&self) -> bool {
        self.large
    }
}

/// Memory that has not been touched yet, and whether the system accepted the request for large
/// pages. The system chooses the page size at the first touch. Therefore this does not use
/// `alloc_zeroed`, which at this alignment writes zeros at once.
fn allocate(length: usize) -> Option<(NonNull<u8>, Layout, bool)> {
    let layout = layout(length)?;
    // SAFETY: the layout's size is not zero.
    let start = unsafe { alloc(layout) };
    let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
    let large = layout.align() == LARGE_PAGE && advise(start, layout.size());
    Some((start, layout, large))
}

/// Size and alignment of this many bytes; `None` for zero, or for more than half the address space.
fn layout(length: usize) -> Option<Layout> {
    let alignment = if length >= LARGE_PAGE { LARGE_PAGE } else { CACHE_LINE };
    Layout::from_size_align(length, alignment).ok().filter(|layout| layout.size() > 0)
}

#[cfg(target_os = "linux")]
fn advise(start: NonNull<u8>, length: usize) -> bool {
    // SAFETY: the range is an allocation of ours, aligned to pages, and this advice changes neither
    // its contents nor its rights.
    unsafe { libc::madvise(start.as_ptr().cast(), length, libc::MADV_HUGEPAGE) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn advise(_start: NonNull<u8>, _length: usize) -> bool {
    false
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariants that many bytes are initialised, and live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: by the invariants the allocation is ours and of this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start: _, layout, large } = self;
        f.debug_struct("Pages")
            .field("bytes", &layout.size())
            .field("large", large)
            .finish_non_exhaustive()
    }
}
