//! The calls of the client's half that are traced, and the controls.

use std::hint::black_box;

use opaque_pir::codec::{Material, QueryWriter, recover_byte};
use opaque_pir::geometry::{Geometry, round_word};
use opaque_pir::inline::{PUBLIC_BYTES, PublicElements, PublicPart, QUERY_BYTES};
use opaque_pir::params::{PLAINTEXT_MODULUS, RING_DEGREE};
use opaque_pir::ring::{Multiplier, Transformed, public_element};
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_secrets::inline::{LookupKey, Seed, encrypt};
use opaque_secrets::sampling::{RING_ERRORS, SCAN_ERRORS, Stream, Ternary};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Secrets of a scenario, numbered from 0: the first is all zeros, the second extreme, the others
/// random.
pub(crate) const SECRETS: u8 = 4;

/// Prepares a scenario with the secret of that number, and returns the code to trace.
pub(crate) type Scenario = fn(u8) -> Box<dyn FnOnce()>;

/// The client's half.
pub(crate) const CLIENT: [(&str, Scenario); 6] = [
    ("encrypt", encrypting),
    ("open_with_other_keys", opening_with_keys),
    ("open_other_answers", opening_answers),
    ("sample", sampling),
    ("scan", scanning),
    ("recover_byte", recovering),
];

/// A control that branches on its secret.
pub(crate) const BRANCHES: (&str, Scenario) = ("control_branches", branching);
/// A control that divides its secret.
pub(crate) const DIVIDES: (&str, Scenario) = ("control_divides", dividing);

/// The scenario of that name, a control or not.
pub(crate) fn find(name: &str) -> Option<Scenario> {
    let mut all = CLIENT.into_iter().chain([BRANCHES, DIVIDES]);
    all.find(|(found, _)| *found == name).map(|(_, scenario)| scenario)
}

/// The whole of [`encrypt`], with another seed and another secret of the scan.
fn encrypting(secret: u8) -> Box<dyn FnOnce()> {
    let (elements, seed, s) = (elements(), draw(secret), scan_secret(secret));
    Box::new(move || drop(black_box(encrypt(&elements, seed, &s).unwrap())))
}

/// [`LookupKey::open`] of one answer with another key, which also changes the opened bytes.
fn opening_with_keys(secret: u8) -> Box<dyn FnOnce()> {
    open(key(secret), bytes(3, ANSWER_BYTES))
}

/// [`LookupKey::open`] of another answer with one key.
fn opening_answers(secret: u8) -> Box<dyn FnOnce()> {
    open(key(3), bytes(secret, ANSWER_BYTES))
}

/// Every distribution that a client samples.
fn sampling(secret: u8) -> Box<dyn FnOnce()> {
    let seed: Box<[u8; 32]> = bytes(secret, 32).try_into().unwrap();
    let mut samples = Box::new([[0; RING_DEGREE]; 3]);
    Box::new(move || {
        let [scan, ring, ternary] = &mut *samples;
        let mut stream = Stream::new(&seed, 5);
        stream.fill(&SCAN_ERRORS, scan, |value, sample| *value = sample);
        stream.fill(&RING_ERRORS, ring, |value, sample| *value = sample);
        stream.fill(&Ternary, ternary, |value, sample| *value = sample);
        drop(black_box(samples));
    })
}

/// One block of a query to the scan, round(a·s + e), and how it is written.
fn scanning(secret: u8) -> Box<dyn FnOnce()> {
    let (geometry, s) = (geometry(), scan_secret(secret));
    let seed: Box<[u8; 32]> = bytes(secret, 32).try_into().unwrap();
    let a = Transformed::new(&public_element(&index_seed(), 0));
    let mut writer = QueryWriter::new(&geometry, EPOCH, Material::Inline, 1).unwrap();
    let (mut block, encrypted) = (Box::new([0; RING_DEGREE]), vec![0; QUERY_BYTES]);
    Box::new(move || {
        Multiplier::new(&s).times_transformed(&a, &mut block);
        Stream::new(&seed, 0).fill(&SCAN_ERRORS, block.as_mut_slice(), |b, error| {
            *b = b.wrapping_add(error.cast_unsigned());
        });
        let bits = black_box(geometry.rounding().bucket_bits);
        for b in block.iter() {
            black_box(round_word(*b, bits));
        }
        writer.lookup(&*block, &encrypted).unwrap();
        drop(black_box((block, writer)));
    })
}

/// Bytes of answers with registered keys.
fn recovering(secret: u8) -> Box<dyn FnOnce()> {
    let words = bytes(secret, 8 * 256);
    let residue = |word: &[u8; 4]| match secret {
        1 => PLAINTEXT_MODULUS - 1,
        _ => u32::from_le_bytes(*word) % PLAINTEXT_MODULUS,
    };
    let residues: Vec<u32> = words.as_chunks().0.iter().map(residue).collect();
    Box::new(move || {
        for [c, hs] in residues.as_chunks().0 {
            black_box(recover_byte(*c, *hs));
        }
    })
}

/// Executes more instructions if the secret is odd.
fn branching(secret: u8) -> Box<dyn FnOnce()> {
    Box::new(move || {
        if black_box(secret) & 1 == 1 {
            black_box(secret);
        }
    })
}

/// Executes the same instructions for every secret, among them a division.
fn dividing(secret: u8) -> Box<dyn FnOnce()> {
    Box::new(move || {
        black_box(black_box(1000 + u32::from(secret)) / black_box(7));
    })
}

const EPOCH: u64 = 11;
/// Rows of the plane that is opened: the largest, of two rings.
const ROWS: usize = 4096;
/// Bits of each row in an answer.
const ROW_BITS: u32 = 12;
const ANSWER_BYTES: usize = ROWS * ROW_BITS as usize / 8;

fn geometry() -> Geometry {
    Geometry::new(4096, 1024, 1).unwrap()
}

fn index_seed() -> IndexSeed {
    IndexSeed::new(&Salt([7; 32]), "traced", EPOCH, 0, &geometry())
}

fn elements() -> PublicElements {
    PublicElements::new(&index_seed())
}

/// Bytes that follow from a secret's number.
fn bytes(secret: u8, length: usize) -> Vec<u8> {
    // Every secret starts as zeros, because the allocator handles zeros differently from other
    // bytes.
    let mut bytes = vec![0; length];
    match secret {
        0 => {}
        1 => bytes.fill(0xff),
        _ => blake3::Hasher::new().update(&[secret]).finalize_xof().fill(&mut bytes),
    }
    bytes
}

fn draw(secret: u8) -> Seed {
    Seed::draw(&mut StdRng::seed_from_u64(secret.into())).unwrap()
}

/// Coefficients of at most 102 in magnitude, as in the scan's distribution.
fn scan_secret(secret: u8) -> Box<[i32; RING_DEGREE]> {
    let mut s = Box::new([0; RING_DEGREE]);
    match secret {
        0 => {}
        1 => s.as_chunks_mut().0.fill([102, -102]),
        _ => Stream::new(&[secret; 32], 0)
            .fill(&SCAN_ERRORS, s.as_mut_slice(), |value, sample| *value = sample),
    }
    s
}

fn key(secret: u8) -> LookupKey {
    let (_, key) = encrypt(&elements(), draw(secret), &scan_secret(secret)).unwrap();
    key
}

fn open(key: LookupKey, answer: Vec<u8>) -> Box<dyn FnOnce()> {
    let public = bytes(2, 2 * PUBLIC_BYTES);
    let public = PublicPart::from_bytes(&public, ROWS).unwrap();
    Box::new(move || drop(black_box(key.open(&public, &answer, ROW_BITS, ROWS).unwrap())))
}
