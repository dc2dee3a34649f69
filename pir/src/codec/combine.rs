//! Combines partials to an answer: all or nothing.

use thiserror::Error;

use super::answer::encode_answer;
use super::header::check_lookups;
use super::words::read_words;
use super::{CodecError, Kind, Partial};
use crate::geometry::Geometry;

/// Adds up the partials of one query, one shard at a time.
///
/// **Guarantees.** The result is an answer only if every partition was scanned and every plane
/// multiplied, each exactly once, and all under one generation and epoch. A refused partial changes
/// nothing.
#[derive(Debug)]
pub struct Combiner {
    geometry: Geometry,
    kind: Kind,
    generation: u64,
    epoch: u64,
    lookups: u16,
    /// `[lookup][row]`.
    scans: Vec<Vec<u32>>,
    /// `[partition]`: whether it was scanned.
    scanned: Vec<bool>,
    /// `[plane][lookup]`.
    products: Vec<Option<Vec<Vec<u8>>>>,
}

impl Combiner {
    /// A combiner without partials. A self-test has [`SECRETS`](crate::probe::SECRETS) lookups.
    ///
    /// # Errors
    /// The number of lookups is out of range.
    pub fn new(
        geometry: &Geometry,
        kind: Kind,
        generation: u64,
        epoch: u64,
        lookups: u16,
    ) -> Result<Self, CombineError> {
        check_lookups(lookups)?;
        Ok(Self {
            geometry: *geometry,
            kind,
            generation,
            epoch,
            lookups,
            scans: vec![vec![0; geometry.bucket_bytes()]; usize::from(lookups)],
            scanned: vec![false; geometry.partitions() as usize],
            products: vec![None; geometry.planes()],
        })
    }

    /// Adds one shard's partial.
    ///
    /// # Errors
    /// The partial belongs to another query, or repeats a partition or plane.
    pub fn add(&mut self, partial: Partial) -> Result<(), CombineError> {
        self.check(&partial)?;
        let Partial { generation: _, epoch: _, kind: _, partitions, scans, planes } = partial;
        for partition in partitions {
            if let Some(scanned) = self.scanned.get_mut(partition as usize) {
                *scanned = true;
            }
        }
        for (sums, scan) in self.scans.iter_mut().zip(scans) {
            for (sum, word) in sums.iter_mut().zip(scan) {
                *sum = sum.wrapping_add(word);
            }
        }
        for (plane, products) in planes {
            if let Some(slot) = self.products.get_mut(usize::from(plane)) {
                *slot = Some(products);
            }
        }
        Ok(())
    }

    /// The encoded answer for the client.
    ///
    /// # Errors
    /// A partition or plane is missing, or the partials belong to a self-test.
    pub fn finish(self) -> Result<Vec<u8>, CombineError> {
        let (geometry, kind, epoch) = (self.geometry, self.kind, self.epoch);
        if kind == Kind::Probe {
            return Err(CombineError::Kind);
        }
        let (scans, products) = self.complete()?;
        Ok(encode_answer(&geometry, kind, epoch, &scans, &products))
    }

    /// The two sides of a self-test, for [`Probe::check`](crate::probe::Probe::check): the scans
    /// and the hint products, both `[secret][row]`.
    ///
    /// A partition or plane is missing, or the partials belong to a client's query.
    /// When a partition or plane is missing, or the partials were a client's.
    #[expect(clippy::type_complexity, reason = "two of the same shape, which the text names")]
    pub fn finish_probe(self) -> Result<(Vec<Vec<u32>>, Vec<Vec<u32>>), CombineError> {
        if self.kind != Kind::Probe {
            return Err(CombineError::Kind);
        }
        let (scans, products) = self.complete()?;
        let mut hint = vec![Vec::new(); scans.len()];
        for plane in products {
            for (hint, product) in hint.iter_mut().zip(plane) {
                hint.extend(read_words(&product));
            }
        }
        Ok((scans, hint))
    }

    fn check(&self, partial: &Partial) -> Result<(), CombineError> {
        if partial.kind != self.kind {
            return Err(CombineError::Kind);
        }
        let (expected, found) = (self.generation, partial.generation);
        if found != expected {
            return Err(CombineError::Generation { expected, found });
        }
        let (expected, found) = (self.epoch, partial.epoch);
        if found != expected {
            return Err(CodecError::Epoch { expected, found }.into());
        }
        let (expected, found) = (self.lookups, partial.check(&self.geometry)?);
        if found != expected {
            return Err(CodecError::Lookups { expected: Some(expected), found }.into());
        }
        for partition in &partial.partitions {
            if self.scanned.get(*partition as usize).copied().unwrap_or_default() {
                return Err(CombineError::PartitionTwice { partition: *partition });
            }
        }
        for (plane, _) in &partial.planes {
            if self.products.get(usize::from(*plane)).is_some_and(Option::is_some) {
                return Err(CombineError::PlaneTwice { plane: *plane });
            }
        }
        Ok(())
    }

    #[expect(clippy::type_complexity, reason = "the fields of the same names, complete")]
    fn complete(self) -> Result<(Vec<Vec<u32>>, Vec<Vec<Vec<u8>>>), CombineError> {
        let Self { scans, scanned, products, .. } = self;
        if let Some(partition) = (0..).zip(scanned).find_map(|(i, done)| (!done).then_some(i)) {
            return Err(CombineError::PartitionMissing { partition });
        }
        let complete = |(plane, products): (u16, Option<_>)| {
            products.ok_or(CombineError::PlaneMissing { plane })
        };
        let products = (0..).zip(products).map(complete).collect::<Result<_, _>>()?;
        Ok((scans, products))
    }
}

/// Why partials do not form an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CombineError {
    /// A partial does not fit the query.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A partial was computed under another shard map.
    #[error("generation mismatch: expected {expected}, found {found}")]
    Generation {
        /// The query's generation.
        expected: u64,
        /// The partial's generation.
        found: u64,
    },
    /// Two partials cover the same partition.
    #[error("partition {partition} was scanned twice")]
    PartitionTwice {
        /// The partition.
        partition: u32,
    },
    /// Two partials carry the same plane.
    #[error("plane {plane} of the hint was multiplied twice")]
    PlaneTwice {
        /// The plane.
        plane: u16,
    },
    /// No partial covers a partition.
    #[error("partition {partition} was not scanned")]
    PartitionMissing {
        /// The first such partition.
        partition: u32,
    },
    /// No partial carries a plane.
    #[error("plane {plane} of the hint was not multiplied")]
    PlaneMissing {
        /// The first such plane.
        plane: u16,
    },
    /// The products were computed with another kind of keys, or belong to a self-test instead of a
    /// client's query.
    #[error("the products are of another kind than the query")]
    Kind,
}
