//! Words of other programs, made fit for a status.

use crate::text::shorten;

/// At most `bytes` bytes of `text`, on one line.
pub(super) fn clip(text: &str, bytes: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shorten(&line, bytes)
}
