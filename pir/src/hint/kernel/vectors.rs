//! Sixteen rows at a time, with the vector instructions that [`Lanes`] stands for.

use crate::hint::planes::{Bytes, ROWS, Rows};
use crate::hint::transform::{self, Factor, Lanes, Scratch, Sums};
use crate::machine::{Instructions, Vectorised};
use crate::ring::Poly;

impl<L: Lanes + Instructions + Send + Sync> Rows for L {
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
        self.run(Add { lanes: self, bytes, factor, scratch, sums });
    }

    fn read(self, sums: &mut Sums, rows: &mut [Poly; ROWS]) {
        self.run(Read { lanes: self, sums, rows });
    }
}

struct Add<'a, L> {
    lanes: L,
    bytes: &'a Bytes,
    factor: &'a Factor,
    scratch: &'a mut Scratch,
    sums: &'a mut Sums,
}

impl<L: Lanes> Vectorised for Add<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { lanes, bytes, factor, scratch, sums } = self;
        transform::add(lanes, bytes, factor, scratch, sums);
    }
}

struct Read<'a, L> {
    lanes: L,
    sums: &'a mut Sums,
    rows: &'a mut [Poly; ROWS],
}

impl<L: Lanes> Vectorised for Read<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { lanes, sums, rows } = self;
        transform::read(lanes, sums, rows);
    }
}
