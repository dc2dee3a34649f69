//! Ring elements as factors.

use super::lanes::Portable;
use super::tables::{PRIMES, TABLES, Tables, Twiddle};
use super::{Modulo, SIDE};
use crate::params::RING_DEGREE;
use crate::ring::Poly;

/// A ring element in NTT form modulo both primes, prepared for multiplication by many rows.
pub(in crate::hint) struct Factor(pub(super) [Box<[Twiddle; RING_DEGREE]>; PRIMES.len()]);

impl Factor {
    /// Transforms a_j. Its coefficients count as numbers from −2^31 to 2^31 − 1.
    pub(in crate::hint) fn new(a: &Poly) -> Self {
        Self(TABLES.each_ref().map(|tables| {
            let mut values = reversed(a, tables.prime);
            evaluate(&mut values, tables);
            Box::new(values.map(|value| Twiddle::new(value % tables.prime, tables.prime)))
        }))
    }
}

/// a as a polynomial in y = x^-1, modulo p: x^k = −y^(n−k).
fn reversed(a: &Poly, prime: u32) -> [u32; RING_DEGREE] {
    #[expect(clippy::cast_possible_truncation, reason = "below the prime")]
    let residue = |a: i64| a.rem_euclid(i64::from(prime)) as u32;
    let [constant, others @ ..] = a;
    let mut values = [residue(i64::from(constant.cast_signed())); RING_DEGREE];
    for (value, a) in values.iter_mut().rev().zip(others) {
        *value = residue(-i64::from(a.cast_signed()));
    }
    values
}

/// The transform of one polynomial, in the order of [`super::add`]: below p in, below 4p out.
#[expect(clippy::indexing_slicing, reason = "u and v run to array lengths")]
fn evaluate(values: &mut [u32; RING_DEGREE], tables: &Tables) {
    let modulo = Modulo::new(Portable, tables);
    for v in 0..SIDE {
        let mut points = std::array::from_fn(|u| values[SIDE * u + v]);
        modulo.forward_half(&mut points, &tables.forward.outer);
        for (u, point) in points.into_iter().enumerate() {
            values[SIDE * u + v] = point;
        }
    }
    let (blocks, _) = values.as_chunks_mut::<SIDE>();
    for (block, half) in blocks.iter_mut().zip(&tables.forward.inner) {
        modulo.forward_half(block, half);
    }
}
