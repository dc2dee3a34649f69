use proptest::prelude::*;

use super::super::rings::Q;
use super::*;
use crate::inline::table::WORD;
use crate::seed;

/// Words below `bound`, or all of the largest value.
fn words(seed: u64, length: usize, bound: u32, extreme: bool) -> Vec<u32> {
    let words = seed::tests::words(seed, length).into_iter();
    words.map(|word| if extreme { bound - 1 } else { word % bound }).collect()
}

struct Case {
    seed: u64,
    prime: usize,
    steps: usize,
    queries: usize,
    start: usize,
    extreme: bool,
}

fn naive(case: &Case, table: &[u32], queries: &[&Operands], m: u32) -> Vec<[u32; LANES]> {
    let mut out = Vec::new();
    for block in 0..2 {
        for operands in queries {
            out.push(std::array::from_fn(|lane| {
                let mut sum = 0u128;
                for step in 0..case.steps {
                    for (w, operand) in operands.iter().enumerate() {
                        let line = (block * case.steps + step) * WIDTH + w;
                        let slot = case.start + block * LANES + lane + step;
                        let word = table[line * LANES + lane];
                        sum += u128::from(word) * u128::from(operand[slot % HALF]);
                    }
                }
                (sum % u128::from(m)) as u32
            }));
        }
    }
    out
}

fn check(case: &Case) {
    let modulus = Q[case.prime].modulus;
    let table = words(case.seed, 2 * case.steps * WIDTH * LANES, modulus.value, case.extreme);
    let bytes: Vec<u8> =
        table.iter().flat_map(|word| word.to_le_bytes().into_iter().take(WORD)).collect();
    let steps: &[Step] = bytes.as_chunks().0.as_chunks().0;
    let operands: Vec<Operands> = (0..case.queries as u64)
        .map(|query| {
            std::array::from_fn(|w| {
                let seed = case.seed ^ (query << 8 | w as u64 | 1 << 40);
                let half = words(seed, HALF, modulus.value, case.extreme);
                std::array::from_fn(|i| half[i % HALF])
            })
        })
        .collect();
    let queries: Vec<&Operands> = operands.iter().collect();
    let lines = steps.split_at(case.steps).into();
    let pair = Pair { lines, queries: &queries, start: case.start, modulus };
    let expected = naive(case, &table, &queries, modulus.value);
    for kernel in VectorKernel::available() {
        let mut found = vec![[7; LANES]; 2 * case.queries];
        code(kernel).unwrap()(&pair, found.split_at_mut(case.queries).into());
        assert_eq!(found, expected, "{}, {} queries", kernel.name(), case.queries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_agree_with_the_definition(
        seed in any::<u64>(), prime in 0..2usize, steps in 0..200usize, queries in 0..20usize,
        start in (0..HALF / LANES - 1).prop_map(|block| block * LANES), extreme in any::<bool>(),
    ) {
        check(&Case { seed, prime, steps, queries, start, extreme });
    }
}

/// As many terms as a plane has, all at their maximum: no sum overflows.
#[test]
fn the_largest_sums_are_exact() {
    check(&Case { seed: 0, prime: 0, steps: 512, queries: 9, start: 992, extreme: true });
}

/// Fewer steps than the second of two blocks lags behind the first, and about as many.
#[test]
fn a_few_steps_are_exact() {
    for steps in 0..=18 {
        check(&Case { seed: 1, prime: 1, steps, queries: 7, start: 32, extreme: false });
    }
}
