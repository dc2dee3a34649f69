//! The inline keys of one lookup, as a server reads them.

use super::InlineError;
use super::kernel::{HALF, Operands, PADDED};
use super::params::{N, Q_BITS, Q_PRIMES, QUERY_BYTES};
use super::rings::{self, unpack};
use super::table::WIDTH;

/// The b halves of the key and of the B encryptions, checked, in the form that kernels read.
///
/// Bytes: the key modulo q's two primes, 24 bits per slot; then encryption b in the same form, for
/// b = 0, 1. Every value is below its prime.
pub struct InlineQuery {
    /// For each prime and each half of slots: the operand of the key, then those of the
    /// encryptions.
    pub(super) operands: [[Box<Operands>; 2]; 2],
}

impl InlineQuery {
    /// Reads exactly [`QUERY_BYTES`] bytes.
    ///
    /// # Errors
    /// The size is wrong, or a value is not below its prime.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InlineError> {
        const WHAT: &str = "query with inline keys";
        InlineError::check_size(WHAT, QUERY_BYTES, bytes.len())?;
        let half = || Box::new([[0; PADDED]; WIDTH]);
        let mut operands = [[half(), half()], [half(), half()]];
        let mut slots = rings::zero();
        let parts = bytes.chunks_exact(QUERY_BYTES / (2 * WIDTH));
        for (number, packed) in parts.enumerate() {
            let prime = Q_PRIMES.into_iter().zip(&mut operands).nth(number % 2);
            let Some((prime, halves)) = prime else { continue };
            unpack(WHAT, packed, Q_BITS, prime, &mut *slots)?;
            for (slots, operands) in slots.chunks_exact(HALF).zip(halves) {
                if let Some(operand) = operands.get_mut(number / 2) {
                    // The first slots follow again after the last.
                    for (to, from) in operand.iter_mut().zip(slots.iter().cycle()) {
                        *to = *from;
                    }
                }
            }
        }
        Ok(Self { operands })
    }
}

impl std::fmt::Debug for InlineQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InlineQuery").finish_non_exhaustive()
    }
}

const _: () = assert!(N == 2 * HALF);
