use proptest::prelude::*;

use super::*;
use crate::seed::tests::seed;

/// The definition: a·s modulo x^n + 1 and 2^32.
fn schoolbook(a: &Poly, s: &[i32; RING_DEGREE]) -> Box<Poly> {
    let mut product = Box::new([0u32; RING_DEGREE]);
    for (i, a) in a.iter().enumerate() {
        for (j, s) in s.iter().enumerate() {
            let term = a.wrapping_mul(s.cast_unsigned());
            let k = (i + j) % RING_DEGREE;
            let term = if i + j < RING_DEGREE { term } else { term.wrapping_neg() };
            product[k] = product[k].wrapping_add(term);
        }
    }
    product
}

fn product(a: &Poly, s: &[i32; RING_DEGREE]) -> Box<Poly> {
    let mut out = Box::new([7; RING_DEGREE]);
    Multiplier::new(s).times(a, &mut out);
    out
}

fn words<T: std::fmt::Debug>(
    word: impl Strategy<Value = T>,
) -> impl Strategy<Value = Box<[T; RING_DEGREE]>> {
    proptest::collection::vec(word, RING_DEGREE).prop_map(|v| v.try_into().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn products_are_exact(a in words(any::<u32>()), s in words(-(1 << 17)..=1i32 << 17)) {
        prop_assert_eq!(product(&a, &s), schoolbook(&a, &s));
    }

    #[test]
    fn products_of_extremes_are_exact(
        a in words(prop_oneof![Just(0x8000_0000u32), Just(0x7fff_ffff), Just(u32::MAX), Just(0)]),
        s in words(prop_oneof![Just(-(1i32 << 17)), Just(1 << 17), Just(-1), Just(0)]),
    ) {
        prop_assert_eq!(product(&a, &s), schoolbook(&a, &s));
    }

    #[test]
    fn matrix_rows_multiply_like_polynomials(
        a in words(any::<u32>()), s in words(-64..64i32), k in 0..RING_DEGREE,
    ) {
        let row = matrix_row(&a, k);
        let terms = row.iter().zip(s.iter()).map(|(a, s)| a.wrapping_mul(s.cast_unsigned()));
        prop_assert_eq!(terms.fold(0, u32::wrapping_add), product(&a, &s)[k]);
        for i in 0..RING_DEGREE {
            let entry =
                if k >= i { a[k - i] } else { a[RING_DEGREE + k - i].wrapping_neg() };
            prop_assert_eq!(row[i], entry);
        }
    }
}

#[test]
fn the_largest_products_are_exact() {
    // Every term of coefficient n−1 has the same sign here: the bound itself, 2^58.
    let a = [0x8000_0000; RING_DEGREE];
    for s in [-(1 << 17), 1 << 17] {
        let s = [s; RING_DEGREE];
        assert_eq!(product(&a, &s), schoolbook(&a, &s));
    }
}

/// The hint's bound: 2^10 partitions of bytes −128 against coefficients −2^31.
#[test]
fn the_largest_hint_is_exact() {
    let element = Factor::new([i64::from(i32::MIN); RING_DEGREE].into_iter());
    let mut row = [lift(-128); RING_DEGREE];
    NTT.forward(&mut row);
    let mut sums = [0; RING_DEGREE];
    for _ in 0..crate::params::MAX_BUCKETS / 1024 {
        element.multiply_add(&row, &mut sums);
    }
    NTT.inverse(&mut sums);
    for (k, residue) in sums.iter().enumerate() {
        // k+1 terms count, n−1−k wrap around with the other sign; each is 2^38, 2^10 times over.
        let exact = (2 * (k as i64 + 1) - 1024) << 48;
        assert_eq!(*residue, exact.rem_euclid(2_305_843_009_213_683_713).cast_unsigned());
        assert_eq!(signed_residue(*residue), exact as u32);
    }
}

#[test]
fn one_and_x_multiply_as_they_should() {
    let a = public_element(&seed(3, 0), 0);
    let mut s = [0; RING_DEGREE];
    s[0] = 1;
    assert_eq!(product(&a, &s), a);
    s[0] = 0;
    s[1] = -1;
    let shifted = product(&a, &s);
    assert_eq!(shifted[0], a[RING_DEGREE - 1]);
    assert_eq!(shifted[1], a[0].wrapping_neg());
}

#[test]
fn public_elements_differ_by_seed_and_partition() {
    let elements = [
        public_element(&seed(0, 0), 0),
        public_element(&seed(1, 0), 0),
        public_element(&seed(0, 1), 0),
        public_element(&seed(0, 0), 1),
    ];
    for (i, element) in elements.iter().enumerate() {
        assert!(elements.iter().skip(i + 1).all(|other| other != element));
    }
    assert_eq!(elements[0], public_element(&seed(0, 0), 0));
}

#[test]
fn a_multiplier_shows_nothing_of_its_secret() {
    assert_eq!(format!("{:?}", Multiplier::new(&[5; RING_DEGREE])), "Multiplier(..)");
}
