//! The reference: one query after the other, one lane after the other.

use super::{FOLD, HALF, Pair};
use crate::inline::table::LANES;

pub(super) fn pair<const W: usize>(pair: &Pair<'_, W>, out: [&mut [[u32; LANES]]; 2]) {
    let fold = u64::from(pair.fold_factor());
    for ((lines, start), out) in pair.blocks().into_iter().zip(out) {
        for (out, operands) in out.iter_mut().zip(pair.queries) {
            let mut sums = [0u64; LANES];
            let mut at = start;
            for steps in lines.chunks(FOLD / W) {
                for lines in steps {
                    for (line, operand) in lines.iter().zip(operands.iter()) {
                        let operand = operand.iter().skip(at);
                        let words = line.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
                        for ((sum, word), x) in sums.iter_mut().zip(words).zip(operand) {
                            *sum += u64::from(word) * u64::from(*x);
                        }
                    }
                    at = (at + pair.step) % HALF;
                }
                for sum in &mut sums {
                    *sum = (*sum >> 32) * fold + (*sum & u64::from(u32::MAX));
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = pair.modulus.reduce(sum);
            }
        }
    }
}
