//! Lines of a CSV file, counted beside its parser.

use std::collections::VecDeque;
use std::io::{self, Read};

use crate::input::Bytes;

/// Bytes whose line breaks are remembered until they are passed. The CSV parser's own count is off
/// by one after CR LF, whose LF it takes for the next record's beginning.
pub(super) struct Lines {
    bytes: Bytes,
    offset: u64,
    /// Offset beyond which nothing is read: the record under way is too long then.
    end: u64,
    /// Offsets of CR and LF not passed yet, and whether each is an LF.
    breaks: VecDeque<(u64, bool)>,
    line: u64,
}

impl Lines {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, offset: 0, end: u64::MAX, breaks: VecDeque::new(), line: 1 }
    }

    /// Bounds what may be read until the next call.
    pub(super) fn read_until(&mut self, end: u64) {
        self.end = end;
    }

    /// Whether reading ended at the bound.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset >= self.end
    }

    /// Line of the first byte from `offset` on that is no line break. Offsets must not decrease.
    pub(super) fn line_of(&mut self, offset: u64) -> u64 {
        let mut start = offset;
        while let Some((at, feed)) = self.breaks.front().copied().filter(|(at, _)| *at <= start) {
            start = start.max(at.saturating_add(1));
            self.line += u64::from(feed);
            self.breaks.pop_front();
        }
        self.line
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end() {
            return Err(io::Error::other("the record is too long"));
        }
        let length = self.bytes.read(buffer)?;
        for (at, byte) in (self.offset..).zip(buffer.iter().take(length)) {
            if matches!(byte, b'\n' | b'\r') {
                self.breaks.push_back((at, *byte == b'\n'));
            }
        }
        self.offset += length as u64;
        Ok(length)
    }
}
