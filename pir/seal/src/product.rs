//! `Enc(s)` times a plane of the hint: baby-step giant-step over the diagonals (Halevi and Shoup,
//! "Algorithms in HElib", CRYPTO 2014, §4.3), in the shape of HintlessPIR (Li et al., CRYPTO 2024).
//!
//! `H'·s = Σ_i diag_i ⊙ rot_i(s)`. With `i = 32g + b`, the 31 rotations `rot_b(s)` are computed
//! once and shared by all planes of a lookup. Then, from the last giant step to the first,
//! `acc ← rot_32(acc) + Σ_b diag'_{32g+b} ⊙ rot_b(s)`. Two Galois keys are therefore enough.

use opaque_pir::params::{PLANE_ROWS, ROTATION_STEPS};
use rayon::prelude::*;

use crate::bfv::DATA_PRIMES;
use crate::handle::Ciphertext;
use crate::kernel::{BABY_STEPS, Diagonals, LANES, Prime, Rotations, multiply_accumulate};
use crate::plane::{BLOCKS, GIANT_STEPS};
use crate::wire::write_answer;
use crate::{Bfv, EncryptedSecret, EvaluationKeys, PlaneTable, SealError};

const BABY_ROTATION: i32 = ROTATION_STEPS[0];
const GIANT_ROTATION: i32 = ROTATION_STEPS[1];
const _: () = assert!(BABY_ROTATION == 1 && GIANT_ROTATION == 32 && BABY_STEPS == 32);

/// Blocks that one task carries through all giant steps: 32 KiB of rotations, which stay in L1.
const TASK_BLOCKS: usize = 8;
const _: () = assert!((BLOCKS / DATA_PRIMES).is_multiple_of(TASK_BLOCKS));

/// Computes `Enc(H'·s)` for each of `planes`: `PLANE_CIPHERTEXT_BYTES` bytes each, in order.
///
/// Slot `r` of plane `i` decrypts to `Σ_k H'[4096i + r][k]·s[k] mod t`. Runs in parallel on the
/// current rayon pool, across planes and within a plane, except for the chain of 32 rotations.
///
/// # Errors
/// SEAL rejects a transparent intermediate result, which honest keys and secrets do not produce.
pub fn hint_product(
    bfv: &Bfv,
    keys: &EvaluationKeys,
    secret: &EncryptedSecret,
    planes: &[&PlaneTable],
) -> Result<Vec<Vec<u8>>, SealError> {
    if planes.is_empty() {
        return Ok(Vec::new());
    }
    let rotations = rotate_secret(bfv, keys, secret)?;
    planes
        .par_iter()
        .map(|plane| {
            let sum = plane_product(bfv, keys, &rotations, plane)?;
            let switched = sum.map(|sum| bfv.evaluator.switch_modulus(&sum)).transpose()?;
            write_answer(bfv, switched.as_ref())
        })
        .collect()
}

/// The secret rotated by 0..31, in NTT form, block by block.
pub fn rotate_secret(
    bfv: &Bfv,
    keys: &EvaluationKeys,
    secret: &EncryptedSecret,
) -> Result<Vec<Rotations>, SealError> {
    let mut rotated: Vec<Ciphertext> = Vec::with_capacity(BABY_STEPS - 1);
    for _ in 1..BABY_STEPS {
        let last = rotated.last().unwrap_or(&secret.0);
        rotated.push(bfv.evaluator.rotate(last, BABY_ROTATION, &keys.0)?);
    }
    let shape = bfv.data_shape(true, false);
    let residues: Vec<Vec<u64>> = std::iter::once(&secret.0)
        .chain(&rotated)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|ciphertext| {
            let mut residues = Vec::with_capacity(shape.residues());
            bfv.evaluator.ciphertext_to_ntt(ciphertext)?.residues(&shape, &mut residues)?;
            Ok(residues)
        })
        .collect::<Result<_, SealError>>()?;
    let mut blocks = vec![[[[0; LANES]; 2]; BABY_STEPS]; BLOCKS];
    for (baby, residues) in residues.iter().enumerate() {
        let (lanes, _) = residues.as_chunks::<LANES>();
        let (c0, c1) = lanes.split_at_checked(BLOCKS).unwrap_or_default();
        for ((block, c0), c1) in blocks.iter_mut().zip(c0).zip(c1) {
            if let Some(rotation) = block.get_mut(baby) {
                *rotation = [*c0, *c1];
            }
        }
    }
    Ok(blocks)
}

/// The product with one plane, before modulus switching. `None` if the plane is zero.
pub fn plane_product(
    bfv: &Bfv,
    keys: &EvaluationKeys,
    rotations: &[Rotations],
    plane: &PlaneTable,
) -> Result<Option<Ciphertext>, SealError> {
    let sums = giant_sums(rotations, plane);
    let shape = bfv.data_shape(true, false);
    // A sum over zero diagonals is a transparent ciphertext, which SEAL rejects, so it is omitted.
    let terms: Vec<Option<Ciphertext>> = sums
        .into_par_iter()
        .map(|residues| {
            let Some(residues) = residues else { return Ok(None) };
            let sum = Ciphertext::load(&bfv.context, &shape, &residues, None)?;
            bfv.evaluator.to_coefficients(&sum).map(Some)
        })
        .collect::<Result<_, SealError>>()?;
    let mut acc: Option<Ciphertext> = None;
    for term in terms.into_iter().rev() {
        let rotated =
            acc.map(|acc| bfv.evaluator.rotate(&acc, GIANT_ROTATION, &keys.0)).transpose()?;
        acc = match (rotated, term) {
            (Some(rotated), Some(term)) => Some(bfv.evaluator.add(&rotated, &term)?),
            (rotated, term) => rotated.or(term),
        };
    }
    Ok(acc)
}

/// `Σ_b diag'_{32g+b} ⊙ rot_b(s)` for each giant step g, in NTT form: both polynomials modulo both
/// primes. `None` for a step whose diagonals are all zero.
fn giant_sums(rotations: &[Rotations], plane: &PlaneTable) -> Vec<Option<Vec<u64>>> {
    let steps: Vec<(&[Diagonals], bool)> = plane.giant_steps().collect();
    let primes = Prime::data();
    let tasks: Vec<Vec<[[u64; LANES]; 2]>> = rotations
        .par_chunks_exact(TASK_BLOCKS)
        .enumerate()
        .map(|(task, rotations)| {
            let start = task * TASK_BLOCKS;
            let prime = if start < BLOCKS / DATA_PRIMES { primes[0] } else { primes[1] };
            let mut sums = Vec::with_capacity(GIANT_STEPS * TASK_BLOCKS);
            for (diagonals, _) in &steps {
                let diagonals = diagonals.iter().skip(start);
                sums.extend(
                    diagonals.zip(rotations).map(|(d, r)| multiply_accumulate(prime, d, r)),
                );
            }
            sums
        })
        .collect();
    let gather = |giant: usize| {
        let mut residues = Vec::with_capacity(2 * DATA_PRIMES * PLANE_ROWS);
        for polynomial in 0..2 {
            for task in &tasks {
                let sums = task.iter().skip(giant * TASK_BLOCKS).take(TASK_BLOCKS);
                residues.extend(sums.filter_map(|sum| sum.get(polynomial)).flatten());
            }
        }
        residues
    };
    steps.iter().enumerate().map(|(giant, (_, zero))| (!zero).then(|| gather(giant))).collect()
}
