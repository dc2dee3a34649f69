use proptest::prelude::*;

use super::*;

#[test]
fn residues_of_large_integers_combine() {
    let [p, q] = PRIMES.map(i64::from);
    for x in
        [0, 1, -1, 1 << 58, -(1 << 58), 0x0123_4567_89ab_cdef, -0x0123_4567_89ab_cdef, p, -p, q, -q]
    {
        let word = combine(x.rem_euclid(p) as u32, x.rem_euclid(q) as u32);
        assert_eq!(word, x as u32, "{x}");
    }
}

proptest! {
    #[test]
    fn residues_combine(x in -(1i64 << 58)..=1 << 58) {
        let [p, q] = PRIMES.map(i64::from);
        prop_assert_eq!(combine(x.rem_euclid(p) as u32, x.rem_euclid(q) as u32), x as u32);
    }

    #[test]
    fn shoup_products_agree_with_division(x: u32, factor in 0..PRIMES[0]) {
        for prime in PRIMES {
            check_product(x, factor, prime);
        }
    }
}

fn check_product(x: u32, factor: u32, prime: u32) {
    let product = Twiddle::new(factor, prime).times(x, prime);
    assert!(product < 2 * prime);
    let exact = u64::from(x) * u64::from(factor) % u64::from(prime);
    assert_eq!(u64::from(product % prime), exact);
}

#[test]
fn shoup_products_at_the_edges() {
    for prime in PRIMES {
        for factor in [0, 1, 2, prime / 2, prime - 2, prime - 1] {
            for x in [0, 1, prime - 1, prime, 2 * prime - 1, 4 * prime - 1, u32::MAX] {
                check_product(x, factor, prime);
            }
        }
    }
}

#[test]
fn bytes_are_transposed() {
    let bytes: Bytes = std::array::from_fn(|r| std::array::from_fn(|k| (r * 37 + k * 11) as u8));
    let mut columns = [[0; ROWS]; PARTITION_BUCKETS];
    transpose(&bytes, &mut columns);
    for (k, column) in columns.iter().enumerate() {
        for (r, byte) in column.iter().enumerate() {
            assert_eq!(byte.cast_unsigned(), bytes[r][k]);
        }
    }
}
