//! Lookups without the network: converts values to request bytes, and answer bytes to rows.

pub mod index_keys;
pub mod lwe;

use bytes::Bytes;
use opaque_pir::{
    codec::{AnswerView, CodecError, QueryWriter},
    geometry::Geometry,
    layout::{LayoutError, Page, decode_bucket, mask, page_bucket},
    seed::IndexSeed,
    table::{RowError, Value, decode_row},
};
use opaque_secrets::inline::Seed as KeySeed;
use rand::TryCryptoRng;
use rayon::prelude::*;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    description::Table,
    sql::{Found, IndexMeta},
};
use index_keys::{DecryptError, EncryptError, IndexKeys, Opener};
use lwe::Target;

/// Maximum number of lookups in one request. The servers answer all of them in one pass over the
/// table; a higher number would only make requests larger.
pub const LOOKUPS_PER_REQUEST: usize = 16;

/// One index of one epoch, with the keys for its lookups.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The keys that encrypt lookups.
    pub keys: &'a IndexKeys,
    /// The table.
    pub table: &'a Table,
    /// The searched column's index.
    pub index: &'a IndexMeta,
}

/// The randomness of one lookup, used once.
pub struct Seeds {
    scan: lwe::Seed,
    keys: KeySeed,
}

impl Seeds {
    /// Draws the seeds of one lookup. Treat the generator's state as secret: it determines the
    /// seeds.
    ///
    /// # Errors
    /// The errors of `rng`.
    pub fn draw<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        Ok(Self { scan: lwe::Seed::draw(rng)?, keys: KeySeed::draw(rng)? })
    }
}

/// Decrypts one answer, once.
pub struct LookupSecret {
    bucket: Zeroizing<u32>,
    opener: Opener,
}

/// The bytes of a request, and the secrets that decrypt its answer.
pub struct Request {
    /// The encoded query. Every node that is tried receives the same bytes.
    pub bytes: Bytes,
    /// One secret per lookup, in order.
    pub secrets: Vec<LookupSecret>,
}

/// An encrypted answer, and the secrets that decrypt it.
pub struct Sealed {
    /// The [`Request::secrets`] of its request.
    pub secrets: Vec<LookupSecret>,
    /// The encoded answer.
    pub answer: Bytes,
}

/// Lookups of buckets by number, independent of the buckets' contents.
pub struct BucketLookups<'a> {
    /// The keys that encrypt lookups.
    pub keys: &'a IndexKeys,
    /// The index's geometry.
    pub geometry: &'a Geometry,
    /// The seed from which the index's public elements are expanded.
    pub seed: &'a IndexSeed,
    /// The table's epoch.
    pub epoch: u64,
}

impl BucketLookups<'_> {
    /// Encrypts one request. Each lookup needs one seed.
    ///
    /// # Errors
    /// The numbers of seeds and buckets differ, or there are too many buckets.
    pub fn request(&self, buckets: &[u32], seeds: Vec<Seeds>) -> Result<Request, LookupError> {
        let Self { keys, geometry, seed, epoch } = *self;
        let lookups = u16::try_from(buckets.len()).map_err(|_| LookupError::TooMany)?;
        let mut writer = QueryWriter::new(geometry, epoch, keys.material(), lookups)?;
        if seeds.len() != buckets.len() {
            return Err(LookupError::Seeds);
        }
        let mut secrets = Vec::with_capacity(buckets.len());
        for (&bucket, Seeds { scan, keys: key_seed }) in buckets.iter().zip(seeds) {
            let query = lwe::encrypt(Target { seed, geometry, bucket }, scan);
            let (encrypted_secret, opener) = keys.encrypt(key_seed, &query.secret)?;
            writer.lookup(&query.lwe, &encrypted_secret)?;
            secrets.push(LookupSecret { bucket: Zeroizing::new(bucket), opener });
        }
        Ok(Request { bytes: writer.finish()?.into(), secrets })
    }

    /// Decrypts one answer. Returns the number and the stored bytes of each bucket.
    ///
    /// # Errors
    /// The answer belongs to another request.
    #[expect(clippy::type_complexity, reason = "two of them, which the text names")]
    pub fn open(
        &self,
        secrets: Vec<LookupSecret>,
        answer: &[u8],
    ) -> Result<Vec<(Zeroizing<u32>, Zeroizing<Vec<u8>>)>, LookupError> {
        let Self { keys, geometry, seed: _, epoch } = *self;
        let lookups = u16::try_from(secrets.len()).map_err(|_| LookupError::TooMany)?;
        let answer = AnswerView::decode(answer, geometry, keys.kind(), epoch, lookups)?;
        let open = |(lookup, LookupSecret { bucket, opener }): (u16, LookupSecret)| {
            Ok((bucket, keys.open(&opener, geometry, &answer, lookup)?))
        };
        (0..lookups).into_par_iter().zip(secrets).map(open).collect()
    }
}

impl Asker<'_> {
    /// The buckets of all pages of all values: first page 0 of every value, then page 1 of every
    /// value, and so on.
    pub fn buckets(
        &self,
        values: &[Value],
        pages: u32,
    ) -> Result<Zeroizing<Vec<u32>>, LookupError> {
        let column = self.column()?;
        let buckets = self.index.geometry.buckets();
        // The vector is allocated at its full size: a growing vector leaves copies behind that are
        // never cleared.
        let count = values.len().checked_mul(pages as usize).ok_or(LookupError::TooMany)?;
        let mut all = Zeroizing::new(Vec::with_capacity(count));
        for value in values {
            let key = value.search_key();
            let bucket = |page| page_bucket(&self.table.salt, column, &key, page, buckets);
            all.extend((0..pages).map(bucket));
        }
        Ok(all)
    }

    /// Encrypts one request of at most [`LOOKUPS_PER_REQUEST`] lookups. Each lookup needs one seed.
    pub fn request(&self, buckets: &[u32], seeds: Vec<Seeds>) -> Result<Request, LookupError> {
        let seed = self.table.seed(self.index.column).ok_or(LookupError::NoIndex)?;
        self.bucket_lookups(&seed).request(buckets, seeds)
    }

    /// Decrypts one answer. Returns the pages of each lookup's bucket, in order.
    pub fn open(
        &self,
        secrets: Vec<LookupSecret>,
        answer: &[u8],
    ) -> Result<Vec<Vec<Page>>, LookupError> {
        let (salt, column) = (&self.table.salt, self.column()?);
        let seed = self.table.seed(self.index.column).ok_or(LookupError::NoIndex)?;
        let open = |(bucket, mut bytes): (Zeroizing<u32>, Zeroizing<Vec<u8>>)| {
            mask(salt, column, *bucket, &mut bytes);
            Ok(decode_bucket(salt, column, *bucket, &bytes)?)
        };
        let opened = self.bucket_lookups(&seed).open(secrets, answer)?;
        opened.into_par_iter().map(open).collect()
    }

    fn bucket_lookups<'a>(&'a self, seed: &'a IndexSeed) -> BucketLookups<'a> {
        let (keys, geometry, epoch) = (self.keys, &self.index.geometry, self.table.epoch);
        BucketLookups { keys, geometry, seed, epoch }
    }

    /// Decrypts all answers of a statement and returns the rows of each of `values`, in order.
    /// `answers` must belong to the requests for [`Asker::buckets`] of the same values and pages.
    pub fn open_all(
        &self,
        values: &[Value],
        pages: u32,
        answers: Vec<Sealed>,
    ) -> Result<Vec<Found>, LookupError> {
        let mut buckets = Vec::new();
        for Sealed { secrets, answer } in answers {
            buckets.extend(self.open(secrets, &answer)?);
        }
        let mut buckets = buckets.into_iter();
        let mut found = Vec::with_capacity(values.len());
        for value in values {
            found.push(self.found(value, buckets.by_ref().take(pages as usize).collect())?);
        }
        Ok(found)
    }

    /// The rows of one value, from the buckets of its pages. `buckets[i]` is the bucket of page i.
    ///
    /// Each page states how many rows the value has. The fetched rows must be exactly those that
    /// its first pages hold, and each must have the value in the searched column.
    pub fn found(&self, value: &Value, buckets: Vec<Vec<Page>>) -> Result<Found, LookupError> {
        let mut found = Found::default();
        let per_page = u64::from(self.index.geometry.page_rows());
        for (number, pages) in (0u32..).zip(buckets) {
            let before = u64::from(number) * per_page;
            let page = self.page_of(value, number, pages)?;
            let Some(Found { total_rows, rows }) = page else {
                if number == 0 || found.total_rows <= before {
                    continue;
                }
                return Err(LookupError::Inconsistent);
            };
            let expected = total_rows.saturating_sub(before).min(per_page);
            let first = number == 0;
            if rows.len() as u64 != expected || (!first && total_rows != found.total_rows) {
                return Err(LookupError::Inconsistent);
            }
            found.total_rows = total_rows;
            found.rows.extend(rows);
        }
        Ok(found)
    }

    /// Finds page `number` of a value among all pages of its bucket, and returns the total and the
    /// rows.
    fn page_of(
        &self,
        value: &Value,
        number: u32,
        pages: Vec<Page>,
    ) -> Result<Option<Found>, LookupError> {
        let key = value.search_key();
        let mut found = None;
        for page in pages.into_iter().filter(|page| page.page == number) {
            let mut rows = Vec::with_capacity(page.rows.len());
            for (row, bytes) in page.rows {
                rows.push((row, decode_row(&self.table.schema, &bytes)?));
            }
            let has_value = |(_, row): &(u64, Vec<Value>)| {
                row.get(self.index.column).is_some_and(|cell| cell.search_key() == key)
            };
            if !rows.first().is_some_and(has_value) {
                continue;
            }
            let in_range = |(number, _): &(u64, Vec<Value>)| *number < self.table.rows;
            if found.is_some() || !rows.iter().all(|row| has_value(row) && in_range(row)) {
                return Err(LookupError::Inconsistent);
            }
            found = Some(Found { total_rows: page.total_rows, rows });
        }
        Ok(found)
    }

    fn column(&self) -> Result<u32, LookupError> {
        u32::try_from(self.index.column).map_err(|_| LookupError::TooMany)
    }
}

/// Why a lookup has no answer. No text contains the value that was looked up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The column has no index.
    #[error("the column is not searchable")]
    NoIndex,
    /// The request has too many lookups.
    #[error("a request has too many lookups")]
    TooMany,
    /// The numbers of seeds and lookups differ.
    #[error("each lookup needs its own seed")]
    Seeds,
    /// A message does not match the table's parameters.
    #[error("the answer failed its check: {0}")]
    Codec(#[from] CodecError),
    /// The bucket's bytes do not decode.
    #[error("the answer failed its check: {0}")]
    Layout(#[from] LayoutError),
    /// A row's bytes do not decode.
    #[error("the answer failed its check: {0}")]
    Row(#[from] RowError),
    /// The pages of a value contradict each other.
    #[error("the answer failed its check: the pages of a value do not belong together")]
    Inconsistent,
    /// Decryption failed.
    #[error("the answer failed its check: {0}")]
    Decrypt(#[from] DecryptError),
    /// Encryption failed.
    #[error("the lookup could not be encrypted: {0}")]
    Encrypt(#[from] EncryptError),
}

#[cfg(test)]
mod tests;
