use proptest::prelude::*;

use super::*;
use crate::hint::planes::{Bytes, ROWS, Rows};
use crate::hint::transform::{self, Portable, Scratch, ZERO_SUMS};
use crate::params::{MAX_BUCKETS, PARTITION_BUCKETS, RING_DEGREE};
use crate::ring::Poly;

/// Some rows of a partition and its ring element.
type Term = (Box<Bytes>, Box<Poly>);

/// A kernel's result for some partitions, each `repeat` times.
fn run(kernel: impl Rows, terms: &[Term], repeat: u32) -> Vec<Poly> {
    let (mut sums, mut scratch) = (kernel.zero(1), kernel.scratch());
    for (bytes, a) in terms {
        let factor = kernel.factor(a);
        for _ in 0..repeat {
            kernel.add(bytes, &factor, &mut scratch, &mut sums[0]);
        }
    }
    let mut rows = vec![[7; RING_DEGREE]; ROWS];
    kernel.read(&mut sums[0], rows.as_mut_slice().try_into().unwrap());
    rows
}

/// The vectors' algorithm on plain numbers.
#[derive(Clone, Copy)]
struct Plain;

impl Rows for Plain {
    type Factor = transform::Factor;
    type Scratch = Scratch;
    type Sums = transform::Sums;

    fn factor(self, a: &Poly) -> Self::Factor {
        transform::Factor::new(a)
    }

    fn scratch(self) -> Box<Scratch> {
        Scratch::new()
    }

    fn zero(self, groups: usize) -> Vec<Self::Sums> {
        vec![*ZERO_SUMS; groups]
    }

    fn add(
        self,
        bytes: &Bytes,
        factor: &Self::Factor,
        scratch: &mut Scratch,
        sums: &mut Self::Sums,
    ) {
        transform::add(Portable, bytes, factor, scratch, sums);
    }

    fn read(self, sums: &mut Self::Sums, rows: &mut [Poly; ROWS]) {
        transform::read(Portable, sums, rows);
    }
}

/// The same for every kernel of this machine; all must agree.
fn all(terms: &[Term], repeat: u32) -> Vec<Poly> {
    let scalar = run(scalar::Scalar, terms, repeat);
    assert!(run(Plain, terms, repeat) == scalar, "two primes differ from one");
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = Avx2::detect() {
        assert!(run(kernel, terms, repeat) == scalar, "avx2 differs from scalar");
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = Avx512::detect() {
        assert!(run(kernel, terms, repeat) == scalar, "avx512 differs from scalar");
    }
    scalar
}

/// H\[i\] of one row: Σ_k D\[k\]·A\[k\]\[i\], straight from the formula of A, exactly.
fn naive(row: &[u8; PARTITION_BUCKETS], a: &Poly, i: usize) -> i64 {
    let entry = |k: usize| {
        let a = |m: usize| i64::from(a[m].cast_signed());
        if k >= i { a(k - i) } else { -a(RING_DEGREE + k - i) }
    };
    row.iter().enumerate().map(|(k, byte)| i64::from(byte.cast_signed()) * entry(k)).sum()
}

fn check(terms: &[Term]) -> Result<(), TestCaseError> {
    for (r, row) in all(terms, 1).iter().enumerate() {
        for i in [0, 1, 31, 32, 33, 500 + r, 1022, 1023] {
            let sum: i64 = terms.iter().map(|(bytes, a)| naive(&bytes[r], a, i)).sum();
            prop_assert_eq!(row[i], sum as u32, "row {}, coefficient {}", r, i);
        }
    }
    Ok(())
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

fn uniform(byte: u8, word: u32) -> Term {
    (Box::new([[byte; PARTITION_BUCKETS]; ROWS]), Box::new([word; RING_DEGREE]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn agree_with_the_definition(
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
            check(&[uniform(byte, word)]).unwrap();
        }
    }
}

/// The bound: 2^10 partitions of bytes −128 against coefficients −2^31, and the other sign.
#[test]
fn the_largest_hint_is_exact() {
    for (byte, magnitude) in [(0x80, 128 << 41), (0x7f, -(127i64 << 41))] {
        for row in all(&[uniform(byte, 1 << 31)], MAX_BUCKETS / 1024) {
            for (i, word) in (0..).zip(row) {
                // n−i terms have one sign, i wrap around and have the other.
                assert_eq!(word, (magnitude * (1024 - 2 * i)) as u32, "coefficient {i}");
            }
        }
    }
}
