//! Online: one plane's tables times the b halves of several queries.
//!
//! ```text
//! b = ⌊ Σ_g rot_{Bg}(key)·D_g / P ⌉ + Σ_g Σ_b rot_{Bg}(Enc_b)·E_{g,b} / P
//! ```
//!
//! The E carry a factor P, so one division serves the whole sum: `E·…` is 0 modulo P and drops out of
//! the remainder. What is left is linear in the queries, reads every word of the tables once, whatever
//! a query holds, and never branches on one.

use rayon::prelude::*;

use super::chain::divide_by_special;
use super::kernel::{Code, HALF, Operand, Pair};
use super::modulus::Modulus;
use super::params::{ANSWER_BITS, N, PLANE_BYTES, Variant};
use super::rings::{self, PLAINTEXT, Q, Q_BASIS, SPECIAL, SPECIAL_BASIS};
use super::table::{BLOCKS, LANES, PlaneTables};
use super::{InlineError, InlineQuery, Poly, bits, scale};
use crate::codec::switch_modulus;
use crate::geometry::Fold;
use crate::params::{PLAINTEXT_MODULUS, RING_DEGREE};
use crate::vector::Kernel;

/// Queries that share a pass over the tables; more take several passes.
pub const MAX_PASS: usize = 8;
/// Blocks of a task: pairs, which do not cross from one half of slots to the other.
const TASK_BLOCKS: usize = 4;
const _: () = assert!(TASK_BLOCKS.is_multiple_of(2) && (HALF / LANES).is_multiple_of(TASK_BLOCKS));

/// One plane's product for one lookup: the b half of `Enc(H'·s)`, `round(2^32·b/q)` modulo 2^32 for each
/// coefficient. What a shard hands its coordinator, as words that add up like a scan's.
#[derive(Clone, PartialEq, Eq)]
pub struct PlaneProduct(Box<Poly>);

impl PlaneProduct {
    /// The 4096 words, coefficient by coefficient.
    pub fn words(&self) -> &Poly {
        &self.0
    }

    /// The product with these words, as read from the wire. Any words are some product.
    ///
    /// # Errors
    /// When they are not 4096.
    pub fn from_words(words: &[u32]) -> Result<Self, InlineError> {
        InlineError::check_size("words of a product", N, words.len())?;
        let mut product = rings::zero();
        product.copy_from_slice(words);
        Ok(Self(product))
    }
}

impl std::fmt::Debug for PlaneProduct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PlaneProduct(..)")
    }
}

/// Multiplies one plane with several queries, up to [`MAX_PASS`] in a pass over its tables: one product for
/// each, in their order. Runs on the current rayon pool; the result depends neither on kernel,
/// grouping nor number of threads.
///
/// # Errors
/// A query of another variant than the tables', or a kernel that this machine does not run.
pub fn multiply(
    kernel: Kernel,
    tables: &PlaneTables,
    queries: &[&InlineQuery],
) -> Result<Vec<PlaneProduct>, InlineError> {
    let product = |[mut x, y]: [Box<Poly>; 2]| {
        for (x, y) in x.iter_mut().zip(y.iter()) {
            *x = scale::<32>(Q_BASIS.compose(*x, *y));
        }
        PlaneProduct(x)
    };
    Ok(multiply_exactly(kernel, tables, queries)?.into_par_iter().map(product).collect())
}

/// The b halves modulo q's primes, in coefficients.
pub(super) fn multiply_exactly(
    kernel: Kernel,
    tables: &PlaneTables,
    queries: &[&InlineQuery],
) -> Result<Vec<[Box<Poly>; 2]>, InlineError> {
    for query in queries {
        if query.variant != tables.variant {
            let (expected, found) = (tables.variant.name(), query.variant.name());
            return Err(InlineError::Variant { expected, found });
        }
    }
    let mut products = Vec::with_capacity(queries.len());
    for queries in queries.chunks(MAX_PASS) {
        let sums = match tables.variant {
            Variant::Two => pass::<3>(kernel, tables, queries),
            Variant::Four => pass::<5>(kernel, tables, queries),
        };
        let sums = sums.ok_or(InlineError::Kernel { kernel: kernel.name() })?;
        products.extend(sums.into_par_iter().map(finish).collect::<Vec<_>>());
    }
    Ok(products)
}

/// The sums modulo all four primes, in slots; `None` where this machine does not run the kernel.
fn pass<const W: usize>(
    kernel: Kernel,
    tables: &PlaneTables,
    queries: &[&InlineQuery],
) -> Option<Vec<[Box<Poly>; 4]>> {
    let (wide, narrow) = (kernel.code::<W>()?, kernel.code::<1>()?);
    let step = tables.variant.baby_steps();
    let (mut q0, mut q1, mut p0, mut p1) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let [m0, m1, m2, m3] = rings::all().map(|ntt| ntt.modulus);
    let [t0, t1, t2, t3] = tables.tables.each_ref();
    let halves = |prime: usize| {
        let operands = queries.iter().filter_map(|query| query.operands.get(prime));
        let halves = operands.map(|[low, high]| (low.as_slice(), high.as_slice()));
        halves.unzip::<&[Operand], &[Operand], Vec<_>, Vec<_>>().into()
    };
    rayon::scope(|scope| {
        scope.spawn(|_| q0 = stream(wide, t0, &halves(0), step, m0));
        scope.spawn(|_| q1 = stream(wide, t1, &halves(1), step, m1));
        scope.spawn(|_| p0 = stream(narrow, t2, &halves(2), step, m2));
        scope.spawn(|_| p1 = stream(narrow, t3, &halves(3), step, m3));
    });
    let sums = q0.into_iter().zip(q1).zip(p0.into_iter().zip(p1));
    Some(sums.map(|((q0, q1), (p0, p1))| [q0, q1, p0, p1]).collect())
}

/// One table times the operands of its prime, `[half][query]`: a polynomial in slots for each query.
fn stream<const W: usize>(
    code: Code<W>,
    table: &[u8],
    halves: &[Vec<&[Operand]>; 2],
    step: usize,
    modulus: Modulus,
) -> Vec<Box<Poly>> {
    let [low, high] = halves.each_ref().map(|half| {
        let whole = half.iter().filter_map(|operands| operands.first_chunk::<W>());
        whole.collect::<Vec<&[Operand; W]>>()
    });
    let count = low.len();
    let lines: &[[_; W]] = table.as_chunks().0.as_chunks().0;
    let block_lines = lines.len() / BLOCKS;
    // sums[block][query]: the order in which they are made.
    let mut sums = vec![[0; LANES]; BLOCKS * count];
    let tasks = sums.par_chunks_mut(TASK_BLOCKS * count.max(1));
    tasks.zip(lines.par_chunks(TASK_BLOCKS * block_lines)).enumerate().for_each(
        |(task, (sums, lines))| {
            let pairs = sums.chunks_mut(2 * count).zip(lines.chunks(2 * block_lines));
            for (pair, (sums, lines)) in (task * TASK_BLOCKS / 2..).zip(pairs) {
                let slot = pair * 2 * LANES;
                let queries = if slot < HALF { &low } else { &high };
                let lines = lines.split_at(lines.len() / 2).into();
                let sums = sums.split_at_mut(count).into();
                code(&Pair { lines, queries, start: slot % HALF, step, modulus }, sums);
            }
        },
    );
    let poly = |query| {
        let mut poly = rings::zero();
        let blocks = sums.iter().skip(query).step_by(count);
        for (to, from) in poly.as_chunks_mut().0.iter_mut().zip(blocks) {
            *to = *from;
        }
        poly
    };
    (0..count).map(poly).collect()
}

/// Divides by P with rounding and leaves coefficients modulo q's primes.
fn finish(sums: [Box<Poly>; 4]) -> [Box<Poly>; 2] {
    let ([q0, q1], [p0, p1]) = (&*Q, &*SPECIAL);
    let [mut x0, mut x1, mut low0, mut low1] = sums;
    p0.inverse(&mut low0);
    p1.inverse(&mut low1);
    let (mut y0, mut y1) = (rings::zero(), rings::zero());
    SPECIAL_BASIS.lift([&low0, &low1], [q0.modulus, q1.modulus], [&mut y0, &mut y1]);
    q0.inverse(&mut x0);
    q1.inverse(&mut x1);
    divide_by_special(q0.modulus, &mut x0, &y0);
    divide_by_special(q1.modulus, &mut x1, &y1);
    [x0, x1]
}

/// One plane's share of an answer from the summed scans of its rows and its product:
/// `round(2^29·(encode(c')/t − b/q))`, [`PLANE_BYTES`] bytes. The number of rows, 4096 or of a folded plane
/// 2048, 1024, 512 or 256, says which of a row's slots has its `c'`: the first, the others have 0.
///
/// With the plane's [`PublicPart`](super::PublicPart) and the lookup's secret it opens to
/// `c'[r] − (H'·s)[r]` modulo t, the sum over the slots of row r.
///
/// # Errors
/// When there are as many sums as no plane has rows.
pub fn answer(scan: &[u32], product: &PlaneProduct) -> Result<Vec<u8>, InlineError> {
    let (what, found) = ("sums of a plane", scan.len());
    let fold = Fold::of_rows(found).ok_or(InlineError::Size { what, expected: N, found })?;
    let mut values = rings::zero();
    let blocks = values.chunks_exact_mut(RING_DEGREE);
    for (slots, rows) in blocks.zip(scan.chunks_exact(fold.diagonals())) {
        for (slot, c) in slots.iter_mut().zip(rows) {
            *slot = switch_modulus(*c);
        }
    }
    PLAINTEXT.inverse(&mut values);
    for (value, b) in values.iter_mut().zip(product.words()) {
        let word = spread(*value).wrapping_sub(*b);
        // To the nearest of 29 bits; what is above 2^32 is dropped with the carry.
        *value = word.wrapping_add(1 << (31 - ANSWER_BITS)) >> (32 - ANSWER_BITS);
    }
    let mut bytes = Vec::with_capacity(PLANE_BYTES);
    bits::pack(&values, ANSWER_BITS, &mut bytes);
    Ok(bytes)
}

/// `round(2^32·m/t)` for m below t.
#[expect(clippy::cast_possible_truncation, reason = "m/t < 1, and t does not divide 2^32·m + t/2")]
fn spread(m: u32) -> u32 {
    const T: u64 = PLAINTEXT_MODULUS as u64;
    (((u64::from(m) << 32) + T / 2) / T) as u32
}
