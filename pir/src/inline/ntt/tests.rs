use proptest::prelude::*;

use super::super::rings::Q;
use super::*;
use crate::seed::tests::bytes;

fn rings() -> [&'static Ntt; 2] {
    let [first, second] = &*Q;
    [first, second]
}

pub(crate) fn poly(seed: u64, m: u32) -> Box<Poly> {
    let bytes = bytes(seed, 8 * N);
    let words = bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    words.map(|word| (word % u64::from(m)) as u32).collect::<Vec<_>>().try_into().unwrap()
}

/// The definition, with the plain remainder.
fn negacyclic(a: &Poly, b: &Poly, m: u32) -> Box<Poly> {
    let m = u64::from(m);
    let mut out = Box::new([0; N]);
    for (k, out) in out.iter_mut().enumerate() {
        let mut sum = 0u64;
        for i in 0..N {
            let product = u64::from(a[i]) * u64::from(b[(N + k - i) % N]);
            // 2^48 · 255 fits.
            sum += if i <= k { product } else { m * m - product };
            if i % 128 == 127 {
                sum %= m;
            }
        }
        *out = (sum % m) as u32;
    }
    out
}

fn transformed(ntt: &Ntt, poly: &Poly) -> Box<Poly> {
    let mut values = Box::new(*poly);
    ntt.forward(&mut values);
    values
}

#[test]
fn products_are_negacyclic() {
    for (seed, ntt) in (0..).zip(rings()) {
        let m = ntt.modulus.value;
        let (a, b) = (poly(2 * seed, m), poly(2 * seed + 1, m));
        let mut product = transformed(ntt, &a);
        for (x, y) in product.iter_mut().zip(transformed(ntt, &b).iter()) {
            *x = ntt.modulus.multiply(*x, *y);
        }
        ntt.inverse(&mut product);
        assert_eq!(product, negacyclic(&a, &b, m), "modulo {m}");
    }
}

#[test]
fn slots_are_values_in_the_order_of_powers_of_three() {
    for ntt in rings() {
        let m = ntt.modulus;
        // X itself shows the points of evaluation.
        let mut x = Box::new([0; N]);
        x[1] = 1;
        ntt.forward(&mut x);
        let root = x[0];
        assert_eq!(m.power(root, N as u32), m.value - 1);
        let mut exponent = 1u32;
        for j in 0..HALF {
            assert_eq!(x[j], m.power(root, exponent));
            assert_eq!(x[HALF + j], m.power(root, 2 * N as u32 - exponent));
            exponent = exponent * 3 % (2 * N as u32);
        }
    }
}

/// X → X^(3^k) on coefficients, by the definition.
fn automorphism(a: &Poly, k: u32, m: u32) -> Box<Poly> {
    let power = (0..k).fold(1, |power, _| power * 3 % (2 * N));
    let mut out = Box::new([0; N]);
    for (i, a) in a.iter().enumerate() {
        let at = i * power % (2 * N);
        out[at % N] = if at < N { *a } else { (m - a) % m };
    }
    out
}

#[test]
fn rotations_are_cyclic_shifts() {
    for (seed, ntt) in (30..).zip(rings()) {
        let a = poly(seed, ntt.modulus.value);
        let slots = transformed(ntt, &a);
        for k in [0, 1, 2, 4, 511, 1023] {
            let rotated = transformed(ntt, &automorphism(&a, k, ntt.modulus.value));
            for s in 0..N {
                let from = s / HALF * HALF + (s + k as usize) % HALF;
                assert_eq!(rotated[s], slots[from], "rotation {k}, slot {s}");
            }
        }
    }
}

#[test]
fn extremes_survive() {
    for ntt in rings() {
        let m = ntt.modulus.value;
        for value in [0, 1, m - 1] {
            let a = Box::new([value; N]);
            let mut back = transformed(ntt, &a);
            assert!(back.iter().all(|x| *x < m));
            ntt.inverse(&mut back);
            assert_eq!(back, a);
        }
    }
}

/// Compares the build target's code with the code for this machine.
#[test]
fn wide_registers_change_nothing() {
    for (seed, ntt) in (50..).zip(rings()) {
        let a = poly(seed, ntt.modulus.value);
        let (mut plain, mut wide) = (a.clone(), a);
        Forward { ntt, values: &mut plain }.run();
        ntt.forward(&mut wide);
        assert_eq!(plain, wide);
        Inverse { ntt, values: &mut plain }.run();
        ntt.inverse(&mut wide);
        assert_eq!(plain, wide);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn there_and_back(seed in any::<u64>(), ring in 0..2usize) {
        let ntt = rings()[ring];
        let a = poly(seed, ntt.modulus.value);
        let mut back = transformed(ntt, &a);
        prop_assert!(back.iter().all(|x| *x < ntt.modulus.value));
        ntt.inverse(&mut back);
        prop_assert_eq!(back, a);
    }

    #[test]
    fn arithmetic_agrees_with_remainders(x in any::<u64>(), y in any::<u32>(), ring in 0..2usize) {
        let m = rings()[ring].modulus;
        let value = u64::from(m.value);
        prop_assert_eq!(u64::from(m.reduce(x)), x % value);
        let (a, b) = (m.reduce(x), m.reduce(u64::from(y)));
        let (wide_a, wide_b) = (u64::from(a), u64::from(b));
        prop_assert_eq!(u64::from(m.add(a, b)), (wide_a + wide_b) % value);
        prop_assert_eq!(u64::from(m.subtract(a, b)), (wide_a + value - wide_b) % value);
        prop_assert_eq!(u64::from(m.multiply(a, b)), wide_a * wide_b % value);
        prop_assert_eq!(u64::from(m.factor(a).times(y, m)), wide_a * u64::from(y) % value);
        if a != 0 {
            prop_assert_eq!(m.multiply(a, m.inverse(a)), 1);
        }
    }
}
