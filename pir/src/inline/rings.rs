//! The ring of the scheme, modulo q as the product of two primes.

use std::sync::LazyLock;

use super::modulus::{Factor, Modulus};
use super::ntt::Ntt;
use super::params::{Q_PRIMES, Q_ROOTS};
use super::{InlineError, N, Poly};
use crate::bits;

/// The transforms modulo the two primes of q.
pub static Q: LazyLock<[Ntt; 2]> = LazyLock::new(|| {
    let ([first, second], [first_root, second_root]) = (Q_PRIMES, Q_ROOTS);
    [Ntt::new(Modulus::new(first), first_root), Ntt::new(Modulus::new(second), second_root)]
});

/// q as the product of its primes.
pub const BASIS: Basis = Basis::new(Q_PRIMES);

/// Two primes of similar size whose product is a modulus.
#[derive(Debug, Clone, Copy)]
pub struct Basis {
    /// The modulus.
    pub product: u64,
    first: Modulus,
    second: Modulus,
    /// first^-1 modulo second.
    inverse: Factor,
}

impl Basis {
    const fn new([first, second]: [u32; 2]) -> Self {
        // `compose` subtracts the second prime at most once from a residue modulo the first.
        assert!(first > second && first < 2 * second);
        let (first, second) = (Modulus::new(first), Modulus::new(second));
        let inverse = second.factor(second.inverse(first.value - second.value));
        Self { product: first.value as u64 * second.value as u64, first, second, inverse }
    }

    /// The number below the product that has these residues (Garner).
    #[inline(always)]
    pub fn compose(&self, x: u32, y: u32) -> u64 {
        let difference = self.second.subtract(y, self.second.once(x));
        let digit = self.inverse.times(difference, self.second);
        u64::from(x) + u64::from(self.first.value) * u64::from(digit)
    }

    /// The number of least magnitude with these residues.
    #[inline(always)]
    pub fn compose_centred(&self, x: u32, y: u32) -> i64 {
        let value = self.compose(x, y);
        let negative = u64::from(value > self.product / 2).wrapping_neg();
        value.wrapping_sub(self.product & negative).cast_signed()
    }
}

/// A polynomial of zeros.
pub(super) fn zero() -> Box<Poly> {
    Box::new([0; N])
}

/// Unpacks values, each of which must be below `bound`.
///
/// # Errors
/// The size is wrong, or a value is out of range. The time depends only on the size.
#[expect(clippy::cast_possible_truncation, reason = "values of at most 32 bits")]
pub fn unpack(
    what: &'static str,
    bytes: &[u8],
    width: u32,
    bound: u32,
    values: &mut [u32],
) -> Result<(), InlineError> {
    InlineError::check_size(what, bits::packed_bytes(values.len(), width), bytes.len())?;
    let mut good = true;
    for (value, found) in values.iter_mut().zip(bits::unpack(bytes, width)) {
        *value = found as u32;
        good &= *value < bound;
    }
    if good { Ok(()) } else { Err(InlineError::Range { what }) }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "residues below a prime")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seed::tests::bytes;

    proptest! {
        #[test]
        fn composition_is_the_remainder_theorem(value in 0..BASIS.product) {
            let [x, y] = Q_PRIMES.map(|q| (value % u64::from(q)) as u32);
            prop_assert_eq!(BASIS.compose(x, y), value);
            let centred = i128::from(BASIS.compose_centred(x, y));
            prop_assert!(2 * centred.abs() < i128::from(BASIS.product));
            let difference = centred - i128::from(value);
            prop_assert_eq!(difference % i128::from(BASIS.product), 0);
        }

        #[test]
        fn any_bytes_are_read_or_refused(seed in any::<u64>(), length in 0..10_000usize) {
            let bytes = bytes(seed, length);
            let read = unpack("it", &bytes, 20, 1_000_000, &mut *zero());
            prop_assert_eq!(
                matches!(read, Err(InlineError::Size { .. })), length != bits::packed_bytes(N, 20)
            );
        }
    }

    #[test]
    fn one_value_out_of_range_is_refused() {
        for position in [0, 1, 1023, 2047] {
            let (mut values, mut bytes) = (zero(), Vec::new());
            values[position] = 999;
            bits::pack(*values, 20, &mut bytes);
            let mut read = zero();
            assert_eq!(unpack("it", &bytes, 20, 1000, &mut *read), Ok(()));
            assert_eq!(read, values);
            let refused = unpack("it", &bytes, 20, 999, &mut *read);
            assert_eq!(refused, Err(InlineError::Range { what: "it" }));
        }
    }
}
