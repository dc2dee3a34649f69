//! A manifest: the description of one epoch of a table, with the list of its segments.

use opaque_pir::cost::Link;
use opaque_pir::geometry::Geometry;
use opaque_pir::index::{RowSizes, TableCost, TableFigures};
use opaque_pir::inline::Variant;
use opaque_pir::params::NAME;
use opaque_pir::probe::Probe;
use opaque_pir::seed::{IndexSeed, Salt};
use opaque_pir::table::Schema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::names::{partition_object, plane_object};
use crate::segment::HEADER_BYTES;
use crate::time::UnixMillis;

/// Largest manifest that is read. It has room for 256 indexes of 1024 partitions, at less than 192
/// bytes each.
pub const MAX_BYTES: u64 = 64 << 20;
/// Replaces the manifest of an epoch that was given up. No manifest is this short.
pub(crate) const TOMBSTONE: &[u8] = br#"{"format":"opaque-manifest","version":1,"abandoned":true}"#;
/// Size of a plane's payload in bytes.
pub(crate) fn plane_bytes(geometry: &Geometry, plane: usize) -> usize {
    geometry.plane_words(plane) * 4
}

const FORMAT: &str = "opaque-manifest";
const VERSION: u32 = 2;

/// One epoch of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The epoch's number.
    pub epoch: u64,
    /// The table's columns.
    pub schema: Schema,
    /// Number of rows.
    pub rows: u64,
    /// Public randomness of the epoch.
    pub salt: Salt,
    /// Start of the load.
    pub created: UnixMillis,
    /// The clients' link that geometries were chosen for.
    pub link: Link,
    /// One per searchable column, in the schema's order.
    pub indexes: Vec<IndexManifest>,
    /// Lengths of the rows; `None` for a table without rows, and for one that an earlier version
    /// loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes: Option<RowSizes>,
}

/// One searchable column's matrix and hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexManifest {
    /// Position of the column in the schema.
    pub column: u32,
    /// Shape of the matrix.
    pub geometry: Geometry,
    /// Rows whose value in this column is not NULL.
    pub non_null_rows: u64,
    /// The segments of the partitions, in order.
    pub partitions: Vec<SegmentRef>,
    /// The segments of the hint's planes, in order.
    pub planes: Vec<SegmentRef>,
    /// The parameter set of inline keys that is in use.
    pub variant: Variant,
    /// Digests of the public parts, plane by plane. Each part is an object of the epoch.
    pub public_parts: Vec<Digest>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRef {
    /// Its path in the epoch's folder.
    pub object: String,
    /// Size of the object.
    pub bytes: u64,
    /// The digest in its header.
    pub digest: Digest,
}

/// The file: the manifest after its digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<M> {
    format: String,
    version: u32,
    digest: Digest,
    manifest: M,
}

/// Only the marker and the version, to distinguish an unknown version from a damaged file.
#[derive(Deserialize)]
struct Marker {
    format: String,
    version: u32,
}

/// Only the names of parameter sets, to distinguish an epoch with another set from a damaged file.
#[derive(Deserialize)]
struct Indexes {
    indexes: Vec<Set>,
}

#[derive(Deserialize)]
struct Set {
    variant: String,
}

/// Why bytes are not the manifest of an epoch that can be served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// The bytes are damaged, or belong to something else.
    #[error("{0}")]
    Corrupt(String),
    /// The manifest has these other parameters, or this other version.
    #[error("it has {0}: the table must be loaded again")]
    OtherParameters(String),
}

impl Manifest {
    /// The index of a column.
    pub fn index(&self, column: u32) -> Option<&IndexManifest> {
        self.indexes.iter().find(|index| index.column == column)
    }

    /// The seed of the public randomness of one of the indexes.
    pub fn seed(&self, index: &IndexManifest) -> IndexSeed {
        let table = self.schema.table();
        IndexSeed::new(&self.salt, table, self.epoch, index.column, &index.geometry)
    }

    /// The self-test of one of the indexes. Its secrets follow from the digests of all segments of
    /// the index.
    pub fn probe(&self, index: &IndexManifest) -> Probe {
        let segments = index.partitions.iter().chain(&index.planes);
        Probe::new(&self.seed(index), segments.map(|segment| &segment.digest.0))
    }

    /// Bytes of all matrices.
    pub fn matrix_bytes(&self) -> u64 {
        self.indexes.iter().map(|index| index.geometry.matrix_bytes()).sum()
    }

    /// The cost of the table, and the longest row that causes it; `None` if the lengths of the rows
    /// are unknown.
    pub fn figures(&self) -> Option<TableFigures> {
        let cost = TableCost::of(self.indexes.iter().map(|index| &index.geometry), self.link);
        self.sizes.clone().map(|sizes| TableFigures { cost, sizes })
    }

    /// Bytes of all segments in the store.
    pub fn stored_bytes(&self) -> u64 {
        let segments = |index: &IndexManifest| -> u64 {
            index.partitions.iter().chain(&index.planes).map(|segment| segment.bytes).sum()
        };
        let public_parts = |index: &IndexManifest| index.geometry.public_bytes();
        self.indexes.iter().map(|index| segments(index) + public_parts(index)).sum()
    }

    /// Digest of the manifest. It identifies the epoch's content, since the manifest names every
    /// segment by digest.
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(digest_of(&serde_json::to_vec(self)?))
    }

    /// The file's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Envelope {
            format: FORMAT.to_owned(),
            version: VERSION,
            digest: self.digest()?,
            manifest: self,
        })
    }

    /// Parses and checks the manifest of an epoch.
    ///
    /// # Errors
    /// The bytes are damaged, have other parameters, or are the manifest of another table or epoch.
    pub fn read(bytes: &[u8], table: &str, epoch: u64) -> Result<Self, ManifestError> {
        let manifest = Self::decode(bytes)?;
        manifest.check(table, epoch).map_err(ManifestError::Corrupt)?;
        Ok(manifest)
    }

    /// The inverse of [`encode`](Self::encode). Encoding the result must give exactly the same
    /// bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let text = |error: serde_json::Error| ManifestError::Corrupt(error.to_string());
        let marker: Marker = serde_json::from_slice(bytes).map_err(text)?;
        if marker.format != FORMAT {
            return Err(ManifestError::Corrupt("it is not a manifest".to_owned()));
        }
        if marker.version != VERSION {
            let found = format!("a manifest of version {}, not {VERSION}", marker.version);
            return Err(ManifestError::OtherParameters(found));
        }
        if let Some(set) = other_set(bytes) {
            return Err(ManifestError::OtherParameters(format!(
                "parameter set {set:?}, not {NAME}"
            )));
        }
        let envelope: Envelope<Self> = serde_json::from_slice(bytes).map_err(text)?;
        let Envelope { format: _, version: _, digest, manifest } = envelope;
        if manifest.digest().map_err(text)? != digest || manifest.encode().map_err(text)? != bytes {
            return Err(ManifestError::Corrupt("the checksum does not match".to_owned()));
        }
        Ok(manifest)
    }

    /// Checks that all parts fit together: each searchable column has an index, and each index has
    /// the segments that its geometry requires.
    pub(crate) fn check(&self, table: &str, epoch: u64) -> Result<(), String> {
        let Self { epoch: own, schema, rows, salt: _, created: _, link: _, indexes, sizes: _ } =
            self;
        if schema.table() != table || *own != epoch {
            return Err(format!("it describes epoch {own} of table {:?}", schema.table()));
        }
        let columns = indexes.iter().map(|index| index.column as usize);
        if !columns.eq(schema.searchable()) {
            return Err("its indexes are not the searchable columns".to_owned());
        }
        for index in indexes {
            let IndexManifest { column, geometry, non_null_rows, partitions, planes, .. } = index;
            if non_null_rows > rows {
                return Err(format!("index {column} has more rows than the table"));
            }
            let partition = |j| partition_object(*column, j);
            let names = (0..geometry.partitions()).map(partition);
            check_segments(partitions, names, |_| geometry.partition_bytes())?;
            let names = (0..geometry.planes()).map(|i| plane_object(*column, i));
            check_segments(planes, names, |plane| plane_bytes(geometry, plane))?;
            let (found, expected) = (index.public_parts.len(), geometry.planes());
            if found != expected {
                return Err(format!("{found} public parts, {expected} expected"));
            }
        }
        Ok(())
    }
}

fn digest_of(manifest: &[u8]) -> Digest {
    Digest(blake3::derive_key("opaque 2026-11 manifest", manifest))
}

/// The first parameter set of a manifest that this version does not know. Returns `None` if the
/// bytes are damaged, since the name may then be damaged too.
fn other_set(bytes: &[u8]) -> Option<String> {
    let envelope: Envelope<Indexes> = serde_json::from_slice(bytes).ok()?;
    let Envelope { format, version, digest, manifest: Indexes { indexes } } = envelope;
    let unknown = indexes.into_iter().find(|set| Variant::from_name(&set.variant).is_none())?;
    // The bytes before the manifest. `null` stands for the manifest here.
    let head = serde_json::to_vec(&Envelope { format, version, digest, manifest: () }).ok()?;
    let manifest = bytes.strip_prefix(head.strip_suffix(b"null}")?)?.strip_suffix(b"}")?;
    (digest_of(manifest) == digest).then_some(unknown.variant)
}

fn check_segments(
    segments: &[SegmentRef],
    names: impl ExactSizeIterator<Item = String>,
    payload_bytes: impl Fn(usize) -> usize,
) -> Result<(), String> {
    if segments.len() != names.len() {
        return Err(format!("{} segments where {} belong", segments.len(), names.len()));
    }
    for ((segment, name), number) in segments.iter().zip(names).zip(0..) {
        let bytes = (HEADER_BYTES + payload_bytes(number)) as u64;
        if segment.object != name || segment.bytes != bytes {
            return Err(format!(
                "{:?} stands where {name:?} of {bytes} bytes belongs",
                segment.object
            ));
        }
    }
    Ok(())
}
