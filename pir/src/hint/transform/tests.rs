use proptest::prelude::*;

use super::*;
use crate::hint::Kernel;
use crate::params::MAX_BUCKETS;

/// H\[i\] of one row: Σ_k D\[k\]·A\[k\]\[i\], straight from the formula of A, exactly.
fn naive(row: &[u8; PARTITION_BUCKETS], a: &Poly, i: usize) -> i64 {
    let entry = |k: usize| {
        let a = |m: usize| i64::from(a[m].cast_signed());
        if k >= i { a(k - i) } else { -a(1024 + k - i) }
    };
    row.iter().enumerate().map(|(k, byte)| i64::from(byte.cast_signed()) * entry(k)).sum()
}

/// What every available kernel makes of some partitions' rows, which must all be the same.
fn run(terms: &[(Box<Bytes>, Box<Poly>)]) -> Vec<Poly> {
    let results = Kernel::available().map(|kernel| {
        let code = kernel.code().unwrap();
        let (mut lines, mut scratch) = (vec![Line::ZERO; SUM_LINES], Scratch::new());
        let sums = &mut sums(&mut lines)[0];
        for (bytes, a) in terms {
            code.add(bytes, &Factor::new(a), &mut scratch, sums);
        }
        let mut rows = vec![[7; RING_DEGREE]; ROWS];
        code.read(sums, rows.as_mut_slice().try_into().unwrap());
        (kernel, rows)
    });
    let results: Vec<_> = results.collect();
    for (kernel, rows) in &results {
        assert!(*rows == results[0].1, "{} differs from scalar", kernel.name());
    }
    results[0].1.clone()
}

fn bytes(byte: impl Strategy<Value = u8>) -> impl Strategy<Value = Box<Bytes>> {
    proptest::collection::vec(byte, ROWS * PARTITION_BUCKETS).prop_map(|bytes| {
        let rows = bytes.as_chunks().0.to_vec().into_boxed_slice();
        rows.try_into().unwrap()
    })
}

fn element(word: impl Strategy<Value = u32>) -> impl Strategy<Value = Box<Poly>> {
    proptest::collection::vec(word, RING_DEGREE).prop_map(|words| words.try_into().unwrap())
}

fn check(terms: &[(Box<Bytes>, Box<Poly>)]) -> Result<(), TestCaseError> {
    let hint = run(terms);
    for (r, row) in hint.iter().enumerate() {
        for i in [0, 1, 31, 32, 33, 500 + r, 1022, 1023] {
            let sum: i64 = terms.iter().map(|(bytes, a)| naive(&bytes[r], a, i)).sum();
            prop_assert_eq!(row[i], sum as u32, "row {}, coefficient {}", r, i);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn agrees_with_the_definition(
        terms in proptest::collection::vec((bytes(any::<u8>()), element(any::<u32>())), 0..4),
    ) {
        check(&terms)?;
    }

    /// Bytes and coefficients at the ends of their ranges, mixed.
    #[test]
    fn extremes_agree_with_the_definition(
        terms in proptest::collection::vec(
            (
                bytes(prop_oneof![Just(0x80u8), Just(0x7f), Just(0xff), Just(0)]),
                element(prop_oneof![Just(1u32 << 31), Just(0x7fff_ffff), Just(u32::MAX), Just(0)]),
            ),
            1..3,
        ),
    ) {
        check(&terms)?;
    }
}

#[test]
fn uniform_extremes_agree_with_the_definition() {
    for byte in [0x80, 0x7f, 0xff] {
        for word in [1 << 31, 0x7fff_ffff, u32::MAX, 1] {
            let terms =
                [(Box::new([[byte; PARTITION_BUCKETS]; ROWS]), Box::new([word; RING_DEGREE]))];
            check(&terms).unwrap();
        }
    }
}

/// The bound: 2^10 partitions of bytes −128 against coefficients −2^31, and the other sign.
#[test]
fn the_largest_hint_is_exact() {
    for (byte, sign) in [(0x80, 1), (0x7f, -1)] {
        let bytes = Box::new([[byte; PARTITION_BUCKETS]; ROWS]);
        let factor = Factor::new(&[1 << 31; RING_DEGREE]);
        for kernel in Kernel::available() {
            let code = kernel.code().unwrap();
            let (mut lines, mut scratch) = (vec![Line::ZERO; SUM_LINES], Scratch::new());
            let sums = &mut sums(&mut lines)[0];
            for _ in 0..MAX_BUCKETS / 1024 {
                code.add(&bytes, &factor, &mut scratch, sums);
            }
            let magnitude = i64::from(byte.cast_signed().unsigned_abs()) << 41;
            let mut rows = vec![[0; RING_DEGREE]; ROWS];
            code.read(sums, rows.as_mut_slice().try_into().unwrap());
            for row in rows {
                for (i, word) in (0..).zip(row) {
                    // n−i terms have one sign, i wrap around and have the other.
                    let exact = sign * magnitude * (1024 - 2 * i);
                    assert_eq!(word, exact as u32, "{}, coefficient {i}", kernel.name());
                }
            }
        }
    }
}

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
