//! A plane of the hint as diagonals, encoded modulo q.

use rayon::prelude::*;

use super::modulus::Modulus;
use super::rings::{self, PLAINTEXT, Q};
use super::{N, Poly};
use crate::codec::switch_modulus;
use crate::geometry::Fold;
use crate::params::RING_DEGREE;
use crate::vector::{Vectorised, vectorise};

/// Diagonals that are gathered together: their entries in a row of the hint are neighbours.
const GROUP: usize = 16;
/// Rows that are turned at a time.
const TILE: usize = 16;

/// Diagonals `first..first + count` (a multiple of 16 each) in NTT form modulo q's primes.
///
/// Diagonal k of `H' = round(H·t/2^32)` has `H'[r][(j + k) mod 1024]` in slot j, where r is the slot's row
/// ([`Fold::row_of`]). Runs on the current rayon pool. `plane` has the fold's rows of 1024 words.
pub(super) fn encode(plane: &[u32], fold: Fold, first: usize, count: usize) -> Vec<[Box<Poly>; 2]> {
    let group = |group: usize| {
        let mut slots: Vec<Box<Poly>> = (0..GROUP).map(|_| rings::zero()).collect();
        gather(plane, fold, first + group * GROUP, &mut slots);
        slots
    };
    let slots = (0..count / GROUP).into_par_iter().flat_map(group);
    slots
        .map(|mut slots| {
            PLAINTEXT.inverse(&mut slots);
            let [q0, q1] = &*Q;
            let mut second = rings::zero();
            vectorise(Lift { from: &mut slots, second: &mut second, to: [q0.modulus, q1.modulus] });
            q0.forward(&mut slots);
            q1.forward(&mut second);
            [slots, second]
        })
        .collect()
}

/// Entries of 16 diagonals, row by row of the hint, turned to slots of each. Neighbouring slots of a tile
/// have neighbouring rows, since D is a multiple of 16 in any fold.
fn gather(plane: &[u32], fold: Fold, first: usize, slots: &mut [Box<Poly>]) {
    for number in 0..N / TILE {
        let rows = plane.get(fold.row_of(number * TILE) * RING_DEGREE..).unwrap_or_default();
        let mut tile = [[0; GROUP]; TILE];
        let start = number * TILE + first;
        for ((row, start), entries) in rows.chunks_exact(RING_DEGREE).zip(start..).zip(&mut tile) {
            let (head, tail) = row.split_at(start % RING_DEGREE);
            match tail.first_chunk() {
                Some(words) => *entries = *words,
                None => {
                    for (entry, word) in entries.iter_mut().zip(tail.iter().chain(head)) {
                        *entry = *word;
                    }
                }
            }
        }
        let turned = vectorise(Turn { tile: &tile });
        for (slots, line) in slots.iter_mut().zip(turned) {
            if let Some(slots) = slots.as_chunks_mut().0.get_mut(number) {
                *slots = line;
            }
        }
    }
}

/// A tile of entries, switched to modulus t and transposed.
struct Turn<'a> {
    tile: &'a [[u32; GROUP]; TILE],
}

impl Vectorised for Turn<'_> {
    type Output = [[u32; TILE]; GROUP];

    #[inline(always)]
    #[expect(clippy::indexing_slicing, reason = "indices run over array lengths")]
    fn run(self) -> Self::Output {
        let switched = self.tile.map(|row| row.map(switch_modulus));
        let mut turned = [[0; TILE]; GROUP];
        for (diagonal, line) in turned.iter_mut().enumerate() {
            for (row, slot) in line.iter_mut().enumerate() {
                *slot = switched[row][diagonal];
            }
        }
        turned
    }
}

/// Residues modulo t, read as numbers of least magnitude, modulo two larger primes; the first in place.
struct Lift<'a> {
    from: &'a mut Poly,
    second: &'a mut Poly,
    to: [Modulus; 2],
}

impl Vectorised for Lift<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { from, second, to: [first_prime, second_prime] } = self;
        let t = crate::params::PLAINTEXT_MODULUS;
        for (first, second) in from.iter_mut().zip(second.iter_mut()) {
            let negative = u32::from(*first > t / 2).wrapping_neg();
            let x = *first;
            *first = x.wrapping_add((first_prime.value - t) & negative);
            *second = x.wrapping_add((second_prime.value - t) & negative);
        }
    }
}

const _: () = assert!(N.is_multiple_of(TILE) && RING_DEGREE.is_multiple_of(GROUP));

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test values are small, or wrap on purpose")]
mod tests {
    use super::*;

    #[test]
    fn diagonals_decode_to_entries_of_the_hint() {
        let words: Vec<u32> = (0..4 * RING_DEGREE as u64)
            .flat_map(|seed| super::super::ntt::tests::poly(seed % 7 + seed, u32::MAX).to_vec())
            .take(N * RING_DEGREE)
            .collect();
        let t = i64::from(PLAINTEXT.modulus.value);
        let cases = Fold::ALL.map(|fold| [(fold, 0), (fold, fold.diagonals() - 16)]);
        for (fold, first) in cases.into_iter().flatten() {
            let words = &words[..fold.words()];
            for (k, [first, second]) in (first..).zip(encode(words, fold, first, 16)) {
                let [mut first, mut second] = [first, second];
                Q[0].inverse(&mut first);
                Q[1].inverse(&mut second);
                let mut plain = rings::zero();
                for (plain, (x, y)) in plain.iter_mut().zip(first.iter().zip(second.iter())) {
                    let value = rings::Q_BASIS.compose_centred(*x, *y);
                    assert!(2 * value.abs() < t);
                    *plain = value.rem_euclid(t) as u32;
                }
                PLAINTEXT.forward(&mut plain);
                for (j, slot) in plain.iter().enumerate() {
                    // Written out once more: block by block of 1024 slots, D rows a block.
                    let row = j / 1024 * fold.diagonals() + j % fold.diagonals();
                    let entry = words[row * RING_DEGREE + (j + k) % RING_DEGREE];
                    assert_eq!(*slot, switch_modulus(entry), "{fold:?}, diagonal {k}, slot {j}");
                }
            }
        }
    }
}
