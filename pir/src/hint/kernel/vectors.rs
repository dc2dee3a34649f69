//! Sixteen rows at a time, with vector instructions.
//!
//! This is a macro instead of a generic function: the compiler knows that rows, factor, scratch and
//! sums do not overlap only if they are parameters of the function that is compiled for the
//! instructions. As fields of one [`Vectorised`](crate::machine::Vectorised) value they made the
//! code 8 % slower.

#![expect(unsafe_code, reason = "vector instructions behind a run-time check")]

use crate::hint::planes::{Bytes, ROWS, Rows};
use crate::hint::transform::{self, Factor, Scratch, Sums};
use crate::machine::{Avx2, Avx512};
use crate::ring::Poly;

/// Implements `Rows` for a proof of instructions, by functions that are compiled for them.
macro_rules! rows {
    ($lanes:ty, $features:literal) => {
        impl Rows for $lanes {
            type Factor = Factor;
            type Scratch = Scratch;
            type Sums = Sums;

            fn factor(self, a: &Poly) -> Factor {
                Factor::new(a)
            }

            fn scratch(self) -> Box<Scratch> {
                Scratch::new()
            }

            fn zero(self, groups: usize) -> Vec<Sums> {
                vec![*transform::ZERO_SUMS; groups]
            }

            fn add(self, bytes: &Bytes, factor: &Factor, scratch: &mut Scratch, sums: &mut Sums) {
                #[target_feature(enable = $features)]
                fn add(l: $lanes, b: &Bytes, f: &Factor, scratch: &mut Scratch, sums: &mut Sums) {
                    transform::add(l, b, f, scratch, sums);
                }
                // SAFETY: `self` is a proof of the features.
                unsafe { add(self, bytes, factor, scratch, sums) }
            }

            fn read(self, sums: &mut Sums, rows: &mut [Poly; ROWS]) {
                #[target_feature(enable = $features)]
                fn read(lanes: $lanes, sums: &mut Sums, rows: &mut [Poly; ROWS]) {
                    transform::read(lanes, sums, rows);
                }
                // SAFETY: `self` is a proof of the features.
                unsafe { read(self, sums, rows) }
            }
        }
    };
}

rows!(Avx2, "avx2");
rows!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl");
