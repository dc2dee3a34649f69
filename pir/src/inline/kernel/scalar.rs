//! The reference kernel: one query after the other, one lane after the other.

use super::{HALF, LANES, Pair};
use crate::inline::table::WORD;

pub(super) fn pair(pair: &Pair<'_>, out: [&mut [[u32; LANES]]; 2]) {
    for ((lines, start), out) in pair.blocks().into_iter().zip(out) {
        for (out, operands) in out.iter_mut().zip(pair.queries) {
            let mut sums = [0u64; LANES];
            for (step, lines) in lines.iter().enumerate() {
                let at = (start + step) % HALF;
                for (line, operand) in lines.iter().zip(operands.iter()) {
                    let words = line.as_chunks().0.iter().map(|word| word_of(*word));
                    for ((sum, word), x) in sums.iter_mut().zip(words).zip(operand.iter().skip(at))
                    {
                        *sum += u64::from(word) * u64::from(*x);
                    }
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = pair.modulus.reduce(sum);
            }
        }
    }
}

fn word_of([low, middle, high]: [u8; WORD]) -> u32 {
    u32::from_le_bytes([low, middle, high, 0])
}
