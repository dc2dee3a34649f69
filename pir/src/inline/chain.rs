//! Offline work: everything that depends only on the public halves, once per plane and epoch.
//!
//! Horner's rule over the G = 512/f powers of the automorphism τ: X → X^3, from the last to the
//! first, on the `a` halves only:
//!
//! ```text
//! acc ← round(τ(acc)/2^25)·a_key + Σ_b τ^−i(α_{i,b})·a_b
//! ```
//!
//! The first term switches the key from τ(k) back to k: its digit is the accumulator without its
//! low 25 bits. Automorphisms commute with all of this. With A_i = τ^i(acc after step i), only
//! constants are rotated:
//!
//! ```text
//! A_G = 0,   D_i = round(A_{i+1}/2^25),   A_i = D_i·τ^i(a_key) + Σ_b α_{i,b}·τ^i(a_b),   a = A_0
//! ```
//!
//! An automorphism permutes coefficients and flips signs. Therefore τ(round(x)) = round(τ(x)) only
//! if the digit of a negated coefficient is the negated digit. The rounding uses numbers of least
//! magnitude, with halves away from zero. A single digit that differed between tables and public
//! part would destroy 2048 rows, and ties do occur: a ring has 2^20 digits, each of which is a tie
//! with probability 2^-25. All arithmetic is exact integer arithmetic, so all machines compute the
//! same tables and the same public part, whatever their instructions and threads.

use rayon::prelude::*;

use super::diagonals::{Diagonal, Diagonals};
use super::modulus::{Factors, Modulus};
use super::params::{DROPPED_BITS, ENCRYPTIONS, Fold, N, PUBLIC_BITS, rings_of};
use super::rings::{self, BASIS, Q};
use super::table::{BLOCKS, LANES, LINE, PlaneTables, PublicPart, RingTables, WIDTH, WORD};
use super::{InlineError, Poly, PublicElements, scale};
use crate::machine::{Pages, Vectorised, vectorise};
use crate::params::RING_DEGREE;

/// Number of steps whose diagonals are encoded and whose digits are kept before they are written to
/// the tables. After each batch, other work of the pool may run. A batch takes a few milliseconds.
const BATCH: usize = 16;
const _: () = {
    let [.., smallest] = Fold::ALL;
    assert!(smallest.steps().is_multiple_of(BATCH));
};
/// Number of blocks that a task writes together.
const WRITTEN_BLOCKS: usize = 8;

/// A polynomial modulo both primes of q.
type Residues = [Box<Poly>; 2];
/// A step's diagonals, in slots.
type Encoded = [Residues; ENCRYPTIONS];

/// The public elements of an index's epoch, prepared for the chains of its planes.
pub struct Chain {
    key: [Factors; 2],
    encryptions: [[Factors; 2]; ENCRYPTIONS],
}

impl Chain {
    /// Prepares the elements (192 KiB of factors).
    pub fn new(elements: &PublicElements) -> Self {
        let [q0, q1] = Q.each_ref().map(|ntt| ntt.modulus);
        let factors = |[x, y]: &Residues| [Factors::new(q0, x), Factors::new(q1, y)];
        Self {
            key: factors(elements.key()),
            encryptions: elements.encryptions().each_ref().map(factors),
        }
    }

    /// Builds one plane's tables from its words of the hint, 1024 per row, row by row. The plane
    /// has 4096 rows, which are two rings, or 2048, 1024, 512 or 256 rows.
    ///
    /// Runs on the current rayon pool. The chain of a ring runs on one thread; the diagonals and
    /// the writing of tables use all threads. Every few milliseconds other work of the pool, such
    /// as a query, runs first.
    ///
    /// # Errors
    /// The plane has another size, or there is no memory for its tables.
    pub fn tables(&self, plane: &[u32]) -> Result<PlaneTables, InlineError> {
        let rows = plane.len() / RING_DEGREE;
        let (count, fold) = rings_of(rows)
            .filter(|_| plane.len().is_multiple_of(RING_DEGREE))
            .ok_or(InlineError::rows(rows))?;
        let rings = plane.par_chunks_exact(plane.len() / count).map(|words| self.ring(words, fold));
        let rings = rings.collect::<Result<Vec<_>, _>>()?;
        let (rings, sums): (_, Vec<Residues>) = rings.into_iter().unzip();
        let public = PublicPart(sums.iter().map(public_part).collect());
        Ok(PlaneTables { rings, public })
    }

    /// The tables of one ring, and A_0 exactly, in slots.
    fn ring(&self, plane: &[u32], fold: Fold) -> Result<(RingTables, Residues), InlineError> {
        let bytes = fold.table_bytes() / 2;
        let table = || {
            let refused = InlineError::Size { what: "memory", expected: bytes, found: 0 };
            Pages::zeroed(bytes).ok_or(refused)
        };
        let mut tables = [table()?, table()?];
        let diagonals = Diagonals::new(plane, fold);
        let mut sums = [rings::zero(), rings::zero()];
        let mut encoded = encode(&diagonals, fold.steps() - BATCH);
        for first in (0..fold.steps()).step_by(BATCH).rev() {
            let encode_next = || match first.checked_sub(BATCH) {
                Some(next) => encode(&diagonals, next),
                None => Vec::new(),
            };
            let (digits, next) =
                rayon::join(|| self.steps(first, &encoded, &mut sums), encode_next);
            for (prime, table) in tables.iter_mut().enumerate() {
                write(prime, table, first, &digits, &encoded);
            }
            encoded = next;
            rayon::yield_now();
        }
        Ok((RingTables { fold, tables }, sums))
    }

    /// Steps `first..` of a batch, from the last to the first: from A_{i+1} to A_i. Returns the
    /// digits D_i in the order of i.
    fn steps(&self, first: usize, diagonals: &[Encoded], sums: &mut Residues) -> Vec<Residues> {
        let steps = diagonals.iter().enumerate().rev();
        let mut digits: Vec<_> =
            steps.map(|(step, diagonals)| self.step(first + step, diagonals, sums)).collect();
        digits.reverse();
        digits
    }

    fn step(&self, rotation: usize, diagonals: &Encoded, sums: &mut Residues) -> Residues {
        let mut digits = sums.clone();
        for (ntt, x) in Q.iter().zip(&mut digits) {
            ntt.inverse(x);
        }
        vectorise(Digits(&mut digits));
        for (ntt, x) in Q.iter().zip(&mut digits) {
            ntt.forward(x);
        }
        for (prime, sum) in sums.iter_mut().enumerate() {
            let keys = self.key.get(prime).zip(digits.get(prime));
            if let Some((key, digit)) = keys {
                key.times(digit, rotation, sum);
            }
            for (element, diagonal) in self.encryptions.iter().zip(diagonals) {
                if let Some((element, diagonal)) = element.get(prime).zip(diagonal.get(prime)) {
                    element.times_add(diagonal, rotation, sum);
                }
            }
        }
        digits
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

/// The diagonals of a batch of steps, `first..`, in slots modulo q's primes. Runs on the current
/// rayon pool.
fn encode(diagonals: &Diagonals, first: usize) -> Vec<Encoded> {
    let one = |diagonal: &Diagonal| {
        Q.each_ref().map(|ntt| {
            let mut slots = rings::zero();
            vectorise(Reduce { modulus: ntt.modulus, from: diagonal, to: &mut slots });
            ntt.forward(&mut slots);
            slots
        })
    };
    let steps = (first..first + BATCH).into_par_iter();
    steps.map(|step| diagonals.step(step).map(|diagonal| one(&diagonal))).collect()
}

/// Reduces the coefficients of a diagonal modulo a prime.
struct Reduce<'a> {
    modulus: Modulus,
    from: &'a Diagonal,
    to: &'a mut Poly,
}

impl Vectorised for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { modulus, from, to } = self;
        // At least 2^26, so that no sum is negative.
        let raise = u64::from(modulus.value) << 3;
        for (out, x) in to.iter_mut().zip(from) {
            *out = modulus.reduce(raise.wrapping_add_signed(i64::from(*x)));
        }
    }
}

/// Converts coefficients modulo q's primes to their digits, round(a/2^25), modulo the same primes.
struct Digits<'a>(&'a mut Residues);

impl Vectorised for Digits<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [x, y] = self.0;
        let [first, second] = Q.each_ref().map(|ntt| ntt.modulus);
        for (x, y) in x.iter_mut().zip(y.iter_mut()) {
            let digit = digit(BASIS.compose_centred(*x, *y));
            // |digit| <= 2^22, below either prime.
            (*x, *y) = (first.signed(digit), second.signed(digit));
        }
    }
}

/// `value/2^25`, rounded to the nearest, halves away from zero; |value| < 2^47.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "23 bits")]
fn digit(value: i64) -> i32 {
    // −1 for negative numbers: adds half a step minus one, so that the floor of a half goes down.
    let sign = value >> 63;
    ((value + (1 << (DROPPED_BITS - 1)) + sign) >> DROPPED_BITS) as i32
}

/// Writes a batch of steps, `first..`, into the table of one prime.
fn write(
    prime: usize,
    table: &mut Pages,
    first: usize,
    digits: &[Residues],
    diagonals: &[Encoded],
) {
    let block_bytes = table.len() / BLOCKS;
    let steps = digits.iter().zip(diagonals).flat_map(|(digit, diagonals)| {
        let polys = [digit].into_iter().chain(diagonals);
        polys.filter_map(|residues| residues.get(prime))
    });
    let lines: Vec<&Box<Poly>> = steps.collect();
    table.par_chunks_exact_mut(WRITTEN_BLOCKS * block_bytes).enumerate().for_each(
        |(group, blocks)| {
            // Neighbouring blocks of a polynomial are written one after the other, so that memory
            // is read in runs.
            for (line, poly) in (first * WIDTH..).zip(&lines) {
                let words = poly.as_chunks().0.chunks_exact(WRITTEN_BLOCKS).nth(group);
                let blocks = blocks.chunks_exact_mut(block_bytes).zip(words.unwrap_or_default());
                for (block, words) in blocks {
                    if let Some(line) = block.as_chunks_mut().0.get_mut(line) {
                        put(line, words);
                    }
                }
            }
        },
    );
}

/// A line of words.
fn put(line: &mut [u8; LINE], words: &[u32; LANES]) {
    for (bytes, word) in line.as_chunks_mut::<WORD>().0.iter_mut().zip(words) {
        let [low, middle, high, _] = word.to_le_bytes();
        *bytes = [low, middle, high];
    }
}

/// `round(2^18·a/q)` modulo 2^18.
fn public_part(sums: &Residues) -> Box<Poly> {
    let [mut x, mut y] = sums.clone();
    let [q0, q1] = &*Q;
    q0.inverse(&mut x);
    q1.inverse(&mut y);
    for (x, y) in x.iter_mut().zip(y.iter()) {
        *x = scale::<PUBLIC_BITS>(BASIS.compose(*x, *y)) & ((1 << PUBLIC_BITS) - 1);
    }
    x
}

const _: () = assert!(N.is_multiple_of(LANES * WRITTEN_BLOCKS));

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::seed::tests::seed;

    /// A job of the pool, such as a query. It counts its turns and schedules the next.
    fn take_turns(pool: &Arc<rayon::ThreadPool>, turns: &Arc<AtomicUsize>) {
        let (again, count) = (Arc::clone(pool), Arc::clone(turns));
        pool.spawn(move || {
            count.fetch_add(1, Ordering::Relaxed);
            if Arc::strong_count(&count) > 1 {
                take_turns(&again, &count);
            }
        });
    }

    /// On one thread: without yielding, nothing else would run before the tables are complete.
    #[test]
    fn other_work_of_the_pool_takes_turns_with_the_chain() {
        let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
        let chain = Chain::new(&PublicElements::new(&seed(11, 3)));
        let turns = Arc::new(AtomicUsize::new(0));
        let during = pool.install(|| {
            take_turns(&pool, &turns);
            let plane = vec![77; Fold::NONE.rows() * RING_DEGREE];
            chain.tables(&plane).unwrap();
            turns.load(Ordering::Relaxed)
        });
        // One turn for each batch of steps, and for parts of the diagonals.
        assert!(during > Fold::NONE.steps() / BATCH, "{during} turns");
    }

    /// An automorphism moves and negates coefficients, and does the same to the digits, ties
    /// included.
    #[test]
    fn digits_of_a_rotated_polynomial_are_the_rotated_digits() {
        let half = 1i64 << (DROPPED_BITS - 1);
        let number = |i: i64| match i % 3 {
            // Ties of both signs and of odd and even digits, and their neighbours.
            0 => (i - 1024) * 2 * half + half,
            1 => (1024 - i) * 2 * half - half + i % 2,
            _ => i * 123_456_789_123 % (1 << 46),
        };
        let numbers: Vec<i64> = (0..N as i64).map(number).collect();
        let moduli = Q.each_ref().map(|ntt| ntt.modulus);
        let residues = |numbers: &[i64]| {
            moduli.map(|modulus| {
                let residue = |x: &i64| u32::try_from(x.rem_euclid(modulus.value.into())).unwrap();
                Box::new(std::array::from_fn(|i| residue(&numbers[i])))
            })
        };
        let rotated = |numbers: &[i64]| {
            let mut out = vec![0; N];
            for (i, x) in numbers.iter().enumerate() {
                let exponent = 3 * i % (2 * N);
                out[exponent % N] = if exponent < N { *x } else { -x };
            }
            out
        };
        let digits = |numbers: &[i64]| {
            let mut digits: Residues = residues(numbers);
            vectorise(Digits(&mut digits));
            let [x, y] = digits;
            x.iter().zip(y.iter()).map(|(x, y)| BASIS.compose_centred(*x, *y)).collect::<Vec<_>>()
        };
        assert_eq!(digits(&rotated(&numbers)), rotated(&digits(&numbers)));
        let ties = numbers.iter().filter(|x| **x & (2 * half - 1) == half);
        assert!(ties.count() > 600);
    }

    /// Compares with a division, for a number and its negative.
    #[test]
    fn digits_are_the_nearest_and_halves_go_away_from_zero() {
        let step = 1i64 << DROPPED_BITS;
        let top = BASIS.product.cast_signed() / 2;
        let near = |x: i64| (x - 2..=x + 2).collect::<Vec<_>>();
        let halves = (-9..=9).flat_map(|k| near(k * step / 2));
        let ends = [top - 1, top, -top, 1 - top];
        for value in halves.chain(ends) {
            let magnitude = (value.abs() + step / 2) / step;
            assert_eq!(i64::from(digit(value)), magnitude * value.signum(), "{value}");
            assert_eq!(digit(-value), -digit(value));
        }
    }
}
