//! A plane of the hint, as the 1024 diagonals that the product needs, in NTT form.

use opaque_pir::inline::rings_of;
use opaque_pir::params::{PLAINTEXT_MODULUS, PLANE_ROWS, RING_DEGREE};
use rayon::prelude::*;
use seal_fhe::Plaintext;

use crate::bfv::DATA_PRIMES;
use crate::handle::plaintext_residues;
use crate::kernel::{BABY_STEPS, Diagonals, LANES};
use crate::{Bfv, SealError};

/// Giant steps: 32 groups of 32 diagonals.
pub(crate) const GIANT_STEPS: usize = RING_DEGREE / BABY_STEPS;
/// Blocks of eight residues in a polynomial modulo both data primes.
pub(crate) const BLOCKS: usize = DATA_PRIMES * PLANE_ROWS / LANES;
/// Slots of one of the two rows in which rotations are cyclic.
const SLOT_ROW: usize = PLANE_ROWS / 2;
const _: () = assert!(PlaneTable::BYTES == 64 << 20);

/// One plane of the hint, 4096 rows, prepared for [`hint_product`](crate::hint_product).
///
/// Diagonal `i` of `H'` has the entry `H'[k][(k + i) mod 1024]` in slot `k`. Diagonal `32g + b` is
/// stored rotated to the right by `32g`, because the product rotates it back after `g` giant steps.
///
/// 1. `steps` has `GIANT_STEPS · BLOCKS` entries: the blocks of a giant step are contiguous.
/// 2. Every residue is below its prime; block `k` belongs to prime `k / (BLOCKS/2)`.
/// 3. `zero[g]` is true if all diagonals of giant step `g` are zero.
pub struct PlaneTable {
    steps: Vec<Diagonals>,
    zero: [bool; GIANT_STEPS],
}

impl PlaneTable {
    /// Prepares 4096 x 1024 entries of `H`, row-major. This takes about 0.3 s on two cores and runs
    /// in parallel on the current rayon pool. A plane with fewer rows is padded with rows of zeros,
    /// and the product has 0 in their slots.
    ///
    /// # Errors
    /// The plane has another size.
    pub fn build(bfv: &Bfv, plane: &[u32]) -> Result<Self, SealError> {
        let expected = PLANE_ROWS * RING_DEGREE;
        let rows = plane.len() / RING_DEGREE;
        if rings_of(rows).is_none() || plane.len() != rows * RING_DEGREE {
            return Err(SealError::Size {
                what: "entries of a plane",
                expected,
                found: plane.len(),
            });
        }
        let mut steps = vec![[[0; LANES]; BABY_STEPS]; GIANT_STEPS * BLOCKS];
        let mut zero = [false; GIANT_STEPS];
        steps.par_chunks_exact_mut(BLOCKS).zip(zero.par_iter_mut()).enumerate().try_for_each(
            |(giant, (blocks, zero))| {
                *zero = giant_step(bfv, plane, giant, blocks)?;
                Ok::<_, SealError>(())
            },
        )?;
        Ok(Self { steps, zero })
    }

    /// Memory of any table: 64 MiB.
    pub const BYTES: usize = GIANT_STEPS * BLOCKS * size_of::<Diagonals>();

    /// Memory of the table: [`Self::BYTES`].
    pub fn bytes(&self) -> usize {
        size_of_val(self.steps.as_slice())
    }

    /// The blocks of each giant step, and whether all of its diagonals are zero.
    pub(crate) fn giant_steps(&self) -> impl Iterator<Item = (&[Diagonals], bool)> {
        self.steps.chunks_exact(BLOCKS).zip(self.zero)
    }
}

impl std::fmt::Debug for PlaneTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlaneTable").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Fills the blocks of one giant step, and returns whether its diagonals are all zero.
fn giant_step(
    bfv: &Bfv,
    plane: &[u32],
    giant: usize,
    blocks: &mut [Diagonals],
) -> Result<bool, SealError> {
    let first = giant * BABY_STEPS;
    let mut slots = vec![vec![0; PLANE_ROWS]; BABY_STEPS];
    for (row, entries) in plane.chunks_exact(RING_DEGREE).enumerate() {
        // Slot `row` of the diagonal, rotated to the right by 32·giant within its row of slots.
        let slot = row / SLOT_ROW * SLOT_ROW + (row + first) % SLOT_ROW;
        let entries = entries.iter().cycle().skip((row + first) % RING_DEGREE);
        for (diagonal, &entry) in slots.iter_mut().zip(entries) {
            if let Some(slot) = diagonal.get_mut(slot) {
                *slot = switch(entry);
            }
        }
    }
    let shape = bfv.plaintext_shape();
    let encode = |_| SealError::Encoder { call: "BatchEncoder_Encode1" };
    let mut transformed = Plaintext::new().map_err(encode)?;
    let (mut buffer, mut residues) = (Vec::new(), Vec::with_capacity(shape.residues()));
    for (baby, slots) in slots.iter().enumerate() {
        let plaintext = bfv.encoder.encode_unsigned(slots).map_err(encode)?;
        bfv.evaluator.plaintext_to_ntt(&plaintext, &shape.parms_id, &mut transformed)?;
        residues.clear();
        plaintext_residues(&transformed, &shape, &mut buffer, &mut residues)?;
        let (lanes, _) = residues.as_chunks::<LANES>();
        for (block, lanes) in blocks.iter_mut().zip(lanes) {
            if let Some(diagonal) = block.get_mut(baby) {
                *diagonal = *lanes;
            }
        }
    }
    Ok(slots.iter().flatten().all(|slot| *slot == 0))
}

/// `round(h·t/2^32) mod t`: an entry of the hint, switched from modulus 2^32 to t.
fn switch(entry: u32) -> u64 {
    let t = u64::from(PLAINTEXT_MODULUS);
    ((u64::from(entry) * t + (1 << 31)) >> 32) % t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_to_the_nearest() {
        let t = f64::from(PLAINTEXT_MODULUS);
        for entry in
            [0, 1, 2_080, 2_081, 1 << 31, 12_345_678, 3_000_000_000, u32::MAX - 2_081, u32::MAX]
        {
            let real = f64::from(entry) * t / 2_f64.powi(32);
            let found = switch(entry);
            assert!(found < u64::from(PLAINTEXT_MODULUS));
            #[expect(clippy::cast_precision_loss, reason = "20 bits")]
            let distance = (found as f64 - real).abs();
            assert!(distance.min(t - distance) <= 0.5, "{entry}: {found} is not nearest to {real}");
        }
    }
}
