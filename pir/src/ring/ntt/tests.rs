use proptest::prelude::*;

use super::*;

fn reference(x: u64, y: u64) -> u64 {
    (u128::from(x) * u128::from(y) % u128::from(PRIME)) as u64
}

#[test]
fn the_modulus_is_prime_and_the_root_has_order_2048() {
    // Miller-Rabin with the first twelve primes as bases decides every 64-bit number.
    let (odd, twos) = ((PRIME - 1) >> (PRIME - 1).trailing_zeros(), (PRIME - 1).trailing_zeros());
    for base in [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37] {
        let mut x = power(base, odd);
        let witness = x != 1
            && (0..twos).all(|_| {
                let composite = x != PRIME - 1;
                x = reference(x, x);
                composite
            });
        assert!(!witness, "{base} proves the modulus composite");
    }
    assert_eq!(power(ROOT, 1024), PRIME - 1);
}

proptest! {
    #[test]
    fn shoup_products_agree_with_division(x: u64, factor in 0..PRIME) {
        let quotient = shoup_quotient(factor);
        prop_assert_eq!(u128::from(quotient), (u128::from(factor) << 64) / u128::from(PRIME));
        let product = mul_lazy(x, factor, quotient);
        prop_assert!(product < TWO_P);
        prop_assert_eq!(product % PRIME, reference(x % PRIME, factor));
    }
}

#[test]
fn shoup_products_at_the_edges() {
    for factor in [0, 1, 2, PRIME / 2, PRIME - 2, PRIME - 1] {
        let quotient = shoup_quotient(factor);
        assert_eq!(u128::from(quotient), (u128::from(factor) << 64) / u128::from(PRIME));
        for x in [0, 1, PRIME - 1, PRIME, TWO_P - 1, 2 * TWO_P - 1, u64::MAX] {
            let product = mul_lazy(x, factor, quotient);
            assert!(product < TWO_P && product % PRIME == reference(x % PRIME, factor));
        }
    }
}

/// The transform evaluates at the odd powers of the root, and comes back.
#[test]
fn forward_evaluates_and_inverse_returns() {
    let coefficients: [u64; DEGREE] =
        std::array::from_fn(|i| reference(ROOT, i as u64 * 0x9e37_79b9 + 1));
    let mut values = coefficients.map(|x| x + 3 * PRIME);
    NTT.forward(&mut values);
    for i in [0, 1, 2, 511, 512, 1023] {
        let point = power(ROOT, 2 * bit_reversed(i) + 1);
        let value = coefficients.iter().rev().fold(0, |sum, x| (reference(sum, point) + x) % PRIME);
        assert_eq!(values[i] % PRIME, value, "at {i}");
    }
    let mut back = values.map(|x| below(x, TWO_P));
    NTT.inverse(&mut back);
    assert_eq!(back, coefficients);
}

#[test]
fn signed_residues_are_centred() {
    for x in [0i64, 1, -1, 1 << 58, -(1 << 58), 0x1234_5678_9abc, -0x1234_5678_9abc] {
        let residue = below(lift(x), PRIME);
        assert_eq!(signed_residue(residue), x as u32);
    }
}
