//! The slice: the part of a query, or of a self-test, for one shard.

use std::borrow::Cow;

use rayon::prelude::*;

use super::header::{
    HEADER_BYTES, INLINE_TAG, Marker, PROBE_TAG, REGISTERED_TAG, check_sorted_set, read_lookups,
    read_open_header, write_header,
};
use super::query::lookup_bytes;
use super::words::{block_bytes, read_buckets, read_words, write_count, write_words};
use super::{CodecError, KeyDigest, Kind, Material, QueryView};
use crate::geometry::Geometry;
use crate::probe::{Probe, SECRETS};
use crate::reader::Reader;
use crate::ring::Poly;
use crate::seed::IndexSeed;

/// The keys with which a shard evaluates its planes of the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SliceMaterial {
    /// A client's keys, by their digest.
    Registered(KeyDigest),
    /// Keys that each lookup carries.
    Inline,
    /// A self-test, which has [`SECRETS`] lookups and sends no words: the shard computes them from
    /// the index's [`Probe`].
    Probe,
}

impl SliceMaterial {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Registered(_) => Kind::Registered,
            Self::Inline => Kind::Inline,
            Self::Probe => Kind::Probe,
        }
    }
}

impl From<Material> for SliceMaterial {
    fn from(material: Material) -> Self {
        match material {
            Material::Registered(digest) => Self::Registered(digest),
            Material::Inline => Self::Inline,
        }
    }
}

/// Extracts some partitions (sorted, without repetition) from a query, with the encrypted secrets
/// if the shard owns planes.
///
/// # Errors
/// The partitions are not a sorted set within the geometry.
pub fn slice(
    view: &QueryView<'_>,
    partitions: &[u32],
    with_secret: bool,
) -> Result<Vec<u8>, CodecError> {
    let (geometry, kind) = (view.geometry(), view.material().kind());
    let size = slice_bytes(geometry, kind, view.lookups(), partitions.len(), with_secret);
    let mut bytes = Vec::with_capacity(size);
    let lookups = view.lookups();
    write_prefix(&mut bytes, geometry, kind, view.epoch(), lookups, with_secret, partitions)?;
    view.material().write(&mut bytes);
    for lookup in 0..view.lookups() {
        for partition in partitions {
            let block = view.block(lookup, *partition).ok_or(CodecError::Partitions)?;
            bytes.extend_from_slice(block);
        }
        if with_secret {
            let secret = view.encrypted_secret(lookup);
            bytes.extend_from_slice(secret.ok_or(CodecError::Invalid { field: "lookup" })?);
        }
    }
    Ok(bytes)
}

/// The slice of a self-test; `with_hint` for a shard that owns planes.
///
/// # Errors
/// The partitions are not a sorted set within the geometry.
pub fn probe_slice(
    geometry: &Geometry,
    epoch: u64,
    partitions: &[u32],
    with_hint: bool,
) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    let kind = Kind::Probe;
    write_prefix(&mut bytes, geometry, kind, epoch, PROBE_LOOKUPS, with_hint, partitions)?;
    bytes.push(PROBE_TAG);
    Ok(bytes)
}

/// Maximum bytes of a query's slice for a shard with this many partitions.
pub fn slice_bytes(
    geometry: &Geometry,
    kind: Kind,
    lookups: u16,
    partitions: usize,
    with_secret: bool,
) -> usize {
    let secret = if with_secret { kind.secret_bytes() } else { 0 };
    let per_lookup = partitions * block_bytes(geometry) + secret;
    PREFIX_BYTES + 32 + partitions * 4 + usize::from(lookups) * per_lookup
}

/// Maximum bytes of a slice of an index: for a shard with all partitions and planes.
pub fn slice_max_bytes(geometry: &Geometry, lookups: u16) -> usize {
    let kinds = [Kind::Inline, Kind::Registered].map(|kind| lookup_bytes(geometry, kind));
    let lookup = kinds.into_iter().max().unwrap_or_default();
    let partitions = geometry.partitions() as usize * 4;
    PREFIX_BYTES + 32 + partitions + usize::from(lookups) * lookup
}

#[expect(clippy::cast_possible_truncation, reason = "four")]
const PROBE_LOOKUPS: u16 = SECRETS as u16;
/// Header, lookups, flag, number of partitions, tag.
const PREFIX_BYTES: usize = HEADER_BYTES + 2 + 1 + 4 + 1;

/// Writes header, lookups (u16), flag (u8: hint products are requested), number of partitions (u32)
/// and the partitions (u32 each). Material follows (tag and content), then the lookups.
fn write_prefix(
    bytes: &mut Vec<u8>,
    geometry: &Geometry,
    kind: Kind,
    epoch: u64,
    lookups: u16,
    with_hint: bool,
    partitions: &[u32],
) -> Result<(), CodecError> {
    check_sorted_set(partitions, geometry.partitions(), CodecError::Partitions)?;
    write_header(bytes, Marker::Slice, kind, geometry, epoch);
    bytes.extend_from_slice(&lookups.to_le_bytes());
    bytes.push(u8::from(with_hint));
    write_count(bytes, partitions.len());
    write_words(bytes, partitions);
    Ok(())
}

/// A slice as a shard reads it.
#[derive(Debug, Clone)]
pub struct Slice {
    lookups: u16,
    with_hint: bool,
    partitions: Vec<u32>,
    material: SliceMaterial,
    /// The words of all partitions for each lookup; empty for a self-test.
    lwe: Vec<Vec<u32>>,
    /// The encrypted secrets of the lookups, if they were sent.
    secrets: Vec<Vec<u8>>,
}

impl Slice {
    /// Decodes a slice for an index with this geometry at this epoch.
    ///
    /// # Errors
    /// The bytes are not such a slice.
    pub fn decode(bytes: &[u8], geometry: &Geometry, epoch: u64) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let inline = read_open_header(&mut reader, Marker::Slice, geometry, epoch)?;
        let lookups = read_lookups(&mut reader)?;
        let with_hint = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Invalid { field: "hint flag" }),
        };
        let count = reader.u32()?;
        if count > geometry.partitions() {
            return Err(CodecError::Partitions);
        }
        let partitions = read_words(reader.take(count as usize * 4)?);
        check_sorted_set(&partitions, geometry.partitions(), CodecError::Partitions)?;
        let (mut lwe, mut secrets) = (Vec::new(), Vec::new());
        let material = match (reader.u8()?, inline) {
            (REGISTERED_TAG, false) => {
                SliceMaterial::Registered(KeyDigest::from_bytes(reader.array()?))
            }
            (INLINE_TAG, true) => SliceMaterial::Inline,
            (PROBE_TAG, false) if usize::from(lookups) == SECRETS => SliceMaterial::Probe,
            (PROBE_TAG, false) => {
                let expected = Some(PROBE_LOOKUPS);
                return Err(CodecError::Lookups { expected, found: lookups });
            }
            (tag, _) => return Err(CodecError::Material { tag }),
        };
        let kind = material.kind();
        if kind != Kind::Probe {
            for _ in 0..lookups {
                let blocks = reader.take(count as usize * block_bytes(geometry))?;
                lwe.push(read_buckets(blocks, geometry));
                if with_hint {
                    secrets.push(reader.take(kind.secret_bytes())?.to_vec());
                }
            }
        }
        reader.finish()?;
        Ok(Self { lookups, with_hint, partitions, material, lwe, secrets })
    }

    /// Number of lookups; [`SECRETS`] for a self-test.
    pub fn lookups(&self) -> u16 {
        self.lookups
    }

    /// Whether products of the shard's planes are requested.
    pub fn with_hint(&self) -> bool {
        self.with_hint
    }

    /// The partitions to scan: sorted, without repetition, within the geometry, possibly none.
    pub fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// The keys with which the hint is evaluated.
    pub fn material(&self) -> &SliceMaterial {
        &self.material
    }

    /// A lookup's words, 1024 for each of [`partitions`](Self::partitions); `None` for a self-test.
    pub fn lwe(&self, lookup: u16) -> Option<&[u32]> {
        self.lwe.get(usize::from(lookup)).map(Vec::as_slice)
    }

    /// The words of each lookup in the form that [`scan`](crate::scan::scan) takes. A client's
    /// words are used as sent; those of `probe` are computed here, in parallel on the current rayon
    /// pool.
    pub fn scan_queries(&self, seed: &IndexSeed, probe: &Probe) -> Cow<'_, [Vec<u32>]> {
        if self.material != SliceMaterial::Probe {
            return Cow::Borrowed(&self.lwe);
        }
        let probe = probe.prepare();
        let block = |partition: &u32| probe.query(seed, *partition);
        let blocks: Vec<[Box<Poly>; SECRETS]> = self.partitions.par_iter().map(block).collect();
        let mut queries = vec![Vec::new(); SECRETS];
        for block in &blocks {
            for (query, block) in queries.iter_mut().zip(block) {
                query.extend_from_slice(block.as_slice());
            }
        }
        Cow::Owned(queries)
    }

    /// A lookup's encrypted secret, if it was sent.
    pub fn encrypted_secret(&self, lookup: u16) -> Option<&[u8]> {
        self.secrets.get(usize::from(lookup)).map(Vec::as_slice)
    }
}
