//! The reference: one query after the other, one lane after the other.

use super::{Block, FOLD, HALF};
use crate::inline::table::LANES;

pub(super) fn block<const W: usize>(block: &Block<'_, W>, out: &mut [[u32; LANES]]) {
    let fold = u64::from(block.fold_factor());
    for (out, operands) in out.iter_mut().zip(block.queries) {
        let mut sums = [0u64; LANES];
        let mut at = block.start;
        for steps in block.lines.chunks(FOLD / W) {
            for lines in steps {
                for (line, operand) in lines.iter().zip(operands.iter()) {
                    let operand = operand.iter().skip(at);
                    let words = line.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
                    for ((sum, word), x) in sums.iter_mut().zip(words).zip(operand) {
                        *sum += u64::from(word) * u64::from(*x);
                    }
                }
                at = (at + block.step) % HALF;
            }
            for sum in &mut sums {
                *sum = (*sum >> 32) * fold + (*sum & u64::from(u32::MAX));
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = block.modulus.reduce(sum);
        }
    }
}
