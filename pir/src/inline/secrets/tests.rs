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
use crate::hint::PLANE_WORDS;
use crate::layout::Salt;
use crate::params::STANDARD_DEVIATION;

const SALT: Salt = Salt([11; 32]);

fn random_words(rng: &mut StdRng, length: usize) -> Vec<u32> {
    (0..length).map(|_| rng.next_u32()).collect()
}

/// Roughly what the scan's secrets are like.
fn random_secret(rng: &mut StdRng) -> [i32; RING_DEGREE] {
    let unit = |word: u32| f64::from(word) / 2f64.powi(32);
    let mut normal = || (0..12).map(|_| unit(rng.next_u32())).sum::<f64>() - 6.0;
    std::array::from_fn(|_| (normal() * STANDARD_DEVIATION).round() as i32)
}

/// H'·s modulo t, the definition.
fn naive(plane: &[u32], s: &[i32; RING_DEGREE]) -> Box<Poly> {
    let row = |row: &[u32]| {
        let term = |(h, s): (&u32, &i32)| i64::from(switch_modulus(*h)) * i64::from(*s);
        row.iter().zip(s).map(term).sum::<i64>().rem_euclid(i64::from(T)) as u32
    };
    plane.chunks_exact(RING_DEGREE).map(row).collect::<Vec<_>>().try_into().unwrap()
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
    fn new(variant: Variant, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let elements = PublicElements::new(&SALT, 3, variant);
        let plane = random_words(&mut rng, PLANE_WORDS);
        let (tables, exact) = Chain::new(&elements).run(&plane).unwrap();
        assert_eq!(tables.bytes(), variant.table_bytes());
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

/// For random H, s and c, every slot of every answer is c' − H'·s; all kernels and groupings give
/// the same products.
#[test]
fn answers_open_to_the_scan_less_the_product() {
    for variant in Variant::ALL {
        let mut setup = Setup::new(variant, 1);
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
            let scan = random_words(&mut setup.rng, N);
            let answer = answer(&scan, product).unwrap();
            assert_eq!(answer.len(), PLANE_BYTES);
            let opened = key.open(setup.tables.public(), &answer).unwrap();
            let product = naive(&setup.plane, s);
            for r in 0..N {
                let expected = (switch_modulus(scan[r]) + T - product[r]) % T;
                assert_eq!(opened[r], expected, "{}, row {r}", variant.name());
            }
        }
        assert!(multiply(Kernel::best(), &setup.tables, &[]).unwrap().is_empty());
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
    let scan = random_words(&mut setup.rng, N);
    let products = multiply(Kernel::best(), &setup.tables, &[query]).unwrap();
    let bytes = answer(&scan, &products[0]).unwrap();
    let mut sums: Box<Poly> =
        scan.iter().map(|c| switch_modulus(*c)).collect::<Vec<_>>().try_into().unwrap();
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
    for variant in Variant::ALL {
        let mut setup = Setup::new(variant, 2);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (s, query, key) = setup.lookup();
            let mut plain = naive(&setup.plane, &s);
            PLAINTEXT.inverse(&mut plain);
            before.extend(product_noise(&setup, &query, &key, &plain));
            after.extend(answer_noise(&mut setup, &query, &key, &plain));
        }
        let q = Q_BASIS.product as f64;
        let (measured, largest) = deviation(&before, q);
        let (expected, limit) = (product_deviation(variant), q / 2.0 / f64::from(T));
        println!(
            "{}: product 2^{:.2}, formula 2^{:.2}, largest 2^{:.2}, limit 2^{:.2}",
            variant.name(),
            measured.log2(),
            expected.log2(),
            largest.log2(),
            limit.log2()
        );
        assert!(close(measured, expected), "measured {measured}, formula {expected}");
        let modulus = f64::from(1 << ANSWER_BITS);
        let (measured, largest) = deviation(&after, modulus);
        let (expected, limit) = (answer_deviation(variant), modulus / 2.0 / f64::from(T));
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
    let elements = PublicElements::new(&SALT, 0, Variant::Two);
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
        let elements = PublicElements::new(&SALT, 1, variant);
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
    let elements = PublicElements::new(&SALT, 0, Variant::Two);
    let mut rng = StdRng::seed_from_u64(8);
    let mut s = [0; RING_DEGREE];
    s[5] = -(T as i32);
    let refused = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap_err();
    assert_eq!(refused, InlineError::Range { what: "secret of the scan" });
    s[5] = 0;
    let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
    let public = PublicPart(rings::zero());
    for length in [0, PLANE_BYTES - 1, PLANE_BYTES + 1] {
        assert!(matches!(key.open(&public, &vec![0; length]), Err(InlineError::Size { .. })));
    }
    let other = InlineQuery::from_bytes(Variant::Four, &bytes);
    assert!(matches!(other, Err(InlineError::Size { .. })));
    assert_eq!(format!("{key:?}"), "LookupKey([redacted])");
    assert_eq!(format!("{:?}", Seed::draw(&mut rng).unwrap()), "Seed([redacted])");
}
