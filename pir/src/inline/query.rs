//! What a client sends for one lookup, as a server reads it.

use super::InlineError;
use super::bits::{packed_bytes, unpack};
use super::kernel::{HALF, Operand, PADDED};
use super::params::{Q_BITS, Q_PRIMES, SPECIAL_BITS, SPECIAL_PRIMES, Variant};
use super::table::width;
use crate::codec::Reader;

/// The b halves of the rotation key and of the B encryptions, checked, in the form that kernels read.
///
/// Bytes: the key modulo q's two primes (28 bits a slot), then P's (20 bits); then for b = 0..B−1
/// `Enc(rot_b(s))` modulo q's two primes. Every value is below its prime.
pub struct InlineQuery {
    pub(super) variant: Variant,
    /// Per prime, for each half of slots: the key's, then the encryptions', where q's primes.
    pub(super) operands: [[Vec<Operand>; 2]; 4],
}

impl InlineQuery {
    /// Reads exactly [`Variant::query_bytes`] bytes.
    ///
    /// # Errors
    /// Another size, or a value that is not below its prime.
    pub fn from_bytes(variant: Variant, bytes: &[u8]) -> Result<Self, InlineError> {
        const WHAT: &str = "query with inline keys";
        InlineError::check_size(WHAT, variant.query_bytes(), bytes.len())?;
        let mut operands: [[Vec<Operand>; 2]; 4] = Default::default();
        let mut reader = Reader::new(bytes);
        for part in 0..=variant.baby_steps() {
            let q = Q_PRIMES.map(|prime| (prime, Q_BITS));
            let special = SPECIAL_PRIMES.map(|prime| (prime, SPECIAL_BITS));
            // Only the key is known modulo P.
            let special = special.into_iter().take(if part == 0 { 2 } else { 0 });
            for ((prime, bits), operands) in q.into_iter().chain(special).zip(&mut operands) {
                let packed = reader.take(packed_bytes(bits)).unwrap_or_default();
                let poly = unpack(WHAT, packed, bits, prime)?;
                for (half, operands) in poly.chunks_exact(HALF).zip(operands) {
                    operands.push(operand(half));
                }
            }
        }
        debug_assert!((0..4).zip(&operands).all(|(p, [x, _])| x.len() == width(variant, p)));
        Ok(Self { variant, operands })
    }

    /// The variant of the parameter set that it belongs to.
    pub fn variant(&self) -> Variant {
        self.variant
    }
}

impl std::fmt::Debug for InlineQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineQuery").field("variant", &self.variant).finish_non_exhaustive()
    }
}

/// Half a polynomial's slots, followed by the first of them again.
fn operand(half: &[u32]) -> Operand {
    let mut operand = [0; PADDED];
    for (to, from) in operand.iter_mut().zip(half.iter().chain(half)) {
        *to = *from;
    }
    operand
}
