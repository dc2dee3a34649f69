//! Residues modulo a prime, bit-packed: value `i` occupies bits `i·width .. (i+1)·width`, least
//! significant bit first, of a little-endian string of bytes.

use opaque_pir::params::{COEFFICIENT_BITS, COEFFICIENT_MODULUS, PLANE_ROWS};

use crate::SealError;

/// Bytes of one polynomial modulo the first `primes` primes.
pub const fn packed_bytes(primes: usize) -> usize {
    let mut bits = 0;
    let mut prime = 0;
    while prime < primes {
        #[expect(clippy::indexing_slicing, reason = "called with constants only, at compile time")]
        {
            bits += COEFFICIENT_BITS[prime];
        }
        prime += 1;
    }
    PLANE_ROWS * bits / 8
}

/// Appends the polynomials of `residues`, each modulo the first `primes` primes.
pub fn pack(residues: &[u64], primes: usize, out: &mut Vec<u8>) {
    let widths = COEFFICIENT_BITS.iter().take(primes).cycle();
    for (polynomial, &width) in residues.chunks_exact(PLANE_ROWS).zip(widths) {
        let (mut waiting, mut bits) = (0_u128, 0);
        for &residue in polynomial {
            waiting |= u128::from(residue) << bits;
            bits += width;
            while bits >= 8 {
                let [byte, ..] = waiting.to_le_bytes();
                out.push(byte);
                waiting >>= 8;
                bits -= 8;
            }
        }
    }
}

/// Reads polynomials that [`pack`] wrote and appends their residues.
///
/// # Errors
/// A residue that is not below its prime. `bytes` must be a whole number of polynomials.
pub fn unpack(
    what: &'static str,
    bytes: &[u8],
    primes: usize,
    out: &mut Vec<u64>,
) -> Result<(), SealError> {
    let expected = bytes.len().next_multiple_of(packed_bytes(primes));
    if bytes.len() != expected {
        return Err(SealError::Size { what, expected, found: bytes.len() });
    }
    let mut rest = bytes.iter();
    for (&width, &prime) in COEFFICIENT_BITS.iter().zip(&COEFFICIENT_MODULUS).take(primes).cycle() {
        if rest.len() == 0 {
            break;
        }
        let mask = (1_u128 << width) - 1;
        let (mut waiting, mut bits) = (0_u128, 0);
        for byte in rest.by_ref().take(PLANE_ROWS * width / 8) {
            waiting |= u128::from(*byte) << bits;
            bits += 8;
            if bits >= width {
                // The mask leaves at most 36 bits.
                let residue = u64::try_from(waiting & mask).unwrap_or(u64::MAX);
                if residue >= prime {
                    return Err(SealError::Residue { what });
                }
                out.push(residue);
                waiting >>= width;
                bits -= width;
            }
        }
    }
    Ok(())
}
