use opaque_pir::geometry::Geometry;
use opaque_pir::inline::arithmetic::multiply_exactly;
use opaque_pir::inline::{Chain, Fold, InlineQuery, PUBLIC_BYTES, PlaneTables, answer, multiply};
use opaque_pir::machine::VectorKernel;
use opaque_pir::params::{DELTA, STANDARD_DEVIATION};
use opaque_pir::seed::{IndexSeed, Salt};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::noise::{opened_deviation, product_deviation};
use super::*;

/// A seed for tests in which table, epoch and geometry do not matter.
fn seed(column: u32) -> IndexSeed {
    let geometry = Geometry::new(4096, 2048, 1).unwrap();
    IndexSeed::new(&Salt([11; 32]), "t", 1, column, &geometry)
}

fn random_words(rng: &mut StdRng, length: usize) -> Vec<u32> {
    (0..length).map(|_| rng.next_u32()).collect()
}

/// A secret similar to those of scans.
fn random_secret(rng: &mut StdRng) -> [i32; RING_DEGREE] {
    let unit = |word: u32| f64::from(word) / 2f64.powi(32);
    let mut normal = || (0..12).map(|_| unit(rng.next_u32())).sum::<f64>() - 6.0;
    std::array::from_fn(|_| (normal() * STANDARD_DEVIATION).round() as i32)
}

/// H·s modulo 2^32, the definition: row by row.
fn naive(plane: &[u32], s: &[i32; RING_DEGREE]) -> Vec<u32> {
    let row = |row: &[u32]| {
        let terms = row.iter().zip(s).map(|(h, s)| h.wrapping_mul(*s as u32));
        terms.fold(0, u32::wrapping_add)
    };
    plane.chunks_exact(RING_DEGREE).map(row).collect()
}

/// The rows of all kinds of planes.
const ROWS: [usize; 5] = [4096, 2048, 1024, 512, 256];

struct Setup {
    elements: PublicElements,
    tables: PlaneTables,
    plane: Vec<u32>,
    rng: StdRng,
}

impl Setup {
    fn new(rows: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let plane = random_words(&mut rng, rows * RING_DEGREE);
        Self::of(plane, rng)
    }

    fn of(plane: Vec<u32>, rng: StdRng) -> Self {
        let elements = PublicElements::new(&seed(3));
        let tables = Chain::new(&elements).tables(&plane).unwrap();
        let rows = plane.len() / RING_DEGREE;
        let (rings, fold) = rings_of(rows).unwrap();
        assert_eq!((tables.bytes(), tables.rows()), (rings * fold.table_bytes(), rows));
        Self { elements, tables, plane, rng }
    }

    fn rows(&self) -> usize {
        self.tables.rows()
    }

    fn lookup(&mut self) -> ([i32; RING_DEGREE], InlineQuery, LookupKey) {
        let s = random_secret(&mut self.rng);
        let seed = Seed::draw(&mut self.rng).unwrap();
        let (bytes, key) = encrypt(&self.elements, seed, &s).unwrap();
        (s, InlineQuery::from_bytes(&bytes).unwrap(), key)
    }

    /// Sums whose bytes are `bytes` after H·s is subtracted, without the scan's noise.
    fn sums(&self, s: &[i32; RING_DEGREE], product: &[u32], bytes: &[u8]) -> Vec<u32> {
        let exact = naive(&self.plane, s);
        let rows = bytes.iter().zip(exact).zip(product);
        let sum = |((byte, exact), product): ((&u8, u32), &u32)| {
            (u32::from(*byte) * DELTA).wrapping_add(exact).wrapping_sub(*product)
        };
        rows.map(sum).collect()
    }
}

/// For random H, s and bytes, every row of every answer is correct; all kernels and groupings give
/// the same products.
#[test]
fn answers_open_to_the_scan_less_the_product() {
    for rows in ROWS {
        let mut setup = Setup::new(rows, 1);
        let lookups: Vec<_> = (0..9).map(|_| setup.lookup()).collect();
        let queries: Vec<&InlineQuery> = lookups.iter().map(|(_, query, _)| query).collect();
        let products = multiply(VectorKernel::best(), &setup.tables, &queries).unwrap();
        for kernel in VectorKernel::available() {
            let alone = multiply(kernel, &setup.tables, &queries[8..]).unwrap();
            assert!(alone == products[8..], "{}", kernel.name());
            let several = multiply(kernel, &setup.tables, &queries[2..5]).unwrap();
            assert!(several == products[2..5], "{}", kernel.name());
        }
        for (((s, _, key), product), row_bits) in
            lookups.iter().zip(&products).zip([9, 10, 12].iter().cycle())
        {
            let bytes: Vec<u8> =
                random_words(&mut setup.rng, rows).iter().map(|word| *word as u8).collect();
            let answer = answer(&setup.sums(s, product, &bytes), *row_bits);
            assert_eq!(answer.len(), rows * *row_bits as usize / 8);
            let opened = key.open(setup.tables.public(), &answer, *row_bits, rows).unwrap();
            assert_eq!(opened.to_vec(), bytes, "{rows} rows, {row_bits} bits a row");
        }
        assert!(multiply(VectorKernel::best(), &setup.tables, &[]).unwrap().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The inputs include extreme entries.
    #[test]
    fn any_plane_opens_row_by_row(
        seed: u64, number in 0..ROWS.len(), row_bits in 9..=14u32,
        extremes in prop::collection::vec(any::<usize>(), 0..2000),
    ) {
        let rows = ROWS[number];
        let mut rng = StdRng::seed_from_u64(seed);
        let mut plane = random_words(&mut rng, rows * RING_DEGREE);
        let words = plane.len();
        for place in extremes {
            plane[place % words] = [0, 1, 1 << 31, u32::MAX][place % 4];
        }
        let mut setup = Setup::of(plane, rng);
        let (s, query, key) = setup.lookup();
        let products = multiply(VectorKernel::best(), &setup.tables, &[&query]).unwrap();
        let bytes: Vec<u8> =
            random_words(&mut setup.rng, rows).iter().map(|word| *word as u8).collect();
        let answer = answer(&setup.sums(&s, &products[0], &bytes), row_bits);
        let opened = key.open(setup.tables.public(), &answer, row_bits, rows).unwrap();
        prop_assert_eq!(opened.to_vec(), bytes);
    }
}

/// The root of the mean square, and the largest magnitude.
fn deviation(differences: &[f64]) -> (f64, f64) {
    let squares = differences.iter().map(|d| d * d).sum::<f64>();
    let largest = differences.iter().map(|d| d.abs()).fold(0.0, f64::max);
    ((squares / differences.len() as f64).sqrt(), largest)
}

/// The public half of a product before rounding, in slots: A_0 = D_0·a_key + Σ_b α_{0,b}·a_b, from
/// the tables of one ring. They have 128 blocks of 16 slots, each of which begins with a line for
/// D_0, α_{0,0} and α_{0,1}.
fn public_half(setup: &Setup) -> [Box<Poly>; 2] {
    let tables: Vec<&[u8]> = setup.tables.as_bytes().collect();
    let elements = &setup.elements;
    let [first, second] = elements.encryptions();
    [0, 1].map(|prime| {
        let (m, table) = (Q[prime].modulus, tables[prime]);
        let blocks = table.chunks_exact(table.len() / 128).map(|block| &block[..3 * 16 * 3]);
        let mut lines = vec![[0; 48]; 128];
        for (lines, block) in lines.iter_mut().zip(blocks) {
            unpack("a table", block, Q_BITS, m.value, lines).unwrap();
        }
        let publics = [elements.key(), first, second].map(|element| &element[prime]);
        let term = |slot: usize, line: usize| {
            m.multiply(lines[slot / 16][16 * line + slot % 16], publics[line][slot])
        };
        let sum = |slot| (0..3).map(|line| term(slot, line)).fold(0, |x, y| m.add(x, y));
        Box::new(std::array::from_fn(sum))
    })
}

/// Noise as a fraction of q: b + A_0·k minus q/2^32·(H·s), row by row of one ring.
fn product_noise(
    setup: &Setup,
    fold: Fold,
    lookup: &([i32; 1024], InlineQuery, LookupKey),
) -> Vec<f64> {
    let (s, query, key) = lookup;
    let products = multiply_exactly(VectorKernel::best(), &setup.tables, &[query]).unwrap();
    let mut phase = public_half(setup);
    for (((x, key), b), ntt) in phase.iter_mut().zip(&key.key).zip(&products[0][0]).zip(&*Q) {
        for (x, k) in x.iter_mut().zip(key.iter()) {
            *x = ntt.modulus.multiply(*x, *k);
        }
        ntt.inverse(x);
        for (x, b) in x.iter_mut().zip(b.iter()) {
            *x = ntt.modulus.add(*x, *b);
        }
    }
    let q = i128::from(BASIS.product);
    let difference = |(r, exact): (usize, u32)| {
        let place = fold.coefficient_of(r);
        let found = i128::from(BASIS.compose(phase[0][place], phase[1][place]));
        let off = ((found << 32) - i128::from(exact) * q).rem_euclid(q << 32);
        let off = if 2 * off > q << 32 { off - (q << 32) } else { off };
        off as f64 / (q << 32) as f64
    };
    naive(&setup.plane, s).into_iter().enumerate().map(difference).collect()
}

/// Noise of the decrypted values as a fraction of the margin. Rows have 18 bits, so that their
/// rounding is negligible.
fn opened_noise(setup: &Setup, lookup: &([i32; 1024], InlineQuery, LookupKey)) -> Vec<f64> {
    let (s, query, key) = lookup;
    let product = &multiply(VectorKernel::best(), &setup.tables, &[query]).unwrap()[0];
    let answer = answer(&setup.sums(s, product, &vec![0; setup.rows()]), 18);
    let phase = key.phase(setup.tables.public(), &answer, 18, setup.rows()).unwrap();
    let centred = |value: &u32| f64::from((value << 14).cast_signed() >> 14) / 512.0;
    phase.iter().map(centred).collect()
}

/// The measured noise matches the module's formula in both directions.
#[test]
fn noise_is_as_large_as_the_formula_says() {
    let close = |measured: f64, expected: f64| (measured / expected - 1.0).abs() < 0.04;
    for fold in Fold::ALL {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut setup = Setup::new(fold.rows(), 2);
        for _ in 0..6 * fold.factor() {
            let lookup = setup.lookup();
            before.extend(product_noise(&setup, fold, &lookup));
            after.extend(opened_noise(&setup, &lookup));
        }
        let (measured, largest) = deviation(&before);
        let expected = product_deviation(fold);
        println!(
            "{} rows: product {:.4} of the margin, formula {:.4}, largest {:.1} deviations",
            fold.rows(),
            measured * 512.0,
            expected * 512.0,
            largest / measured
        );
        assert!(close(measured, expected), "measured {measured}, formula {expected}");
        let (measured, largest) = deviation(&after);
        let expected = opened_deviation(fold);
        println!("opened {measured:.4} of the margin, formula {expected:.4}, largest {largest:.3}");
        assert!(close(measured, expected), "measured {measured}, formula {expected}");
    }
}

/// A million rows: the worst is as far out as expected for so many, and far from the 8.2 deviations
/// that every geometry permits.
#[test]
fn a_million_openings_stay_where_the_bound_says() {
    let mut setup = Setup::new(N, 7);
    let mut noise = Vec::new();
    while noise.len() < 1_000_000 {
        let lookup = setup.lookup();
        noise.extend(opened_noise(&setup, &lookup));
    }
    let (measured, largest) = deviation(&noise);
    let worst = largest / measured;
    println!("{} openings: {measured:.4} of the margin, worst {worst:.2} deviations", noise.len());
    assert!((measured / opened_deviation(Fold::NONE) - 1.0).abs() < 0.04, "{measured}");
    // The largest of a million normal numbers is between 4.2 and 6.5 in all but 1 in 10,000 trials.
    assert!((4.2..6.5).contains(&worst), "{worst} deviations");
}

#[test]
fn lookups_are_fresh_and_reproducible() {
    let elements = PublicElements::new(&seed(0));
    let s = [1; RING_DEGREE];
    let mut rng = StdRng::seed_from_u64(5);
    let mut lookup = || encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap().0;
    let (first, second) = (lookup(), lookup());
    assert_eq!(first.len(), QUERY_BYTES);
    assert_ne!(first, second);
    let mut rng = StdRng::seed_from_u64(5);
    assert_eq!(first, encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap().0);
}

/// b + a·k in coefficients, minus 2^25·τ(k) for the key (part 0), from a query's bytes.
fn phase_of(
    elements: &PublicElements,
    query: &[u8],
    key: &LookupKey,
    prime: usize,
    part: usize,
) -> Box<Poly> {
    let (ntt, k) = (&Q[prime], &key.key[prime]);
    let m = ntt.modulus;
    let (mut b, mut phase) = ([0; N], Box::new([0; N]));
    let polynomial = query.chunks_exact(QUERY_BYTES / 6).nth(2 * part + prime).unwrap();
    unpack("a query", polynomial, Q_BITS, m.value, &mut b).unwrap();
    for j in 0..N {
        let a = match part {
            0 => elements.key()[prime][j],
            part => elements.encryptions()[part - 1][prime][j],
        };
        phase[j] = m.add(b[j], m.multiply(a, k[j]));
        if part == 0 {
            let rotated = k[j / HALF * HALF + (j + 1) % HALF];
            let dropped = m.reduce(1 << DROPPED_BITS);
            phase[j] = m.subtract(phase[j], m.multiply(dropped, rotated));
        }
    }
    ntt.inverse(&mut phase);
    phase
}

/// round(q/2^27·s(X^±2)) by wide division.
fn message_of(s: &[i32; RING_DEGREE], inverted: bool) -> Vec<i64> {
    let mut out = vec![0; N];
    for (i, s) in s.iter().enumerate() {
        let exponent = if inverted { (2 * N - 2 * i) % (2 * N) } else { 2 * i };
        let s = if exponent < N { i128::from(*s) } else { -i128::from(*s) };
        out[exponent % N] = ((2 * s * i128::from(BASIS.product) + (1 << 27)) >> 28) as i64;
    }
    out
}

#[test]
fn encryption_is_the_formula() {
    let elements = PublicElements::new(&seed(1));
    let mut rng = StdRng::seed_from_u64(6);
    let s = random_secret(&mut rng);
    let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
    for part in 0..3 {
        // The remainder modulo q is one small error.
        let [x, y] = [0, 1].map(|prime| phase_of(&elements, &bytes, &key, prime, part));
        let message = if part == 0 { vec![0; N] } else { message_of(&s, part == 2) };
        let errors: Vec<i64> =
            (0..N).map(|i| BASIS.compose_centred(x[i], y[i]) - message[i]).collect();
        assert!(errors.iter().all(|e| e.abs() <= 30), "part {part}");
        let variance = errors.iter().map(|e| e * e).sum::<i64>() as f64 / N as f64;
        assert!((variance / 10.323 - 1.0).abs() < 0.16, "part {part}: variance {variance}");
    }
}

#[test]
fn misuse_is_refused() {
    let elements = PublicElements::new(&seed(0));
    let mut rng = StdRng::seed_from_u64(8);
    let mut s = [0; RING_DEGREE];
    s[5] = -513;
    let refused = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap_err();
    assert_eq!(refused, InlineError::Range { what: "secret of the scan" });
    s[5] = -512;
    let (bytes, key) = encrypt(&elements, Seed::draw(&mut rng).unwrap(), &s).unwrap();
    assert!(InlineQuery::from_bytes(&bytes[1..]).is_err());
    let public = PublicPart::from_bytes(&[0; PUBLIC_BYTES], 2048).unwrap();
    for (length, rows) in [(0, 2048), (2559, 2048), (2561, 2048), (5120, 4096), (3840, 3072)] {
        let opened = key.open(&public, &vec![0; length], 10, rows);
        assert!(matches!(opened, Err(InlineError::Size { .. })));
    }
    assert_eq!(format!("{key:?}"), "LookupKey([redacted])");
    assert_eq!(format!("{:?}", Seed::draw(&mut rng).unwrap()), "Seed([redacted])");
}
