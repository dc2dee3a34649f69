use proptest::prelude::*;

use super::super::rings;
use super::*;

/// Words below `bound`, or all of the largest value.
fn words(seed: u64, length: usize, bound: u32, extreme: bool) -> Vec<u32> {
    let mut bytes = vec![0; 4 * length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
    words.map(|word| if extreme { bound - 1 } else { word % bound }).collect()
}

fn naive<const W: usize>(pair: &Pair<'_, W>, out: [&mut [[u32; LANES]]; 2]) {
    let m = u128::from(pair.modulus.value);
    for (block, out) in out.into_iter().enumerate() {
        for (out, operands) in out.iter_mut().zip(pair.queries) {
            for (lane, out) in out.iter_mut().enumerate() {
                let mut sum = 0u128;
                for (g, lines) in pair.lines[block].iter().enumerate() {
                    for (line, operand) in lines.iter().zip(operands.iter()) {
                        let word = u32::from_le_bytes(line.as_chunks().0[lane]);
                        let slot = pair.start + block * LANES + lane;
                        sum +=
                            u128::from(word) * u128::from(operand[(slot + pair.step * g) % HALF]);
                    }
                }
                *out = (sum % m) as u32;
            }
        }
    }
}

struct Case {
    seed: u64,
    prime: usize,
    steps: usize,
    queries: usize,
    start: usize,
    step: usize,
    extreme: bool,
}

fn check<const W: usize>(case: &Case) {
    let modulus = rings::all()[case.prime].modulus;
    let table = words(case.seed, 2 * case.steps * W * LANES, modulus.value, case.extreme);
    let bytes: Vec<u8> = table.iter().flat_map(|word| word.to_le_bytes()).collect();
    let lines: &[[Line; W]] = bytes.as_chunks().0.as_chunks().0;
    let operands: Vec<[Operand; W]> = (0..case.queries as u64)
        .map(|query| {
            std::array::from_fn(|w| {
                let seed = case.seed ^ (query << 8 | w as u64 | 1 << 40);
                let half = words(seed, HALF, modulus.value, case.extreme);
                std::array::from_fn(|i| half[i % HALF])
            })
        })
        .collect();
    let queries: Vec<&[Operand; W]> = operands.iter().collect();
    let (start, step) = (case.start, case.step);
    let lines = lines.split_at(case.steps).into();
    let pair = Pair { lines, queries: &queries, start, step, modulus };
    let mut expected = vec![[0; LANES]; 2 * case.queries];
    naive(&pair, expected.split_at_mut(case.queries).into());
    for kernel in Kernel::available() {
        let mut found = vec![[7; LANES]; 2 * case.queries];
        kernel.code::<W>().unwrap()(&pair, found.split_at_mut(case.queries).into());
        assert_eq!(found, expected, "{}, {} queries", kernel.name(), case.queries);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_agree_with_the_definition(
        seed in any::<u64>(), prime in 0..4usize, steps in 0..200usize, queries in 0..20usize,
        start in (0..HALF / LANES - 1).prop_map(|block| block * LANES),
        step in prop_oneof![Just(2usize), Just(4)], extreme in any::<bool>(),
    ) {
        let case = Case { seed, prime, steps, queries, start, step, extreme };
        check::<1>(&case);
        check::<3>(&case);
        check::<5>(&case);
    }
}

/// As many terms as a plane has, all as large as they get: no sum overflows.
#[test]
fn the_largest_sums_are_exact() {
    for (steps, step) in [(512, 2), (256, 4)] {
        let case = Case { seed: 0, prime: 0, steps, queries: 9, start: 2016, step, extreme: true };
        if step == 2 {
            check::<3>(&case)
        } else {
            check::<5>(&case)
        }
        check::<1>(&Case { prime: 2, ..case });
    }
}

/// Fewer steps than the second of two blocks lags behind the first, and about as many.
#[test]
fn a_few_steps_are_exact() {
    for steps in 0..=10 {
        for step in [2, 4] {
            let case =
                Case { seed: 1, prime: 1, steps, queries: 7, start: 32, step, extreme: false };
            check::<1>(&case);
            check::<3>(&case);
        }
    }
}

#[test]
fn names_are_found_again() {
    for kernel in Kernel::ALL {
        assert_eq!(Kernel::from_name(kernel.name()), kernel.is_available().then_some(kernel));
    }
    assert!(Kernel::from_name("none").is_none());
    assert!(Kernel::Scalar.is_available() && Kernel::best().is_available());
}
