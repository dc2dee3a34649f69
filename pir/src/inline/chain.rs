//! Offline: everything that the public halves decide, once per plane and epoch.
//!
//! Horner's rule over the G = 1024/(f·B) giant steps, from the last to the first, on the `a` halves alone:
//!
//! ```text
//! acc ← KS(rot_B(acc)) + Σ_b diag'_{g,b} ⊙ a_b        diag'_{g,b}: diagonal Bg + b rotated right by Bg
//! ```
//!
//! The key switch KS multiplies its digit x (the whole residue modulo q, lifted to numbers of least
//! magnitude modulo qP) with the key and divides by P with rounding. Rotations are automorphisms, which
//! commute with all of it, so with A_g = rot_{Bg}(acc after step g) nothing but constants is rotated:
//!
//! ```text
//! A_G = 0,   A_g = ⌊A_{g+1}·rot_{Bg}(a_key)/P⌉ + Σ_b diag_{Bg+b} ⊙ rot_{Bg}(a_b)
//! D_g = A_{g+1} modulo all four primes,   E_{g,b} = P·diag_{Bg+b} modulo q's,   a = A_0
//! ```
//!
//! Rotating numbers of least magnitude permutes them and flips signs; the moduli are odd, so lifting
//! and rounding have no ties that a sign could decide. Everything is exact integer arithmetic: all machines
//! make the same tables and the same public part, whatever their instructions and threads.

use rayon::prelude::*;

use super::diagonals;
use super::modulus::{Factor, Factors, Modulus};
use super::params::{ANSWER_BITS, N, Variant};
use super::rings::{self, Q, Q_BASIS, SPECIAL, SPECIAL_BASIS};
use super::table::{BLOCKS, LANES, LINE, PlaneTables, PublicPart, width};
use super::{InlineError, Poly, PublicElements, scale};
use crate::geometry::Fold;
use crate::hint::PLANE_WORDS;
use crate::scan::pages::Pages;
use crate::vector::{Vectorised, vectorise};

/// Diagonals that are encoded, and steps' digits that are kept, before they are written to the tables:
/// all that the most folded plane has.
const BATCH: usize = 64;
const _: () = {
    // Powers of two all of them, so that the others are whole batches too.
    let [.., smallest] = Fold::ALL;
    assert!(smallest.diagonals().is_multiple_of(BATCH));
};
/// Blocks that a task writes side by side.
const WRITTEN_BLOCKS: usize = 8;

/// The public elements of an index's epoch, ready for the chains of its planes.
pub struct Chain {
    variant: Variant,
    /// Of the key, modulo q's primes, then P's.
    key: [Factors; 4],
    /// `[b]`, modulo q's primes.
    encryptions: Vec<[Factors; 2]>,
}

impl Chain {
    /// Prepares the elements (1 MiB of factors).
    pub fn new(elements: &PublicElements) -> Self {
        let [q0, q1, p0, p1] = rings::all().map(|ntt| ntt.modulus);
        let [k0, k1, k2, k3] = &elements.key;
        let pair = |[x, y]: &[Box<Poly>; 2]| [Factors::new(q0, x), Factors::new(q1, y)];
        Self {
            variant: elements.variant,
            key: [
                Factors::new(q0, k0),
                Factors::new(q1, k1),
                Factors::new(p0, k2),
                Factors::new(p1, k3),
            ],
            encryptions: elements.encryptions.iter().map(pair).collect(),
        }
    }

    /// Makes one plane's tables from its words of the hint, 1024 a row, row by row. Their number says how
    /// the plane is folded: 4096 rows, or 2048, 1024, 512 or 256.
    ///
    /// Runs on the current rayon pool: the chain itself is one thread's work, the encoding of the
    /// diagonals and the writing of the tables are everyone's.
    ///
    /// # Errors
    /// A plane of another size.
    pub fn tables(&self, plane: &[u32]) -> Result<PlaneTables, InlineError> {
        self.run(plane).map(|(tables, _)| tables)
    }

    /// The tables, and A_0 exactly, in slots.
    pub(super) fn run(&self, plane: &[u32]) -> Result<(PlaneTables, [Box<Poly>; 2]), InlineError> {
        let fold = Fold::of_words(plane.len()).ok_or(InlineError::Size {
            what: "words of a plane",
            expected: PLANE_WORDS,
            found: plane.len(),
        })?;
        let (giant, baby) = (self.variant.giant_steps(fold), self.variant.baby_steps());
        let mut tables = Vec::with_capacity(4);
        for prime in 0..4 {
            let bytes = giant * width(self.variant, prime) * N / LANES * LINE;
            let refused = InlineError::Size { what: "memory", expected: bytes, found: 0 };
            tables.push(Pages::zeroed(bytes).ok_or(refused)?);
        }
        let steps = BATCH / baby;
        let mut sums = [rings::zero(), rings::zero()];
        let mut encoded = diagonals::encode(plane, fold, (giant - steps) * baby, BATCH);
        for first in (0..giant).step_by(steps).rev() {
            let encode_next = || match first.checked_sub(steps) {
                Some(next) => diagonals::encode(plane, fold, next * baby, BATCH),
                None => Vec::new(),
            };
            let (digits, next) =
                rayon::join(|| self.giant_steps(first, &encoded, &mut sums), encode_next);
            for (prime, table) in tables.iter_mut().enumerate() {
                write(self.variant, prime, table, first, &digits, &encoded);
            }
            encoded = next;
        }
        let public = PublicPart(public_part(&sums));
        // Four were pushed.
        let tables = tables.try_into().map_err(|tables: Vec<Pages>| InlineError::Size {
            what: "tables",
            expected: 4,
            found: tables.len(),
        })?;
        Ok((PlaneTables { variant: self.variant, fold, tables, public }, sums))
    }

    /// Steps `first..` of a batch, from the last down: from A_{g+1} to A_g, and the digits D_g in the
    /// order of g.
    fn giant_steps(
        &self,
        first: usize,
        diagonals: &[[Box<Poly>; 2]],
        sums: &mut [Box<Poly>; 2],
    ) -> Vec<[Box<Poly>; 4]> {
        let baby = self.variant.baby_steps();
        let mut digits = Vec::with_capacity(diagonals.len() / baby);
        for (step, diagonals) in diagonals.chunks_exact(baby).enumerate().rev() {
            digits.push(self.giant_step((first + step) * baby, diagonals, sums));
        }
        digits.reverse();
        digits
    }

    fn giant_step(
        &self,
        rotation: usize,
        diagonals: &[[Box<Poly>; 2]],
        sums: &mut [Box<Poly>; 2],
    ) -> [Box<Poly>; 4] {
        let ([q0, q1], [p0, p1]) = (&*Q, &*SPECIAL);
        let [key_q0, key_q1, key_p0, key_p1] = &self.key;
        // The digit modulo P's primes.
        let [mut x0, mut x1] = sums.clone();
        q0.inverse(&mut x0);
        q1.inverse(&mut x1);
        let (mut y0, mut y1) = (rings::zero(), rings::zero());
        Q_BASIS.lift([&x0, &x1], [p0.modulus, p1.modulus], [&mut y0, &mut y1]);
        p0.forward(&mut y0);
        p1.forward(&mut y1);
        // What the division by P must take off.
        let (mut low0, mut low1) = (rings::zero(), rings::zero());
        key_p0.times(&y0, rotation, &mut low0);
        key_p1.times(&y1, rotation, &mut low1);
        p0.inverse(&mut low0);
        p1.inverse(&mut low1);
        SPECIAL_BASIS.lift([&low0, &low1], [q0.modulus, q1.modulus], [&mut x0, &mut x1]);
        q0.forward(&mut x0);
        q1.forward(&mut x1);
        let [sum0, sum1] = sums;
        let digit = [sum0.clone(), sum1.clone(), y0, y1];
        key_q0.times(&digit[0], rotation, sum0);
        key_q1.times(&digit[1], rotation, sum1);
        divide_by_special(q0.modulus, sum0, &x0);
        divide_by_special(q1.modulus, sum1, &x1);
        for ([d0, d1], [a0, a1]) in diagonals.iter().zip(&self.encryptions) {
            a0.times_add(d0, rotation, sum0);
            a1.times_add(d1, rotation, sum1);
        }
        digit
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("variant", &self.variant).finish_non_exhaustive()
    }
}

/// `values ← (values − low)/P` modulo one of q's primes, where low ≡ values modulo P.
pub(super) fn divide_by_special(modulus: Modulus, values: &mut Poly, low: &Poly) {
    let inverse = modulus.factor(modulus.inverse(modulus.reduce(SPECIAL_BASIS.product)));
    vectorise(Divide { modulus, inverse, values, low });
}

struct Divide<'a> {
    modulus: Modulus,
    inverse: Factor,
    values: &'a mut Poly,
    low: &'a Poly,
}

impl Vectorised for Divide<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { modulus, inverse, values, low } = self;
        for (value, low) in values.iter_mut().zip(low) {
            *value = inverse.times(modulus.subtract(*value, *low), modulus);
        }
    }
}

/// Writes a batch of giant steps, `first..`, into the table of one prime.
fn write(
    variant: Variant,
    prime: usize,
    table: &mut Pages,
    first: usize,
    digits: &[[Box<Poly>; 4]],
    diagonals: &[[Box<Poly>; 2]],
) {
    let Some(modulus) = rings::all().get(prime).map(|ntt| ntt.modulus) else { return };
    let special = modulus.factor(modulus.reduce(SPECIAL_BASIS.product));
    let one = modulus.factor(1);
    let (width, baby) = (width(variant, prime), variant.baby_steps());
    let block_bytes = table.len() / BLOCKS;
    let steps = digits.iter().zip(diagonals.chunks_exact(baby)).flat_map(|(digit, diagonals)| {
        let digit = digit.get(prime).into_iter().map(|poly| (poly, one));
        let diagonals = diagonals.iter().filter_map(|residues| residues.get(prime));
        digit.chain(diagonals.map(|poly| (poly, special)))
    });
    let lines: Vec<(&Box<Poly>, Factor)> = steps.collect();
    table.par_chunks_exact_mut(WRITTEN_BLOCKS * block_bytes).enumerate().for_each(
        |(group, blocks)| {
            // A polynomial's neighbouring blocks one after the other: memory is read in runs.
            for (line, (poly, factor)) in (first * width..).zip(&lines) {
                let words = poly.as_chunks().0.chunks_exact(WRITTEN_BLOCKS).nth(group);
                let blocks = blocks.chunks_exact_mut(block_bytes).zip(words.unwrap_or_default());
                for (block, words) in blocks {
                    if let Some(line) = block.as_chunks_mut().0.get_mut(line) {
                        put(line, *words, *factor, modulus);
                    }
                }
            }
        },
    );
}

/// A line of words times a factor.
fn put(line: &mut [u8; LINE], words: [u32; LANES], factor: Factor, modulus: Modulus) {
    for (bytes, word) in line.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = factor.times(word, modulus).to_le_bytes();
    }
}

/// `round(2^29·(−a)/q)`: what an answer needs beside its b half, −b rounded likewise.
fn public_part(sums: &[Box<Poly>; 2]) -> Box<Poly> {
    let [q0, q1] = &*Q;
    let [mut x, mut y] = sums.clone();
    q0.inverse(&mut x);
    q1.inverse(&mut y);
    for (x, y) in x.iter_mut().zip(y.iter()) {
        let scaled = scale::<ANSWER_BITS>(Q_BASIS.compose(*x, *y));
        *x = scaled.wrapping_neg() & ((1 << ANSWER_BITS) - 1);
    }
    x
}
