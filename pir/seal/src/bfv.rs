//! The BFV context: parameters, levels of the modulus chain, encoder, evaluator.

use std::sync::Arc;

use opaque_pir::params::{COEFFICIENT_MODULUS, PLAINTEXT_MODULUS, PLANE_ROWS, ROTATION_STEPS};
use seal_fhe::{BFVEncoder, BfvEncryptionParametersBuilder, Context, Modulus, SecurityLevel};

use crate::SealError;
use crate::format::{CiphertextShape, GaloisShape, ParmsId, PlaintextShape, galois_slot};
use crate::handle::{self, Evaluator};

/// Number of primes of a fresh ciphertext. One more prime is used inside key switching.
pub(crate) const DATA_PRIMES: usize = 2;

/// BFV with the parameter set `opaque-128-v2`. It is built once and shared.
pub struct Bfv {
    pub(crate) context: Context,
    pub(crate) encoder: BFVEncoder,
    pub(crate) evaluator: Evaluator,
    key_level: ParmsId,
    data_level: ParmsId,
    answer_level: ParmsId,
}

impl Bfv {
    /// Builds SEAL's tables for the parameter set (a few milliseconds).
    ///
    /// # Errors
    /// [`SealError::Parameters`] if SEAL does not accept exactly these primes at its security level
    /// of 128.
    pub fn new() -> Result<Arc<Self>, SealError> {
        let refused = |_| SealError::Parameters;
        let primes = COEFFICIENT_MODULUS
            .into_iter()
            .map(Modulus::new)
            .collect::<Result<_, _>>()
            .map_err(refused)?;
        let parameters = BfvEncryptionParametersBuilder::new()
            .set_poly_modulus_degree(PLANE_ROWS as u64)
            .set_coefficient_modulus(primes)
            .set_plain_modulus_u64(u64::from(PLAINTEXT_MODULUS))
            .build()
            .map_err(refused)?;
        let kept = parameters.get_coefficient_modulus();
        if !kept.iter().map(Modulus::value).eq(COEFFICIENT_MODULUS) {
            return Err(SealError::Parameters);
        }
        let context = Context::new(&parameters, true, SecurityLevel::TC128).map_err(refused)?;
        if !handle::parameters_set(&context)? {
            return Err(SealError::Parameters);
        }
        let [key_level, data_level, answer_level] = handle::levels(&context)?;
        let encoder = BFVEncoder::new(&context).map_err(refused)?;
        if encoder.get_slot_count() != PLANE_ROWS {
            return Err(SealError::Parameters);
        }
        let evaluator = Evaluator::new(&context)?;
        Ok(Arc::new(Self { context, encoder, evaluator, key_level, data_level, answer_level }))
    }

    /// A plaintext in NTT form modulo the data primes.
    pub(crate) fn plaintext_shape(&self) -> PlaintextShape {
        PlaintextShape { parms_id: self.data_level, primes: DATA_PRIMES }
    }
}

/// Used through [`internal`](crate::internal).
#[doc(hidden)]
impl Bfv {
    /// SEAL's context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// SEAL's encoder.
    pub fn encoder(&self) -> &BFVEncoder {
        &self.encoder
    }

    /// SEAL's evaluator.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// A ciphertext modulo the data primes.
    pub fn data_shape(&self, ntt: bool, seeded: bool) -> CiphertextShape {
        CiphertextShape { parms_id: self.data_level, primes: DATA_PRIMES, ntt, seeded }
    }

    /// A ciphertext modulo the first prime.
    pub fn answer_shape(&self) -> CiphertextShape {
        CiphertextShape { parms_id: self.answer_level, primes: 1, ntt: false, seeded: false }
    }

    /// A plaintext in NTT form modulo all primes.
    pub fn full_shape(&self) -> PlaintextShape {
        PlaintextShape { parms_id: self.key_level, primes: COEFFICIENT_MODULUS.len() }
    }

    /// Shape of two Galois keys. A digit is a seeded ciphertext modulo all primes.
    pub fn galois_shape(&self) -> GaloisShape {
        let digit = CiphertextShape {
            parms_id: self.key_level,
            primes: COEFFICIENT_MODULUS.len(),
            ntt: true,
            seeded: true,
        };
        GaloisShape { digit, digits: DATA_PRIMES, keys: ROTATION_STEPS.len() }
    }

    /// The slots in which SEAL stores the keys for [`ROTATION_STEPS`].
    pub fn galois_slots() -> [usize; 2] {
        ROTATION_STEPS.map(galois_slot)
    }
}

impl std::fmt::Debug for Bfv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bfv").finish_non_exhaustive()
    }
}
