//! The portable kernel: one row at a time over one 61-bit prime.
//!
//! ```text
//! |H| <= Σ |D|·|a| <= 2^7 · 2^31 · 2^20 buckets = 2^58 < p/2
//! ```
//!
//! A row is a polynomial in x^-1 and a_j one in x, so `H[r][i]` is at x^-i = −x^(n−i).

use crate::hint::planes::{Bytes, ROWS, Rows};
use crate::params::{PARTITION_BUCKETS, RING_DEGREE};
use crate::ring::{Factor, NTT, Poly, lift, signed_residue};

/// One row in NTT form, then its coefficients.
type Residues = [u64; RING_DEGREE];

#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Rows for Scalar {
    type Factor = Factor;
    type Scratch = Residues;
    /// Below 2p.
    type Sums = [Residues; ROWS];

    fn factor(self, a: &Poly) -> Factor {
        Factor::new(a.iter().map(|a| i64::from(a.cast_signed())))
    }

    fn scratch(self) -> Box<Residues> {
        Box::new([0; RING_DEGREE])
    }

    fn zero(self, groups: usize) -> Vec<[Residues; ROWS]> {
        vec![[[0; RING_DEGREE]; ROWS]; groups]
    }

    fn add(self, bytes: &Bytes, factor: &Factor, polynomial: &mut Residues, sums: &mut Self::Sums) {
        for (row, sums) in bytes.iter().zip(sums) {
            reversed_polynomial(row, polynomial);
            NTT.forward(polynomial);
            factor.multiply_add(polynomial, sums);
        }
    }

    fn read(self, sums: &mut Self::Sums, rows: &mut [Poly; ROWS]) {
        for (sums, row) in sums.iter_mut().zip(rows) {
            NTT.inverse(sums);
            let [constant, others @ ..] = sums;
            let [first, rest @ ..] = row;
            *first = signed_residue(*constant);
            for (word, residue) in rest.iter_mut().rev().zip(others) {
                *word = signed_residue(*residue).wrapping_neg();
            }
        }
    }
}

/// Σ_k D\[k\]·x^-k as a polynomial of degree below n: x^-k = −x^(n−k).
fn reversed_polynomial(row: &[u8; PARTITION_BUCKETS], polynomial: &mut Residues) {
    let [first, rest @ ..] = row;
    let [constant, others @ ..] = polynomial;
    *constant = lift(i64::from(first.cast_signed()));
    for (coefficient, byte) in others.iter_mut().rev().zip(rest) {
        *coefficient = lift(-i64::from(byte.cast_signed()));
    }
}
