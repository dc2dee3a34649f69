//! The client's output for fixed randomness. A digest changes only with a format or the
//! mathematics, and such a change affects every deployed client and epoch.

use std::convert::Infallible;

use opaque_pir::geometry::Geometry;
use opaque_pir::inline::{PUBLIC_BYTES, PublicElements, PublicPart};
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_secrets::inline::{Seed, encrypt};
use rand::{TryCryptoRng, TryRng};

/// Bytes that count up.
struct Counter(u8);

impl TryRng for Counter {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

/// For this test only, whose secrets are not secret.
impl TryCryptoRng for Counter {}

fn stream(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[track_caller]
fn check(bytes: &[u8], digest: &str) {
    assert_eq!(blake3::hash(bytes).to_hex().as_str(), digest);
}

#[test]
fn queries_and_opened_answers_are_the_known_ones() {
    let geometry = Geometry::new(4096, 2048, 16).unwrap();
    let salt = Salt(*b"opaque known-answer vectors salt");
    let elements = PublicElements::new(&IndexSeed::new(&salt, "weather", 11, 7, &geometry));
    let seed = Seed::draw(&mut Counter(0)).unwrap();
    let mut secret = [0; 1024];
    for (coefficient, byte) in secret.iter_mut().zip(stream("small secret", 1024)) {
        *coefficient = i32::from(byte.cast_signed());
    }
    let (bytes, key) = encrypt(&elements, seed, &secret).unwrap();
    check(&bytes, "8db82ab7e60bcf43084cb8e7e9e9134d695a68d10b48bef52c03d06a388a5f1e");
    for (rows, opened) in [
        (4096_usize, "f1f8c23b8efee0947b89378e13b2e87625e702d73b3c36262feb0955d48e57e2"),
        (512, "826fadcb5e8849211d0598e30b217d5f9cfcf095ccf5d5950c98b2d1a76b2ea4"),
    ] {
        let public = stream("public part", rows.div_ceil(2048) * PUBLIC_BYTES);
        let public = PublicPart::from_bytes(&public, rows).unwrap();
        let answer = stream("answer", rows * 10 / 8);
        check(&key.open(&public, &answer, 10, rows).unwrap(), opened);
    }
}
