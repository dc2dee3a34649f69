//! Products of public elements with one secret.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Factor, NTT, Poly, lift, signed_residue};
use crate::params::RING_DEGREE;

/// A secret polynomial, prepared for multiplication by public elements.
///
/// It is zeroized on drop, and `Debug` shows nothing of it.
pub struct Multiplier {
    secret: Factor,
}

impl Multiplier {
    /// Largest magnitude of a secret's coefficient for which products are exact; the module's
    /// documentation proves the bound. A secret of deviation 11 never comes near.
    pub const MAX_COEFFICIENT: i32 = 1 << 17;

    /// Transforms a secret with coefficients of at most [`Self::MAX_COEFFICIENT`] in magnitude.
    pub fn new(secret: &[i32; RING_DEGREE]) -> Self {
        debug_assert!(secret.iter().all(|s| s.unsigned_abs() <= 1 << 17));
        Self { secret: Factor::new(secret.iter().map(|&coefficient| i64::from(coefficient))) }
    }

    /// out = a·secret modulo x^1024 + 1 and 2^32. `out` is as secret as the secret itself.
    pub fn times(&self, a: &Poly, out: &mut Poly) {
        self.times_transformed(&Transformed::new(a), out);
    }

    /// Like [`times`](Self::times), for an element that is multiplied by several secrets.
    pub fn times_transformed(&self, a: &Transformed, out: &mut Poly) {
        let mut product = [0; RING_DEGREE];
        self.secret.multiply_add(&a.values, &mut product);
        NTT.inverse(&mut product);
        for (out, residue) in out.iter_mut().zip(&product) {
            *out = signed_residue(*residue);
        }
        product.zeroize();
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl ZeroizeOnDrop for Multiplier {}

impl fmt::Debug for Multiplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Multiplier(..)")
    }
}

/// A public ring element, prepared for products.
pub struct Transformed {
    /// Below 4p.
    values: Box<[u64; RING_DEGREE]>,
}

impl Transformed {
    /// Transforms an element. Its coefficients count as numbers from −2^31 to 2^31 − 1.
    pub fn new(a: &Poly) -> Self {
        let mut values = Box::new([0; RING_DEGREE]);
        for (value, coefficient) in values.iter_mut().zip(a) {
            *value = lift(i64::from(coefficient.cast_signed()));
        }
        NTT.forward(&mut values);
        Self { values }
    }
}
