//! The client's half of a batch of lookups.

use opaque_client::lwe::{self, ScanQuery, Target};
use opaque_pir::geometry::round_word;
use opaque_secrets::inline::{self, LookupKey};
use rand::{Rng, rngs::StdRng};

use super::{
    Subject,
    shards::{Answer, Query},
};
use crate::error::BenchError;

/// A bucket to look up, and the randomness to do it with.
pub(crate) struct Intent {
    bucket: u32,
    scan: lwe::Seed,
    inline: inline::Seed,
}

impl Intent {
    /// Any bucket.
    pub(crate) fn draw(subject: &Subject, rng: &mut StdRng) -> Self {
        let bucket = rng.next_u32() % subject.geometry.buckets();
        let scan = lwe::Seed::draw(rng).unwrap_or_else(|never| match never {});
        let inline = inline::Seed::draw(rng).unwrap_or_else(|never| match never {});
        Self { bucket, scan, inline }
    }

    /// What is sent, and what opens the answer.
    pub(crate) fn encrypt(self, subject: &Subject) -> Result<(Query, Opener), BenchError> {
        let Self { bucket, scan, inline } = self;
        let Subject { geometry, seed, .. } = subject;
        let target = Target { seed, geometry, bucket };
        let ScanQuery { mut lwe, secret } = lwe::encrypt(target, scan);
        // As the codec sends them.
        let bits = geometry.rounding().bucket_bits;
        lwe.iter_mut().for_each(|word| *word = round_word(*word, bits));
        let (inline, key) = inline::encrypt(&subject.elements, inline, &secret)?;
        Ok((Query { lwe, bits, inline }, Opener { bucket, key }))
    }
}

/// What opens one answer.
pub(crate) struct Opener {
    bucket: u32,
    key: LookupKey,
}

impl Opener {
    /// The bucket's bytes as they are stored.
    pub(crate) fn open(&self, subject: &Subject, answer: &Answer) -> Result<Vec<u8>, BenchError> {
        let mut bytes = Vec::with_capacity(subject.geometry.bucket_bytes());
        let bits = subject.geometry.rounding().row_bits;
        for (plane, answer) in subject.planes.iter().zip(&answer.planes) {
            let rows = self.key.open(plane.public(), answer, bits, plane.rows())?;
            bytes.extend_from_slice(&rows);
        }
        Ok(bytes)
    }

    /// Compares what was opened with the matrix.
    pub(crate) fn check(&self, subject: &Subject, opened: &[u8]) -> Result<(), BenchError> {
        let bucket = self.bucket;
        for (row, expected) in subject.bucket(bucket).enumerate() {
            let found = opened.get(row).copied();
            if found != Some(expected) {
                let found = found.unwrap_or(!expected);
                return Err(BenchError::Wrong { bucket, row, expected, found });
            }
        }
        Ok(())
    }
}
