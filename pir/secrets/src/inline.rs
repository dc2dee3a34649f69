//! The client's half of inline keys: a fresh secret for each lookup, encryption and decryption. The
//! scheme is described in [`opaque_pir::inline`] and in docs/ENGINE.md §7.
//!
//! Let `k` be ternary and `e` rounded Gaussian errors, all fresh for every lookup, and τ the
//! automorphism X → X^3:
//!
//! ```text
//! key   = 2^25·τ(k) − a_key·k + e                          modulo q
//! Enc_0 = round(q/2^27·s(X²)) − a_0·k + e_0,   Enc_1 = round(q/2^27·s(X^−2)) − a_1·k + e_1
//! ```
//!
//! Constant time: sampling compares with every entry of a table, arithmetic neither branches nor
//! divides, and indices are public.

#[cfg(test)]
mod noise;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests;

use std::fmt;

use opaque_pir::bits::pack;
use opaque_pir::inline::arithmetic::{
    BASIS, DIAGONAL_BITS, DROPPED_BITS, Factor, Modulus, Ntt, Q, Q_BITS, unpack,
};
use opaque_pir::inline::{
    InlineError, N, PUBLIC_BITS, Poly, PublicElements, PublicPart, Q_PRIMES, QUERY_BYTES, rings_of,
};
use opaque_pir::params::RING_DEGREE;
use rand::TryCryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::sampling::{Distribution, RING_ERRORS, Stream, Ternary};

const HALF: usize = N / 2;
/// The stream of the key. Errors use small lane numbers.
const KEY_LANE: u32 = u32::MAX;
/// 2^25 modulo each prime of q, computed at compile time, because creating a factor needs a
/// division.
const DROPPED: [Factor; 2] = {
    let [first, second] = [Modulus::new(Q_PRIMES[0]), Modulus::new(Q_PRIMES[1])];
    [first.factor(first.reduce(1 << DROPPED_BITS)), second.factor(second.reduce(1 << DROPPED_BITS))]
};
/// Upper limit of a coefficient's magnitude in a scan's secret, whose distribution ends at 102.
const MAX_SECRET: u32 = 1 << 9;

/// A polynomial that is cleared on drop. It is boxed, so that a move leaves no copy behind.
type SecretPoly = Box<Zeroizing<Poly>>;
/// A polynomial with signed coefficients, also cleared on drop and boxed.
type SecretInts = Box<Zeroizing<[i32; N]>>;

fn zero() -> SecretPoly {
    Box::new(Zeroizing::new([0; N]))
}

fn ints() -> SecretInts {
    Box::new(Zeroizing::new([0; N]))
}

/// The randomness of one lookup. Its key and all its errors are derived from these bytes.
///
/// A seed is used once: [`encrypt`] consumes it. It cannot be printed, compared or cloned, and it
/// is cleared on drop.
pub struct Seed(Box<Zeroizing<[u8; 32]>>);

impl Seed {
    /// Draws a seed. Treat the generator's state as secret: it determines the seed.
    ///
    /// # Errors
    /// The generator's errors.
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

/// Decrypts the answer to one lookup, plane by plane. It holds the lookup's secret `k` and is
/// cleared on drop.
pub struct LookupKey {
    /// The key in slots, modulo q's primes.
    key: [SecretPoly; 2],
}

/// Encrypts the secret of one lookup's scan. Returns [`QUERY_BYTES`] bytes to send and the key that
/// decrypts the answer.
///
/// # Errors
/// A coefficient of `s` exceeds 512 in magnitude. Those of the scan's secrets are at most 102.
pub fn encrypt(
    elements: &PublicElements,
    seed: Seed,
    s: &[i32; RING_DEGREE],
) -> Result<(Vec<u8>, LookupKey), InlineError> {
    if s.iter().any(|coefficient| coefficient.unsigned_abs() > MAX_SECRET) {
        return Err(InlineError::Range { what: "secret of the scan" });
    }
    let Seed(seed) = seed;
    let mut ternary = ints();
    draw(&seed, KEY_LANE, &Ternary, &mut ternary);
    let key = Q.each_ref().map(|ntt| slots_of(ntt, &ternary));

    let mut bytes = Vec::with_capacity(QUERY_BYTES);
    let mut error = ints();
    draw(&seed, 0, &RING_ERRORS, &mut error);
    for (((ntt, key), a), dropped) in Q.iter().zip(&key).zip(elements.key()).zip(DROPPED) {
        let m = ntt.modulus;
        let mut b = slots_of(ntt, &error);
        for (b, half) in b.chunks_exact_mut(HALF).zip(key.chunks_exact(HALF)) {
            // τ moves every slot to the next position of its half.
            for (b, rotated) in b.iter_mut().zip(half.iter().cycle().skip(1)) {
                *b = m.add(*b, dropped.times(*rotated, m));
            }
        }
        subtract_product(m, a, key, &mut b);
        pack(b.iter().copied(), Q_BITS, &mut bytes);
    }
    for ((lane, inverted), a) in (1..).zip([false, true]).zip(elements.encryptions()) {
        draw(&seed, lane, &RING_ERRORS, &mut error);
        add_message(s, inverted, &mut error);
        for ((ntt, key), a) in Q.iter().zip(&key).zip(a) {
            let mut b = slots_of(ntt, &error);
            subtract_product(ntt.modulus, a, key, &mut b);
            pack(b.iter().copied(), Q_BITS, &mut bytes);
        }
    }
    Ok((bytes, LookupKey { key }))
}

fn draw(seed: &[u8; 32], lane: u32, distribution: &impl Distribution, values: &mut [i32; N]) {
    Stream::new(seed, lane).fill(distribution, values, |value, sample| *value = sample);
}

/// Adds `round(q/2^27·s(Y))` to `values`, with Y = X², or the same for s(Y^−1).
fn add_message(s: &[i32; RING_DEGREE], inverted: bool, values: &mut [i32; N]) {
    // Y^−i = −Y^(1024−i); i = 0 is its own inverse.
    let (first, rest) = s.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
    let mut places = values.iter_mut().step_by(2);
    if let Some(value) = places.next() {
        *value += message(first);
    }
    if inverted {
        places.zip(rest.iter().rev()).for_each(|(value, s)| *value += message(-s));
    } else {
        places.zip(rest).for_each(|(value, s)| *value += message(*s));
    }
}

/// `round(q·x/2^27)` for |x| <= 512: q·x is below 2^57, the quotient below 2^30.
#[expect(clippy::cast_possible_truncation, reason = "below 2^30")]
fn message(x: i32) -> i32 {
    const Q: i64 = BASIS.product.cast_signed();
    ((Q * i64::from(x) + (1 << (DIAGONAL_BITS - 1))) >> DIAGONAL_BITS) as i32
}

impl LookupKey {
    /// Decrypts the rows of one plane of an answer to the table's bytes, `rows` of them. `answer`
    /// has `row_bits` of each sum of scan minus product ([`answer`](opaque_pir::inline::answer)).
    ///
    /// An answer for another key or public part decrypts to noise, which cannot be detected here.
    /// The bytes reveal the bucket, so they are cleared on drop.
    ///
    /// # Errors
    /// The size does not match the rows, or the public part belongs to another plane.
    pub fn open(
        &self,
        public: &PublicPart,
        answer: &[u8],
        row_bits: u32,
        rows: usize,
    ) -> Result<Zeroizing<Vec<u8>>, InlineError> {
        let phase = self.phase(public, answer, row_bits, rows)?;
        let mut rows = Zeroizing::new(vec![0; rows]);
        for (row, value) in rows.iter_mut().zip(phase.iter()) {
            // Rounds to the nearest of 256 steps. A value near 2^18 rounds to 256, which is 0.
            let nearest = value.wrapping_add(1 << (PUBLIC_BITS - 9)) >> (PUBLIC_BITS - 8);
            [*row, ..] = nearest.to_le_bytes();
        }
        Ok(rows)
    }

    /// `answer − a·k` modulo 2^18, row by row: 2^10 times a byte, plus noise.
    fn phase(
        &self,
        public: &PublicPart,
        answer: &[u8],
        row_bits: u32,
        rows: usize,
    ) -> Result<Zeroizing<Vec<u32>>, InlineError> {
        let (rings, fold) = rings_of(rows).ok_or(InlineError::rows(rows))?;
        InlineError::check_size("rings of a public part", rings, public.polynomials().len())?;
        let mut phase = Zeroizing::new(vec![0; rows]);
        unpack("answer", answer, row_bits, 1 << row_bits, &mut phase)?;
        for (public, rows) in public.polynomials().iter().zip(phase.chunks_exact_mut(fold.rows())) {
            let [first, second] = self.times(public);
            for (number, row) in rows.iter_mut().enumerate() {
                let place = fold.coefficient_of(number);
                if let Some((x, y)) = first.get(place).zip(second.get(place)) {
                    // The low bits of a number are its value modulo 2^18, whatever its sign.
                    #[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
                    let product = BASIS.compose_centred(*x, *y) as u32;
                    let scaled = *row << (PUBLIC_BITS - row_bits);
                    *row = scaled.wrapping_sub(product) & ((1 << PUBLIC_BITS) - 1);
                }
            }
        }
        Ok(phase)
    }

    /// `a·k` modulo q's primes, where the coefficients of a count as numbers from −2^17 to 2^17 −
    /// 1: the product stays below 2^28.
    fn times(&self, public: &Poly) -> [SecretPoly; 2] {
        const UNUSED: u32 = u32::BITS - PUBLIC_BITS;
        let mut product = [zero(), zero()];
        for ((ntt, key), product) in Q.iter().zip(&self.key).zip(&mut product) {
            let m = ntt.modulus;
            for (x, a) in product.iter_mut().zip(public) {
                *x = m.signed((a << UNUSED).cast_signed() >> UNUSED);
            }
            ntt.forward(product);
            for (x, k) in product.iter_mut().zip(key.iter()) {
                *x = m.multiply(*x, *k);
            }
            ntt.inverse(product);
        }
        product
    }
}

impl fmt::Debug for LookupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupKey([redacted])")
    }
}

/// Its parts are [`Zeroizing`].
impl ZeroizeOnDrop for LookupKey {}

/// Converts small numbers, below 2^30 in magnitude, to a polynomial modulo a prime, in slots.
fn slots_of(ntt: &Ntt, small: &[i32; N]) -> SecretPoly {
    let mut slots = zero();
    // A multiple of the prime that is large enough to make every sum nonnegative.
    let raise = u64::from(ntt.modulus.value) << 7;
    for (slot, x) in slots.iter_mut().zip(small) {
        *slot = ntt.modulus.reduce(raise.wrapping_add_signed(i64::from(*x)));
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
