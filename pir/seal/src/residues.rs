//! Residues modulo BFV's primes, packed with as many bits as each prime has.

use opaque_pir::bits;
use opaque_pir::params::{COEFFICIENT_BITS, COEFFICIENT_MODULUS, PLANE_ROWS};

use crate::SealError;

/// Bytes of one polynomial modulo the first `primes` primes.
pub const fn packed_bytes(primes: usize) -> usize {
    let mut bytes = 0;
    let mut prime = 0;
    while prime < primes {
        #[expect(clippy::indexing_slicing, reason = "called with constants only, at compile time")]
        {
            bytes += bits::packed_bytes(PLANE_ROWS, COEFFICIENT_BITS[prime]);
        }
        prime += 1;
    }
    bytes
}

/// Packs and appends the polynomials of `residues`, each modulo the first `primes` primes.
pub fn pack(residues: &[u64], primes: usize, out: &mut Vec<u8>) {
    let widths = COEFFICIENT_BITS.iter().take(primes).cycle();
    for (polynomial, width) in residues.chunks_exact(PLANE_ROWS).zip(widths) {
        bits::pack(polynomial.iter().copied(), *width, out);
    }
}

/// Unpacks polynomials that [`pack`] wrote, and appends their residues.
///
/// # Errors
/// A residue is not below its prime, or the bytes are not a whole number of polynomials.
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
    let mut rest = bytes;
    for (&width, &prime) in COEFFICIENT_BITS.iter().zip(&COEFFICIENT_MODULUS).take(primes).cycle() {
        let polynomial = rest.split_off(..bits::packed_bytes(PLANE_ROWS, width));
        let Some(polynomial) = polynomial else { break };
        for residue in bits::unpack(polynomial, width) {
            if residue >= prime {
                return Err(SealError::Residue { what });
            }
            out.push(residue);
        }
    }
    Ok(())
}
