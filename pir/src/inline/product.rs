//! Online work: one plane's tables times the b halves of several queries.
//!
//! ```text
//! b = Σ_i ( τ^i(key)·D_i + Σ_b τ^i(Enc_b)·α_{i,b} )
//! ```
//!
//! It is linear in the queries. It reads every word of the tables once, whatever a query contains,
//! and never branches on one.

use rayon::prelude::*;

use super::kernel::{Code, HALF, Operands, Pair, Step, code};
use super::modulus::Modulus;
use super::rings::{self, BASIS, Q};
use super::table::{BLOCKS, LANES, PlaneTables, RingTables};
use super::{InlineError, InlineQuery, Poly, scale};
use crate::bits;
use crate::machine::VectorKernel;

/// Number of queries that share a pass over the tables. More queries take several passes.
pub const MAX_PASS: usize = 8;
/// Number of blocks per task. They form pairs, which do not cross from one half of slots to the
/// other.
const TASK_BLOCKS: usize = 4;
const _: () = assert!(TASK_BLOCKS.is_multiple_of(2) && (HALF / LANES).is_multiple_of(TASK_BLOCKS));

/// Multiplies one plane with several queries, up to [`MAX_PASS`] in a pass over its tables. Returns
/// for each query, in order, the b half of `Enc(H·s)`: `round(2^32·b/q)` modulo 2^32 for each row
/// of the plane. With the public part and the lookup's key it decrypts to `H·s` of the row, so a
/// shard subtracts it from the row's sum.
///
/// Runs on the current rayon pool. The result does not depend on the kernel, the grouping or the
/// number of threads.
///
/// # Errors
/// This machine does not support the kernel.
pub fn multiply(
    kernel: VectorKernel,
    tables: &PlaneTables,
    queries: &[&InlineQuery],
) -> Result<Vec<Vec<u32>>, InlineError> {
    let mut products = vec![Vec::with_capacity(tables.rows()); queries.len()];
    for (ring, exact) in tables.rings.iter().zip(multiply_exactly(kernel, tables, queries)?) {
        products.par_iter_mut().zip(exact).for_each(|(product, [x, y])| {
            let places = (0..ring.fold.rows()).map(|row| ring.fold.coefficient_of(row));
            let residues = places.filter_map(|place| x.get(place).zip(y.get(place)));
            product.extend(residues.map(|(x, y)| scale::<32>(BASIS.compose(*x, *y))));
        });
    }
    Ok(products)
}

/// Polynomials modulo each prime of q, as coefficients: one for each query.
pub type ExactProducts = Vec<[Box<Poly>; 2]>;

/// The values that [`multiply`] rounds: the b halves modulo q, for each ring of the plane, in the
/// order of its rows.
///
/// # Errors
/// This machine does not support the kernel.
pub fn multiply_exactly(
    kernel: VectorKernel,
    tables: &PlaneTables,
    queries: &[&InlineQuery],
) -> Result<Vec<ExactProducts>, InlineError> {
    let code = code(kernel).ok_or(InlineError::Kernel { kernel: kernel.name() })?;
    Ok(tables.rings.iter().map(|ring| ring_products(code, ring, queries)).collect())
}

fn ring_products(code: Code, tables: &RingTables, queries: &[&InlineQuery]) -> ExactProducts {
    let mut products = Vec::with_capacity(queries.len());
    for queries in queries.chunks(MAX_PASS) {
        let [first, second] = pass(code, tables, queries);
        products.extend(first.into_iter().zip(second).map(|(x, y)| [x, y]));
    }
    products.par_iter_mut().for_each(|product| {
        for (ntt, x) in Q.iter().zip(product) {
            ntt.inverse(x);
        }
    });
    products
}

/// The sums of each query for each prime, in slots.
fn pass(code: Code, tables: &RingTables, queries: &[&InlineQuery]) -> [Vec<Box<Poly>>; 2] {
    let [t0, t1] = tables.tables.each_ref();
    let [m0, m1] = Q.each_ref().map(|ntt| ntt.modulus);
    let halves = |prime: usize| {
        let operands = queries.iter().filter_map(|query| query.operands.get(prime));
        let halves = operands.map(|[low, high]| (&**low, &**high));
        halves.unzip::<_, _, Vec<_>, Vec<_>>().into()
    };
    rayon::join(|| stream(code, t0, &halves(0), m0), || stream(code, t1, &halves(1), m1)).into()
}

/// One table times the operands of its prime, `[half][query]`. Returns a polynomial in slots for
/// each query.
fn stream(
    code: Code,
    table: &[u8],
    [low, high]: &[Vec<&Operands>; 2],
    modulus: Modulus,
) -> Vec<Box<Poly>> {
    let count = low.len();
    let steps: &[Step] = table.as_chunks().0.as_chunks().0;
    let block_steps = steps.len() / BLOCKS;
    // sums[block][query], in the order of computation.
    let mut sums = vec![[0; LANES]; BLOCKS * count];
    let tasks = sums.par_chunks_mut(TASK_BLOCKS * count.max(1));
    tasks.zip(steps.par_chunks(TASK_BLOCKS * block_steps)).enumerate().for_each(
        |(task, (sums, steps))| {
            let pairs = sums.chunks_mut(2 * count).zip(steps.chunks(2 * block_steps));
            for (pair, (sums, steps)) in (task * TASK_BLOCKS / 2..).zip(pairs) {
                let slot = pair * 2 * LANES;
                let queries = if slot < HALF { low } else { high };
                let lines = steps.split_at(steps.len() / 2).into();
                let sums = sums.split_at_mut(count).into();
                code(&Pair { lines, queries, start: slot % HALF, modulus }, sums);
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

/// The rows of an answer from the sums of all shards, which are scans minus products: the upper
/// `row_bits` of each, rounded. A carry above 2^32 is dropped.
///
/// Rounding happens once, here: the sums that shards send are exact.
pub fn answer(sums: &[u32], row_bits: u32) -> Vec<u8> {
    let rounded = |sum: &u32| sum.wrapping_add(1 << (31 - row_bits)) >> (32 - row_bits);
    let mut bytes = Vec::with_capacity(bits::packed_bytes(sums.len(), row_bits));
    bits::pack(sums.iter().map(rounded), row_bits, &mut bytes);
    bytes
}
