//! Searches eight bytes at a time. Most fields are so short that one call of memchr per field would
//! cost more.

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const LF: u64 = each(b'\n');
const CR: u64 = each(b'\r');

const fn each(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The high bit of each byte that is zero. In any other byte, either adding 7f to the seven low
/// bits sets the high bit, or it is set already; the complement clears it.
fn zeros(word: u64) -> u64 {
    !(((word & LOW) + LOW) | word | LOW)
}

/// Finds every `byte`, and every line break if `BREAKS` is set, one after another.
pub(super) struct Marks<const BREAKS: bool> {
    byte: u64,
    /// Position after the word to which `marks` belongs.
    next: usize,
    /// Matches in that word that have not been returned yet.
    marks: u64,
}

impl<const BREAKS: bool> Marks<BREAKS> {
    /// Starts at position `start`.
    pub(super) fn new(byte: u8, start: usize) -> Self {
        Self { byte: each(byte), next: start, marks: 0 }
    }

    /// The next match. `bytes` must be the same in every call.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.marks == 0 {
            let rest = bytes.get(self.next..).filter(|rest| !rest.is_empty())?;
            let word =
                rest.first_chunk().map_or_else(|| padded(rest), |word| u64::from_le_bytes(*word));
            self.marks = zeros(word ^ self.byte);
            if BREAKS {
                self.marks |= zeros(word ^ LF) | zeros(word ^ CR);
            }
            self.next += 8;
        }
        let position = self.next - 8 + (self.marks.trailing_zeros() / 8) as usize;
        self.marks &= self.marks - 1;
        Some(position)
    }
}

/// A word with fewer than eight bytes. The padding is not ASCII and so never matches.
#[cold]
fn padded(rest: &[u8]) -> u64 {
    let mut word = [0x80; 8];
    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(word)
}

/// Counts line breaks: LF, CR LF or CR.
pub(super) fn breaks(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let (mut count, mut returns) = (0, 0);
    let mut add = |word: u64| {
        count += zeros(word ^ LF).count_ones();
        returns |= zeros(word ^ CR);
    };
    words.iter().for_each(|word| add(u64::from_le_bytes(*word)));
    match bytes.last_chunk() {
        // Bytes that were counted already are replaced by zeros.
        Some(last) if !rest.is_empty() => add(u64::from_le_bytes(*last) >> (8 * (8 - rest.len()))),
        Some(_) => {}
        None => add(padded(rest)),
    }
    if returns == 0 { u64::from(count) } else { mixed_breaks(bytes) }
}

fn mixed_breaks(bytes: &[u8]) -> u64 {
    let next = bytes.iter().skip(1).map(Some).chain([None]);
    let ends = bytes.iter().zip(next);
    ends.filter(|(byte, next)| **byte == b'\n' || (**byte == b'\r' && *next != Some(&b'\n')))
        .count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let one = prop::sample::select(&b"ab,,\n\n\r\x0b\x0c\x2b\x2d\x8a\xac\x00\xff"[..]);
        (0usize..50, prop::collection::vec(one, 0..99))
            .prop_map(|(fill, bytes)| [vec![b'x'; fill], bytes].concat())
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in bytes(), start in 0usize..60) {
            let from = start.min(bytes.len());
            let all = |marks: &[u8]| {
                let is_mark = |at: &usize| marks.contains(&bytes[*at]);
                (from..bytes.len()).filter(is_mark).collect::<Vec<_>>()
            };
            let mut stops = Marks::<true>::new(b',', from);
            let found: Vec<_> = std::iter::from_fn(|| stops.find(&bytes)).collect();
            prop_assert_eq!(found, all(b",\n\r"));
            let mut commas = Marks::<false>::new(b',', from);
            let found: Vec<_> = std::iter::from_fn(|| commas.find(&bytes)).collect();
            prop_assert_eq!(found, all(b","));
        }

        #[test]
        fn counts_lines(bytes in bytes()) {
            let unified = String::from_utf8_lossy(&bytes).replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(breaks(&bytes), unified.matches('\n').count() as u64);
        }
    }
}
