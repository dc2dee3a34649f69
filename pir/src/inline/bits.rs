//! Polynomials as bit strings: value i occupies bits `i·width .. (i+1)·width`, least significant bit
//! first, of a little-endian string of bytes.

use super::{InlineError, Poly, rings};

/// Appends a polynomial of values below 2^width; 4096 of them fill whole bytes.
#[expect(clippy::cast_possible_truncation, reason = "the low half")]
pub(super) fn pack(values: &Poly, width: u32, bytes: &mut Vec<u8>) {
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

/// The bytes of a polynomial of values of `width` bits.
pub(super) const fn packed_bytes(width: u32) -> usize {
    super::N * width as usize / 8
}

/// Reads what [`pack`] wrote, each value to be below `bound`.
///
/// # Errors
/// Another size, or a value out of range. The time depends on the size alone.
#[expect(clippy::cast_possible_truncation, reason = "masked to less than 32 bits")]
pub(super) fn unpack(
    what: &'static str,
    bytes: &[u8],
    width: u32,
    bound: u32,
) -> Result<Box<Poly>, InlineError> {
    InlineError::check_size(what, packed_bytes(width), bytes.len())?;
    let mut values = rings::zero();
    let mut words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    let (mut waiting, mut bits, mut good) = (0u64, 0, true);
    for value in values.iter_mut() {
        if bits < width {
            waiting |= u64::from(words.next().unwrap_or_default()) << bits;
            bits += 32;
        }
        *value = (waiting & ((1 << width) - 1)) as u32;
        good &= *value < bound;
        waiting >>= width;
        bits -= width;
    }
    good.then_some(values).ok_or(InlineError::Range { what })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ntt::tests::poly;
    use super::*;

    /// Bit by bit.
    fn naive(values: &Poly, width: u32) -> Vec<u8> {
        let mut bytes = vec![0; packed_bytes(width)];
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
        fn packing_is_what_it_says(
            seed in any::<u64>(), width in prop_oneof![Just(20u32), Just(28), Just(29)],
        ) {
            let values = poly(seed, 1 << width);
            let mut bytes = Vec::new();
            pack(&values, width, &mut bytes);
            prop_assert_eq!(&bytes, &naive(&values, width));
            prop_assert_eq!(unpack("it", &bytes, width, 1 << width).unwrap(), values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(seed in any::<u64>(), length in 0..20_000usize) {
            let mut bytes = vec![0; length];
            blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
            let read = unpack("it", &bytes, 20, 1_000_000);
            prop_assert_eq!(
                matches!(read, Err(InlineError::Size { .. })), length != packed_bytes(20)
            );
        }
    }

    #[test]
    fn one_value_out_of_range_is_refused() {
        for position in [0, 1, 2047, 4095] {
            let mut values = rings::zero();
            let mut bytes = Vec::new();
            values[position] = 999;
            pack(&values, 20, &mut bytes);
            assert_eq!(unpack("it", &bytes, 20, 1000), Ok(values));
            assert_eq!(unpack("it", &bytes, 20, 999), Err(InlineError::Range { what: "it" }));
        }
    }
}
