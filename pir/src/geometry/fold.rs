//! How a matrix of few rows fills a plane of the hint.

use crate::params::{PLANE_ROWS, RING_DEGREE};

/// A plane of the hint has 4096 slots. A matrix of R = 4096/f rows gives each row f of them, which
/// share its 1024 columns, so that the product costs a fraction 1/f of a whole plane's.
///
/// With D = 1024/f, block β of 1024 slots holds the rows βD..(β+1)D; row r has the slots of its block
/// that are r modulo D, and a product adds up, modulo t, what they hold:
///
/// ```text
/// slot j of diagonal i < D:    H'[⌊j/1024⌋·D + j mod D][(j + i) mod 1024]
/// ```
///
/// The f slots j₀, j₀ + D, … of a row begin at columns D apart and take D columns each: every column
/// once. f is 1 (no folding), 2, 4, 8 or 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fold {
    /// log2 f, at most 4.
    doublings: u32,
}

impl Fold {
    /// A whole plane: every row has one slot.
    pub const NONE: Self = Self { doublings: 0 };
    /// Every fold, f = 1, 2, 4, 8, 16.
    pub const ALL: [Self; 5] = [
        Self::NONE,
        Self { doublings: 1 },
        Self { doublings: 2 },
        Self { doublings: 3 },
        Self { doublings: 4 },
    ];

    /// The fold of planes of so many rows.
    pub fn of_rows(rows: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|fold| fold.rows() == rows)
    }

    /// The fold of planes of so many words of the hint, 1024 a row.
    pub fn of_words(words: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|fold| fold.words() == words)
    }

    /// f: slots of a row.
    pub const fn factor(self) -> usize {
        1 << self.doublings
    }

    /// 4096/f: rows of the plane.
    pub const fn rows(self) -> usize {
        PLANE_ROWS >> self.doublings
    }

    /// D = 1024/f: diagonals of the plane, columns of a slot, rows of a block of 1024 slots.
    pub const fn diagonals(self) -> usize {
        RING_DEGREE >> self.doublings
    }

    /// Words of the plane's hint.
    pub const fn words(self) -> usize {
        self.rows() * RING_DEGREE
    }

    /// The row that a slot, below 4096, has a part in.
    pub const fn row_of(self, slot: usize) -> usize {
        // Powers of two.
        (slot / RING_DEGREE) * self.diagonals() + (slot & (self.diagonals() - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row by row: its f slots, over all diagonals, see each column exactly once.
    #[test]
    fn every_column_of_every_row_is_seen_once() {
        for fold in Fold::ALL {
            let mut seen = vec![0u32; fold.words()];
            for slot in 0..PLANE_ROWS {
                for diagonal in 0..fold.diagonals() {
                    seen[fold.row_of(slot) * RING_DEGREE + (slot + diagonal) % RING_DEGREE] += 1;
                }
            }
            assert!(seen.iter().all(|times| *times == 1), "{fold:?}");
        }
    }

    #[test]
    fn folds_are_found_by_size() {
        assert_eq!(Fold::ALL.map(Fold::factor), [1, 2, 4, 8, 16]);
        assert_eq!(Fold::ALL.map(Fold::rows), [4096, 2048, 1024, 512, 256]);
        for fold in Fold::ALL {
            assert_eq!(fold.rows() * fold.factor(), PLANE_ROWS);
            assert_eq!(fold.diagonals() * fold.factor(), RING_DEGREE);
            assert_eq!(Fold::of_rows(fold.rows()), Some(fold));
            assert_eq!(Fold::of_words(fold.rows() * 1024), Some(fold));
        }
        for rows in [0, 1, 128, 255, 257, 768, 4095, 8192] {
            assert_eq!(Fold::of_rows(rows), None);
            assert_eq!(Fold::of_words(rows * 1024), None);
        }
    }
}
