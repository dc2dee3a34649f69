//! Numbers as bit strings: value i occupies bits `i·width .. (i+1)·width`, least significant bit
//! first, of a little-endian string of bytes.

use super::InlineError;

/// Appends values below 2^width, as many as fill whole words of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub fn pack(values: &[u32], width: u32, bytes: &mut Vec<u8>) {
    let (mut waiting, mut bits) = (0u64, 0);
    for value in values {
        // At most 31 bits wait for at most 32 more.
        waiting |= u64::from(*value) << bits;
        bits += width;
        if bits >= 32 {
            bytes.extend_from_slice(&(waiting as u32).to_le_bytes());
            waiting >>= 32;
            bits -= 32;
        }
    }
    debug_assert_eq!(bits, 0);
}

/// The bytes of so many values of `width` bits.
pub(super) const fn packed_bytes(values: usize, width: u32) -> usize {
    values * width as usize / 8
}

/// Reads what [`pack`] wrote, each value to be below `bound`.
///
/// # Errors
/// Another size, or a value out of range. The time depends on the size alone.
#[expect(clippy::cast_possible_truncation, reason = "masked to less than 32 bits")]
pub fn unpack(
    what: &'static str,
    bytes: &[u8],
    width: u32,
    bound: u32,
    values: &mut [u32],
) -> Result<(), InlineError> {
    InlineError::check_size(what, packed_bytes(values.len(), width), bytes.len())?;
    let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let (mut waiting, mut bits, mut good) = (0u64, 0, true);
    for value in values {
        if bits < width {
            waiting |= u64::from(words.next().unwrap_or_default()) << bits;
            bits += 32;
        }
        *value = (waiting & ((1 << width) - 1)) as u32;
        good &= *value < bound;
        waiting >>= width;
        bits -= width;
    }
    if good { Ok(()) } else { Err(InlineError::Range { what }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ntt::tests::poly;
    use super::super::{N, rings};
    use super::*;

    /// Bit by bit.
    fn naive(values: &[u32], width: u32) -> Vec<u8> {
        let mut bytes = vec![0; packed_bytes(values.len(), width)];
        for (i, value) in values.iter().enumerate() {
            for bit in 0..width as usize {
                let at = i * width as usize + bit;
                bytes[at / 8] |= ((value >> bit & 1) as u8) << (at % 8);
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn packing_is_what_it_says(seed in any::<u64>(), width in 9..=24u32, rows in 8..=64usize) {
            let values = &poly(seed, 1 << width)[..32 * rows];
            let mut bytes = Vec::new();
            pack(values, width, &mut bytes);
            prop_assert_eq!(&bytes, &naive(values, width));
            let mut read = vec![7; values.len()];
            prop_assert_eq!(unpack("it", &bytes, width, 1 << width, &mut read), Ok(()));
            prop_assert_eq!(read, values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(seed in any::<u64>(), length in 0..10_000usize) {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let read = unpack("it", &bytes, 20, 1_000_000, &mut *rings::zero());
            prop_assert_eq!(
                matches!(read, Err(InlineError::Size { .. })), length != packed_bytes(N, 20)
            );
        }
    }

    #[test]
    fn one_value_out_of_range_is_refused() {
        for position in [0, 1, 1023, 2047] {
            let mut values = rings::zero();
            let mut bytes = Vec::new();
            values[position] = 999;
            pack(&*values, 20, &mut bytes);
            let mut read = rings::zero();
            assert_eq!(unpack("it", &bytes, 20, 1000, &mut *read), Ok(()));
            assert_eq!(read, values);
            let refused = unpack("it", &bytes, 20, 999, &mut *read);
            assert_eq!(refused, Err(InlineError::Range { what: "it" }));
        }
    }
}
