//! The same product by SEAL's calls only, for comparison: a `MultiplyPlain` and an `Add` for each
//! of the 1024 diagonals.

#![allow(unsafe_code, reason = "three of SEAL's C functions that its bindings leave out")]

use std::ffi::{c_long, c_void};
use std::ptr::null_mut;

use opaque_pir::params::{COEFFICIENT_MODULUS, PLAINTEXT_MODULUS, PLANE_ROWS, RING_DEGREE};
use rand::{Rng, RngExt};
use seal_fhe::{
    BFVEncoder, BFVEvaluator, BfvEncryptionParametersBuilder, Ciphertext, Context, Encryptor,
    Evaluator, GaloisKeys, KeyGenerator, Modulus, Plaintext, SecurityLevel,
};

type Object = *mut c_void;

unsafe extern "C" {
    fn Evaluator_Create(context: Object, evaluator: *mut Object) -> c_long;
    fn Evaluator_Destroy(evaluator: Object) -> c_long;
    fn Evaluator_TransformToNTT1(
        evaluator: Object,
        plaintext: Object,
        parms_id: *const u64,
        destination: Object,
        pool: Object,
    ) -> c_long;
    fn Evaluator_TransformToNTT2(
        evaluator: Object,
        ciphertext: Object,
        destination: Object,
    ) -> c_long;
    fn Evaluator_TransformFromNTT(
        evaluator: Object,
        ciphertext: Object,
        destination: Object,
    ) -> c_long;
    fn Ciphertext_ParmsId(ciphertext: Object, parms_id: *mut u64) -> c_long;
}

/// A client's keys and ciphertext, and a server's diagonals. The contents do not affect the time.
pub(crate) struct SealCalls {
    transforms: Object,
    evaluator: BFVEvaluator,
    keys: GaloisKeys,
    secret: Ciphertext,
    diagonals: Vec<Plaintext>,
}

impl SealCalls {
    pub(crate) fn new(rng: &mut impl Rng) -> Self {
        let primes =
            COEFFICIENT_MODULUS.into_iter().map(|prime| Modulus::new(prime).unwrap()).collect();
        let parameters = BfvEncryptionParametersBuilder::new()
            .set_poly_modulus_degree(PLANE_ROWS as u64)
            .set_coefficient_modulus(primes)
            .set_plain_modulus_u64(u64::from(PLAINTEXT_MODULUS))
            .build()
            .unwrap();
        let context = Context::new(&parameters, true, SecurityLevel::TC128).unwrap();
        let generator = KeyGenerator::new(&context).unwrap();
        let encoder = BFVEncoder::new(&context).unwrap();
        let mut plaintext = || {
            let slots: Vec<u64> = (0..PLANE_ROWS)
                .map(|_| u64::from(rng.random_range(0..PLAINTEXT_MODULUS)))
                .collect();
            encoder.encode_unsigned(&slots).unwrap()
        };
        let encryptor =
            Encryptor::with_public_key(&context, &generator.create_public_key()).unwrap();
        let secret = encryptor.encrypt(&plaintext()).unwrap();
        let (mut transforms, mut parms_id) = (null_mut(), [0; 4]);
        // SAFETY: the context and the ciphertext are live; the out pointers are valid and large
        // enough.
        unsafe {
            assert_eq!(Evaluator_Create(context.get_handle(), &raw mut transforms), 0);
            assert_eq!(Ciphertext_ParmsId(secret.get_handle(), parms_id.as_mut_ptr()), 0);
        }
        let diagonals = (0..RING_DEGREE)
            .map(|_| {
                let (plaintext, out) = (plaintext(), Plaintext::new().unwrap());
                // SAFETY: all objects are live, and the plaintext comes from the encoder.
                let code = unsafe {
                    Evaluator_TransformToNTT1(
                        transforms,
                        plaintext.get_handle(),
                        parms_id.as_ptr(),
                        out.get_handle(),
                        null_mut(),
                    )
                };
                assert_eq!(code, 0);
                out
            })
            .collect();
        let evaluator = BFVEvaluator::new(&context).unwrap();
        let keys = generator.create_galois_keys().unwrap();
        Self { transforms, evaluator, keys, secret, diagonals }
    }

    /// The whole product except for packing the answer.
    pub(crate) fn product(&self) -> Ciphertext {
        let mut rotations = vec![self.secret.clone()];
        for _ in 1..32 {
            let last = rotations.last().unwrap();
            rotations.push(self.evaluator.rotate_rows(last, 1, &self.keys).unwrap());
        }
        let rotations: Vec<_> = rotations.iter().map(|rotation| self.to_ntt(rotation)).collect();
        let mut acc: Option<Ciphertext> = None;
        for diagonals in self.diagonals.chunks(32).rev() {
            let mut sum: Option<Ciphertext> = None;
            for (diagonal, rotation) in diagonals.iter().zip(&rotations) {
                let product = self.evaluator.multiply_plain(rotation, diagonal).unwrap();
                match &mut sum {
                    None => sum = Some(product),
                    Some(sum) => self.evaluator.add_inplace(sum, &product).unwrap(),
                }
            }
            let sum = self.to_coefficients(&sum.unwrap());
            acc = Some(match acc {
                None => sum,
                Some(acc) => {
                    let mut rotated = self.evaluator.rotate_rows(&acc, 32, &self.keys).unwrap();
                    self.evaluator.add_inplace(&mut rotated, &sum).unwrap();
                    rotated
                }
            });
        }
        self.evaluator.mod_switch_to_next(&acc.unwrap()).unwrap()
    }

    fn to_ntt(&self, ciphertext: &Ciphertext) -> Ciphertext {
        let out = Ciphertext::new().unwrap();
        // SAFETY: all objects are live and `out` is fresh.
        let code = unsafe {
            Evaluator_TransformToNTT2(self.transforms, ciphertext.get_handle(), out.get_handle())
        };
        assert_eq!(code, 0);
        out
    }

    fn to_coefficients(&self, ciphertext: &Ciphertext) -> Ciphertext {
        let out = Ciphertext::new().unwrap();
        // SAFETY: all objects are live and `out` is fresh.
        let code = unsafe {
            Evaluator_TransformFromNTT(self.transforms, ciphertext.get_handle(), out.get_handle())
        };
        assert_eq!(code, 0);
        out
    }
}

impl Drop for SealCalls {
    fn drop(&mut self) {
        // SAFETY: the evaluator is live and not used again.
        unsafe { Evaluator_Destroy(self.transforms) };
    }
}
