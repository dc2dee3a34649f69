//! The client's half of a batch of lookups.

use opaque_client::lookup::{BucketLookups, LookupSecret, Request, Seeds};
use rand::{Rng, rngs::StdRng};

use super::{Subject, subject::EPOCH};
use crate::error::BenchError;

/// Buckets to look up, with the randomness for it.
pub(super) struct Intent {
    buckets: Vec<u32>,
    seeds: Vec<Seeds>,
}

impl Intent {
    /// Draws random buckets.
    pub(super) fn draw(subject: &Subject, batch: usize, rng: &mut StdRng) -> Self {
        let buckets = (0..batch).map(|_| rng.next_u32() % subject.geometry.buckets()).collect();
        let mut seeds = || Seeds::draw(rng).unwrap_or_else(|never| match never {});
        Self { buckets, seeds: (0..batch).map(|_| seeds()).collect() }
    }

    /// Encrypts the request. Returns its bytes and the secrets that decrypt the answer.
    pub(super) fn encrypt(self, subject: &Subject) -> Result<Request, BenchError> {
        Ok(lookups(subject).request(&self.buckets, self.seeds)?)
    }
}

/// Decrypts an answer. Returns each bucket's number and bytes.
pub(super) fn open(
    subject: &Subject,
    secrets: Vec<LookupSecret>,
    answer: &[u8],
) -> Result<Vec<(u32, Vec<u8>)>, BenchError> {
    let opened = lookups(subject).open(secrets, answer)?.into_iter();
    Ok(opened.map(|(bucket, mut bytes)| (*bucket, std::mem::take(&mut *bytes))).collect())
}

/// Compares decrypted bytes with the matrix.
pub(super) fn check(subject: &Subject, bucket: u32, opened: &[u8]) -> Result<(), BenchError> {
    for (row, expected) in subject.bucket(bucket).enumerate() {
        let found = opened.get(row).copied();
        if found != Some(expected) {
            let found = found.unwrap_or(!expected);
            return Err(BenchError::Wrong { bucket, row, expected, found });
        }
    }
    Ok(())
}

fn lookups(subject: &Subject) -> BucketLookups<'_> {
    let Subject { geometry, seed, keys, .. } = subject;
    BucketLookups { keys, geometry, seed, epoch: EPOCH }
}
