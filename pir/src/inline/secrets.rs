//! The client's half: a fresh secret for each lookup, what is made from it, and decryption. Only
//! `opaque-client` turns the feature `secrets` on; no server can hold a [`LookupKey`] (ADR 010).
//!
//! With a ternary `k` and rounded Gaussian errors `e`, all fresh for every lookup (slots written as
//! polynomials, rot as the automorphism X → X^(3^B)):
//!
//! ```text
//! key   = P·rot_B(k) − a_key·k + e         modulo q and P
//! Enc_b = round(q/t·encode(rot_b(s))) − a_b·k + e_b   modulo q,       b = 0..B−1
//! ```
//!
//! Constant time: sampling compares with every entry of a table, arithmetic neither branches nor
//! divides, and indices are public.

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use std::fmt;

use rand::TryCryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::bits::{pack, unpack};
use super::modulus::Modulus;
use super::ntt::Ntt;
use super::params::{ANSWER_BITS, N, Q_BITS, SPECIAL_BITS};
use super::rings::{self, PLAINTEXT, Q, Q_BASIS, SPECIAL_BASIS};
use super::{InlineError, Poly, PublicElements, PublicPart};
use crate::geometry::Fold;
use crate::params::{PLAINTEXT_MODULUS, RING_DEGREE};
use crate::sampling::{Distribution, RING_ERRORS, Stream, Ternary};

const HALF: usize = N / 2;
const T: u32 = PLAINTEXT_MODULUS;
/// The stream of the key; errors have small numbers.
const KEY_LANE: u32 = u32::MAX;

/// A polynomial that is cleared on drop, boxed so that moving it leaves no copy behind.
type SecretPoly = Box<Zeroizing<Poly>>;

fn zero() -> SecretPoly {
    Box::new(Zeroizing::new([0; N]))
}

/// The randomness of one lookup: its key and all of its errors follow from these bytes.
///
/// Used once: [`encrypt`] consumes it. Neither printed, compared nor cloned; cleared on drop.
pub struct Seed(Box<Zeroizing<[u8; 32]>>);

impl Seed {
    /// Draws a seed. Whatever `rng` is, what it keeps of its state is as secret as the seed.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn draw<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut seed = Self(Box::new(Zeroizing::new([0; 32])));
        rng.try_fill_bytes(seed.0.as_mut_slice())?;
        Ok(seed)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed([redacted])")
    }
}

/// Opens the answer to one lookup, plane by plane. Holds its secret `k`, cleared on drop.
pub struct LookupKey {
    /// In slots, modulo q's primes.
    key: [SecretPoly; 2],
}

/// Encrypts the secret of one lookup's scan: [`query_bytes`](super::Variant::query_bytes) bytes to
/// send, and what opens the answer.
///
/// # Errors
/// A coefficient of `s` outside ±t/2, of which the scan's secrets are far.
pub fn encrypt(
    elements: &PublicElements,
    seed: Seed,
    s: &[i32; RING_DEGREE],
) -> Result<(Vec<u8>, LookupKey), InlineError> {
    if s.iter().any(|coefficient| coefficient.unsigned_abs() > T / 2) {
        return Err(InlineError::Range { what: "secret of the scan" });
    }
    let Seed(seed) = seed;
    let (rings, step) = (rings::all(), elements.variant.baby_steps());
    let mut ternary = Box::new(Zeroizing::new([0i32; N]));
    draw(&seed, KEY_LANE, &Ternary, &mut ternary);
    let key = rings.map(|ntt| slots_of(ntt, &ternary));

    let mut bytes = Vec::with_capacity(elements.variant.query_bytes());
    let mut error = Box::new(Zeroizing::new([0i32; N]));
    draw(&seed, 0, &RING_ERRORS, &mut error);
    let widths = [Q_BITS, Q_BITS, SPECIAL_BITS, SPECIAL_BITS];
    for (((ntt, key), a), width) in rings.iter().zip(&key).zip(&elements.key).zip(widths) {
        let m = ntt.modulus;
        let mut b = slots_of(ntt, &error);
        // P is 0 modulo its own primes.
        let special = m.factor(m.reduce(SPECIAL_BASIS.product));
        for (b, half) in b.chunks_exact_mut(HALF).zip(key.chunks_exact(HALF)) {
            for (b, rotated) in b.iter_mut().zip(half.iter().cycle().skip(step)) {
                *b = m.add(*b, special.times(*rotated, m));
            }
        }
        subtract_product(m, a, key, &mut b);
        pack(&b, width, &mut bytes);
    }
    for ((rotation, polynomial), a) in (0..).zip(1..).zip(&elements.encryptions) {
        let message = encode(s, rotation);
        draw(&seed, polynomial, &RING_ERRORS, &mut error);
        for ((ntt, key), a) in Q.iter().zip(&key).zip(a) {
            let m = ntt.modulus;
            let mut b = zero();
            scale_up(m, &message, &error, &mut b);
            ntt.forward(&mut b);
            subtract_product(m, a, key, &mut b);
            pack(&b, Q_BITS, &mut bytes);
        }
    }
    let [q0, q1, ..] = key;
    Ok((bytes, LookupKey { key: [q0, q1] }))
}

fn draw(seed: &[u8; 32], lane: u32, distribution: &impl Distribution, values: &mut [i32; N]) {
    Stream::new(seed, lane).fill(distribution, values, |value, sample| *value = sample);
}

impl LookupKey {
    /// Opens one plane's share of an answer: `c'[r] − (H'·s)[r]` modulo t for each of its rows, as many
    /// as `fold` (of the index's geometry) says.
    ///
    /// Made with another key or public part, an answer opens to noise; nothing in it tells. What comes
    /// out gives bytes of the table away, and with them the bucket, so it is cleared on drop.
    ///
    /// # Errors
    /// Another size than [`PLANE_BYTES`](super::PLANE_BYTES).
    pub fn open(
        &self,
        public: &PublicPart,
        answer: &[u8],
        fold: Fold,
    ) -> Result<Zeroizing<Vec<u32>>, InlineError> {
        let slots = self.slots(public, answer)?;
        let mut rows = Zeroizing::new(vec![0; fold.rows()]);
        let (t, diagonals) = (PLAINTEXT.modulus, fold.diagonals());
        let blocks = slots.chunks_exact(RING_DEGREE);
        for (rows, slots) in rows.chunks_exact_mut(diagonals).zip(blocks) {
            // Each is exact, and so is their sum modulo t.
            for slots in slots.chunks_exact(diagonals) {
                for (sum, slot) in rows.iter_mut().zip(slots) {
                    *sum = t.add(*sum, *slot);
                }
            }
        }
        Ok(rows)
    }

    /// The plaintext's slots modulo t.
    fn slots(&self, public: &PublicPart, answer: &[u8]) -> Result<SecretPoly, InlineError> {
        let mut values = self.phase(public, answer)?;
        let t = PLAINTEXT.modulus;
        for value in values.iter_mut() {
            let scaled = u64::from(*value) * u64::from(T) + (1 << (ANSWER_BITS - 1));
            // A value near 2^29 rounds to t, which is 0.
            *value = t.reduce(scaled >> ANSWER_BITS);
        }
        PLAINTEXT.forward(&mut values);
        Ok(values)
    }

    /// `b + a·k` modulo 2^29: 2^29/t times the coefficients of the plaintext, plus noise.
    ///
    /// The product is taken modulo q: with a below 2^29 and |k| at most 1, it stays below 2^41.
    fn phase(&self, public: &PublicPart, answer: &[u8]) -> Result<SecretPoly, InlineError> {
        let b = unpack("answer", answer, ANSWER_BITS, 1 << ANSWER_BITS)?;
        let mut product = [zero(), zero()];
        for ((ntt, key), product) in Q.iter().zip(&self.key).zip(&mut product) {
            let m = ntt.modulus;
            for (x, a) in product.iter_mut().zip(public.0.iter()) {
                *x = m.reduce(u64::from(*a));
            }
            ntt.forward(product);
            for (x, k) in product.iter_mut().zip(key.iter()) {
                *x = m.multiply(*x, *k);
            }
            ntt.inverse(product);
        }
        let [mut phase, second] = product;
        for ((x, y), b) in phase.iter_mut().zip(second.iter()).zip(b.iter()) {
            let product = Q_BASIS.compose_centred(*x, *y);
            // The low bits of a number count modulo 2^29, whatever its sign.
            #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
            let product = product as u32;
            *x = product.wrapping_add(*b) & ((1 << ANSWER_BITS) - 1);
        }
        Ok(phase)
    }
}

impl fmt::Debug for LookupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupKey([redacted])")
    }
}

/// Its parts are [`Zeroizing`].
impl ZeroizeOnDrop for LookupKey {}

/// Small numbers as a polynomial modulo a prime, in slots.
fn slots_of(ntt: &Ntt, small: &[i32; N]) -> SecretPoly {
    let mut slots = zero();
    for (slot, x) in slots.iter_mut().zip(small) {
        *slot = ntt.modulus.signed(*x);
    }
    ntt.forward(&mut slots);
    slots
}

/// `b −= a·k`.
fn subtract_product(m: Modulus, a: &Poly, k: &Poly, b: &mut Poly) {
    for ((b, a), k) in b.iter_mut().zip(a).zip(k) {
        *b = m.subtract(*b, m.multiply(*a, *k));
    }
}

/// The polynomial modulo t with `s[(j + rotation) mod 1024]` in slot j of either half.
fn encode(s: &[i32; RING_DEGREE], rotation: usize) -> SecretPoly {
    let mut slots = zero();
    for (slot, s) in slots.iter_mut().zip(s.iter().cycle().skip(rotation)) {
        *slot = PLAINTEXT.modulus.signed(*s);
    }
    PLAINTEXT.inverse(&mut slots);
    slots
}

/// `round(q·x/t) + e` modulo one of q's primes.
///
/// With `r = (q·x + ⌊t/2⌋) mod t` the rounded quotient is `(q·x + ⌊t/2⌋ − r)/t`, and q·x is 0 modulo the
/// prime.
fn scale_up(m: Modulus, message: &Poly, error: &[i32; N], out: &mut Poly) {
    let t = PLAINTEXT.modulus;
    let (q, half) = (t.factor(t.reduce(Q_BASIS.product)), T / 2);
    let inverse = m.factor(m.inverse(T));
    for ((out, x), e) in out.iter_mut().zip(message).zip(error) {
        let r = t.add(q.times(*x, t), half);
        let quotient = inverse.times(m.subtract(half, r), m);
        *out = m.add(quotient, m.signed(*e));
    }
}
