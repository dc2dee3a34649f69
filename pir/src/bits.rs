//! Packs numbers as bit strings: value i occupies bits `i·width .. (i+1)·width`, least significant
//! bit first, of a little-endian byte string. All formats of queries, answers and keys use it.
//!
//! **Constant time.** Time and memory access depend only on the number of values and their width.

use std::iter;

/// Maximum width of a value. Eight bytes cover it, whichever bit of the first byte it starts at.
const MAX_WIDTH: u32 = u64::BITS - 7;

/// Bytes of `values` values of `width` bits, which together must fill whole bytes.
pub const fn packed_bytes(values: usize, width: u32) -> usize {
    values * width as usize / 8
}

/// Appends values below 2^`width`, which together fill whole bytes. `width` is at most 57.
#[inline]
pub fn pack<T: Into<u64>>(values: impl IntoIterator<Item = T>, width: u32, bytes: &mut Vec<u8>) {
    debug_assert!(width <= MAX_WIDTH);
    // The lowest `bits` bits of `waiting` are not written yet.
    let (mut waiting, mut bits) = (0u64, 0);
    for value in values {
        let value = value.into();
        let word = waiting | value << bits;
        bits += width;
        if bits < u64::BITS {
            waiting = word;
            continue;
        }
        bytes.extend_from_slice(&word.to_le_bytes());
        bits -= u64::BITS;
        // The bits of the value that did not fit into the word.
        waiting = value >> (width - bits);
    }
    debug_assert_eq!(bits % 8, 0);
    bytes.extend(waiting.to_le_bytes().into_iter().take(bits as usize / 8));
}

/// The values that [`pack`] wrote. Trailing bits that do not form a whole value are ignored.
#[inline]
pub fn unpack(bytes: &[u8], width: u32) -> impl Iterator<Item = u64> {
    debug_assert!(width <= MAX_WIDTH);
    let (mask, mut at) = ((1 << width) - 1, 0);
    iter::from_fn(move || {
        let value = eight_bytes(bytes, at / 8) >> (at % 8) & mask;
        at += width as usize;
        (at <= 8 * bytes.len()).then_some(value)
    })
}

/// The eight bytes starting at `start` as a number, with zeros after the last byte.
#[inline]
fn eight_bytes(bytes: &[u8], start: usize) -> u64 {
    let rest = bytes.get(start..).unwrap_or_default();
    match rest.first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => rest.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit.
    fn naive(values: &[u64], width: u32) -> Vec<u8> {
        let mut bytes = vec![0; packed_bytes(values.len(), width)];
        for (i, value) in values.iter().enumerate() {
            for bit in 0..width as usize {
                let at = i * width as usize + bit;
                bytes[at / 8] |= u8::from(value >> bit & 1 == 1) << (at % 8);
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn packing_is_what_it_says(
            mut values in prop::collection::vec(any::<u64>(), 0..100), width in 1..=MAX_WIDTH,
        ) {
            // Whole bytes.
            values.truncate(values.len() / 8 * 8);
            values.iter_mut().for_each(|value| *value &= (1 << width) - 1);
            let mut bytes = vec![0xa5];
            pack(values.iter().copied(), width, &mut bytes);
            prop_assert_eq!(bytes.remove(0), 0xa5);
            prop_assert_eq!(&bytes, &naive(&values, width));
            prop_assert_eq!(unpack(&bytes, width).collect::<Vec<_>>(), values);
        }

        #[test]
        fn any_bytes_hold_whole_values(
            bytes in prop::collection::vec(any::<u8>(), 0..50), width in 1..=MAX_WIDTH,
        ) {
            let values: Vec<_> = unpack(&bytes, width).collect();
            prop_assert_eq!(values.len(), 8 * bytes.len() / width as usize);
            prop_assert!(values.iter().all(|value| value >> width == 0));
        }
    }
}
