use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::kernel::Operand;
use super::super::noise::{answer_deviation, product_deviation};
use super::super::product::multiply_exactly;
use super::super::{
    Chain, InlineQuery, Kernel, PLANE_BYTES, PlaneTables, Variant, answer, multiply,
};
use super::*;
use crate::codec::switch_modulus;
use crate::params::STANDARD_DEVIATION;
use crate::seed::tests::seed as seed_of;

const SALT: u8 = 11;

fn random_words(rng: &mut StdRng, length: usize) -> Vec<u32> {
    (0..length).map(|_| rng.next_u32()).collect()
}

/// Roughly what the scan's secrets are like.
fn random_secret(rng: &mut StdRng) -> [i32; RING_DEGREE] {
    let unit = |word: u32| f64::from(word) / 2f64.powi(32);
    let mut normal = || (0..12).map(|_| unit(rng.next_u32())).sum::<f64>() - 6.0;
    std::array::from_fn(|_| (normal() * STANDARD_DEVIATION).round() as i32)
}

/// H'·s modulo t, the definition: row by row.
fn naive(plane: &[u32], s: &[i32; RING_DEGREE]) -> Vec<u32> {
    let row = |row: &[u32]| {
        let term = |(h, s): (&u32, &i32)| i64::from(switch_modulus(*h)) * i64::from(*s);
        row.iter().zip(s).map(term).sum::<i64>().rem_euclid(i64::from(T)) as u32
    };
    plane.chunks_exact(RING_DEGREE).map(row).collect()
}

/// What each slot of a product holds: D columns of its row, from its own number on.
fn naive_slots(plane: &[u32], s: &[i32; RING_DEGREE]) -> Box<Poly> {
    let rows = plane.len() / RING_DEGREE;
    let (d, mut slots) = (rows / 4, rings::zero());
    for (j, slot) in slots.iter_mut().enumerate() {
        let row = &plane[(j / RING_DEGREE * d + j % d) * RING_DEGREE..][..RING_DEGREE];
        let columns = (j..j + d).map(|column| column % RING_DEGREE);
        let term = |i: usize| i64::from(switch_modulus(row[i])) * i64::from(s[i]);
        *slot = columns.map(term).sum::<i64>().rem_euclid(i64::from(T)) as u32;
    }
    slots
}

/// The slots of c': that of row r in the r-th slot that is the first of a row.
fn scan_slots(scan: &[u32]) -> Box<Poly> {
    let (d, mut slots) = (scan.len() / 4, rings::zero());
    for (r, c) in scan.iter().enumerate() {
        slots[r / d * RING_DEGREE + r % d] = switch_modulus(*c);
    }
    slots
}

fn cases() -> impl Iterator<Item = (Variant, Fold)> {
    Variant::ALL.into_iter().flat_map(|variant| Fold::ALL.map(|fold| (variant, fold)))
}

struct Setup {
    elements: PublicElements,
    tables: PlaneTables,
    /// A_0 in slots.
    exact: [Box<Poly>; 2],
    plane: Vec<u32>,
    rng: StdRng,
}

impl Setup {
    fn new(variant: Variant, fold: Fold, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let elements = PublicElements::new(&seed_of(SALT, 3), variant);
        let plane = random_words(&mut rng, fold.words());
        let (tables, exact) = Chain::new(&elements).run(&plane).unwrap();
        assert_eq!(tables.bytes(), variant.table_bytes(fold));
        assert_eq!(tables.fold(), fold);
        Self { elements, tables, exact, plane, rng }
    }

    fn lookup(&mut self) -> ([i32; RING_DEGREE], InlineQuery, LookupKey) {
        let s = random_secret(&mut self.rng);
        let seed = Seed::draw(&mut self.rng).unwrap();
        let (bytes, key) = encrypt(&self.elements, seed, &s).unwrap();
        let query = InlineQuery::from_bytes(self.elements.variant(), &bytes).unwrap();
        (s, query, key)
    }
}

/// For random H, s and c, every slot of every answer is what it should be and every row c' − H'·s; all
/// kernels and groupings give the same products.
#[test]
fn answers_open_to_the_scan_less_the_product() {
    for (variant, fold) in cases() {
        let mut setup = Setup::new(variant, fold, 1);
        let lookups: Vec<_> = (0..9).map(|_| setup.lookup()).collect();
        let queries: Vec<&InlineQuery> = lookups.iter().map(|(_, query, _)| query).collect();
        let products = multiply(Kernel::best(), &setup.tables, &queries).unwrap();
        for kernel in Kernel::available() {
            let alone = multiply(kernel, &setup.tables, &queries[8..]).unwrap();
            assert!(alone == products[8..], "{}", kernel.name());
            let several = multiply(kernel, &setup.tables, &queries[2..5]).unwrap();
            assert!(several == products[2..5], "{}", kernel.name());
        }
        for ((s, _, key), product) in lookups.iter().zip(&products) {
            let scan = random_words(&mut setup.rng, fold.rows());
            let answer = answer(&scan, product).unwrap();
            assert_eq!(answer.len(), PLANE_BYTES);
            let public = setup.tables.public();
            let (slots, sums) = (key.slots(public, &answer).unwrap(), scan_slots(&scan));
            let product = naive_slots(&setup.plane, s);
            for j in 0..N {
                let expected = (sums[j] + T - product[j]) % T;
                assert_eq!(slots[j], expected, "{}, {fold:?}, slot {j}", variant.name());
            }
            let opened = key.open(public, &answer, fold).unwrap();
            assert_eq!(opened.len(), fold.rows());
            let product = naive(&setup.plane, s);
            for r in 0..fold.rows() {
                let expected = (switch_modulus(scan[r]) + T - product[r]) % T;
                assert_eq!(opened[r], expected, "{}, {fold:?}, row {r}", variant.name());
            }
        }
        assert!(multiply(Kernel::best(), &setup.tables, &[]).unwrap().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Entries and sums at the ends of their ranges among them: every row opens to c' − H'·s.
    #[test]
    fn any_folded_plane_opens_row_by_row(
        seed: u64, doublings in 1..Fold::ALL.len(), four: bool,
        extremes in prop::collection::vec(any::<usize>(), 0..2000),
    ) {
        let (variant, fold) = (Variant::ALL[usize::from(four)], Fold::ALL[doublings]);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plane = random_words(&mut rng, fold.words());
        for place in extremes {
            plane[place % fold.words()] = [0, 1, 1 << 31, u32::MAX][place % 4];
        }
        let elements = PublicElements::new(&seed_of(SALT, doublings as u32), variant);
        let tables = Chain::new(&elements).tables(&plane).unwrap();
        let s = random_secret(&mut rng);
        let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
        let query = InlineQuery::from_bytes(variant, &bytes).unwrap();
        let scan = random_words(&mut rng, fold.rows());
        let products = multiply(Kernel::best(), &tables, &[&query]).unwrap();
        let answer = answer(&scan, &products[0]).unwrap();
        let opened = key.open(tables.public(), &answer, fold).unwrap();
        let expected = scan.iter().zip(naive(&plane, &s));
        let expected = expected.map(|(c, product)| (switch_modulus(*c) + T - product) % T);
        prop_assert_eq!(opened.to_vec(), expected.collect::<Vec<_>>());
    }
}

/// The root of the mean square, and the largest magnitude, of differences modulo `modulus`.
fn deviation(differences: &[f64], modulus: f64) -> (f64, f64) {
    let centred = differences.iter().map(|d| d - (d / modulus).round() * modulus);
    let squares = centred.clone().map(|d| d * d).sum::<f64>();
    (f64::sqrt(squares / differences.len() as f64), centred.map(f64::abs).fold(0.0, f64::max))
}

/// Noise modulo q: b + A_0·k less q/t times the plaintext.
fn product_noise(setup: &Setup, query: &InlineQuery, key: &LookupKey, plain: &Poly) -> Vec<f64> {
    let products = multiply_exactly(Kernel::best(), &setup.tables, &[query]).unwrap();
    let mut phase = setup.exact.clone();
    for (((x, key), b), ntt) in phase.iter_mut().zip(&key.key).zip(&products[0]).zip(&*Q) {
        for (x, k) in x.iter_mut().zip(key.iter()) {
            *x = ntt.modulus.multiply(*x, *k);
        }
        ntt.inverse(x);
        for (x, b) in x.iter_mut().zip(b.iter()) {
            *x = ntt.modulus.add(*x, *b);
        }
    }
    let (q, t) = (i128::from(Q_BASIS.product), i128::from(T));
    let difference = |i: usize| {
        let found = Q_BASIS.compose(phase[0][i], phase[1][i]);
        i128::from(found) - (2 * i128::from(plain[i]) * q + t) / (2 * t)
    };
    (0..N).map(|i| difference(i) as f64).collect()
}

/// Noise of an answer as sent, modulo 2^29.
fn answer_noise(setup: &mut Setup, query: &InlineQuery, key: &LookupKey, plain: &Poly) -> Vec<f64> {
    let scan = random_words(&mut setup.rng, setup.tables.fold().rows());
    let products = multiply(Kernel::best(), &setup.tables, &[query]).unwrap();
    let bytes = answer(&scan, &products[0]).unwrap();
    let mut sums = scan_slots(&scan);
    PLAINTEXT.inverse(&mut sums);
    let phase = key.phase(setup.tables.public(), &bytes).unwrap();
    let difference = |i: usize| {
        let plain = f64::from((sums[i] + T - plain[i]) % T);
        f64::from(phase[i]) - plain * f64::from(1 << ANSWER_BITS) / f64::from(T)
    };
    (0..N).map(difference).collect()
}

/// The measured noise is the module's formula, neither more nor suspiciously less.
#[test]
fn noise_is_as_large_as_the_bound_says() {
    let close = |measured: f64, expected: f64| (measured / expected - 1.0).abs() < 0.04;
    for (variant, fold) in cases() {
        let mut setup = Setup::new(variant, fold, 2);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (s, query, key) = setup.lookup();
            let mut plain = naive_slots(&setup.plane, &s);
            PLAINTEXT.inverse(&mut plain);
            before.extend(product_noise(&setup, &query, &key, &plain));
            after.extend(answer_noise(&mut setup, &query, &key, &plain));
        }
        let q = Q_BASIS.product as f64;
        let (measured, largest) = deviation(&before, q);
        let (expected, limit) = (product_deviation(variant, fold), q / 2.0 / f64::from(T));
        println!(
            "{}, {} rows: product 2^{:.2}, formula 2^{:.2}, largest 2^{:.2}, limit 2^{:.2}",
            variant.name(),
            fold.rows(),
            measured.log2(),
            expected.log2(),
            largest.log2(),
            limit.log2()
        );
        assert!(close(measured, expected), "measured {measured}, formula {expected}");
        let modulus = f64::from(1 << ANSWER_BITS);
        let (measured, largest) = deviation(&after, modulus);
        let (expected, limit) = (answer_deviation(variant, fold), modulus / 2.0 / f64::from(T));
        println!(
            "answer {measured:.2}, formula {expected:.2}, largest {largest:.1}, limit {limit:.1}: \
             {:.1} deviations",
            limit / measured
        );
        assert!(close(measured, expected), "measured {measured}, formula {expected}");
        assert!(largest < limit / 2.0);
    }
}

#[test]
fn lookups_are_fresh_and_reproducible() {
    let elements = PublicElements::new(&seed_of(SALT, 0), Variant::Two);
    let s = [1; RING_DEGREE];
    let mut rng = StdRng::seed_from_u64(5);
    let mut lookup = || encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap().0;
    let (first, second) = (lookup(), lookup());
    assert_eq!(first.len(), Variant::Two.query_bytes());
    assert_ne!(first, second);
    let mut rng = StdRng::seed_from_u64(5);
    assert_eq!(first, encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap().0);
}

/// All slots of one of a query's polynomials modulo one of q's primes.
fn slots(query: &InlineQuery, prime: usize, part: usize) -> Box<Poly> {
    let half = |half: &Vec<Operand>| half[part][..HALF].to_vec();
    query.operands[prime].each_ref().map(half).concat().try_into().unwrap()
}

/// b + a·k in coefficients, less P·rot_B(k) for the key (part 0).
fn phase_of(
    elements: &PublicElements,
    query: &InlineQuery,
    key: &LookupKey,
    prime: usize,
    part: usize,
) -> Box<Poly> {
    let (ntt, k) = (&Q[prime], &key.key[prime]);
    let (m, step) = (ntt.modulus, elements.variant().baby_steps());
    let mut phase = slots(query, prime, part);
    for j in 0..N {
        let a = match part {
            0 => elements.key[prime][j],
            part => elements.encryptions[part - 1][prime][j],
        };
        phase[j] = m.add(phase[j], m.multiply(a, k[j]));
        if part == 0 {
            let rotated = k[j / HALF * HALF + (j + step) % HALF];
            let special = m.reduce(SPECIAL_BASIS.product);
            phase[j] = m.subtract(phase[j], m.multiply(special, rotated));
        }
    }
    ntt.inverse(&mut phase);
    phase
}

/// round(q/t·encode(rot(s))) modulo a prime, by wide division.
fn message_of(s: &[i32; RING_DEGREE], rotation: usize, m: Modulus) -> Box<Poly> {
    let mut plain = rings::zero();
    for (j, slot) in plain.iter_mut().enumerate() {
        *slot = PLAINTEXT.modulus.signed(s[(j % HALF + rotation) % RING_DEGREE]);
    }
    PLAINTEXT.inverse(&mut plain);
    let (q, t) = (u128::from(Q_BASIS.product), u128::from(T));
    for x in plain.iter_mut() {
        *x = ((2 * q * u128::from(*x) + t) / (2 * t) % u128::from(m.value)) as u32;
    }
    plain
}

#[test]
fn encryption_is_the_formula() {
    for variant in Variant::ALL {
        let elements = PublicElements::new(&seed_of(SALT, 1), variant);
        let mut rng = StdRng::seed_from_u64(6);
        let s = random_secret(&mut rng);
        let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
        let query = InlineQuery::from_bytes(variant, &bytes).unwrap();
        for part in 0..=variant.baby_steps() {
            // What is left modulo each prime of q is one small error.
            let errors = [0, 1].map(|prime| {
                let m = Q[prime].modulus;
                let mut rest = phase_of(&elements, &query, &key, prime, part);
                if part > 0 {
                    let message = message_of(&s, part - 1, m);
                    for (x, message) in rest.iter_mut().zip(message.iter()) {
                        *x = m.subtract(*x, *message);
                    }
                }
                let centred =
                    |x: &u32| i64::from(*x) - i64::from(m.value * u32::from(*x > 1 << 27));
                rest.iter().map(centred).collect::<Vec<i64>>()
            });
            assert_eq!(errors[0], errors[1]);
            assert!(errors[0].iter().all(|e| e.abs() <= 30));
            let variance = errors[0].iter().map(|e| e * e).sum::<i64>() as f64 / N as f64;
            assert!((variance / 10.323 - 1.0).abs() < 0.12, "variance {variance}");
        }
    }
}

#[test]
fn misuse_is_refused() {
    let elements = PublicElements::new(&seed_of(SALT, 0), Variant::Two);
    let mut rng = StdRng::seed_from_u64(8);
    let mut s = [0; RING_DEGREE];
    s[5] = -(T as i32);
    let refused = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap_err();
    assert_eq!(refused, InlineError::Range { what: "secret of the scan" });
    s[5] = 0;
    let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
    let public = PublicPart(rings::zero());
    for length in [0, PLANE_BYTES - 1, PLANE_BYTES + 1] {
        let opened = key.open(&public, &vec![0; length], Fold::NONE);
        assert!(matches!(opened, Err(InlineError::Size { .. })));
    }
    let other = InlineQuery::from_bytes(Variant::Four, &bytes);
    assert!(matches!(other, Err(InlineError::Size { .. })));
    assert_eq!(format!("{key:?}"), "LookupKey([redacted])");
    assert_eq!(format!("{:?}", Seed::draw(&mut rng).unwrap()), "Seed([redacted])");
}
