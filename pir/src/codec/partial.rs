//! The partial: one shard's contribution to an answer.

use super::header::{
    HEADER_BYTES, Marker, check_lookups, check_sorted_set, read_header, read_known_lookups,
    write_header,
};
use super::words::{read_words, write_count, write_words};
use super::{CodecError, Kind};
use crate::geometry::Geometry;
use crate::reader::Reader;

/// One shard's scans and hint products.
///
/// Encoding: header, generation (u64), lookups (u16), number of partitions (u32) and partitions
/// (u32 each), number of planes (u16) and planes (u16 each), R words of the scan per lookup, and a
/// product per plane and lookup. With inline keys the shard has subtracted its products from the
/// scans, and no products follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partial {
    /// Generation of the shard map under which the shard answered.
    pub generation: u64,
    /// The table's epoch.
    pub epoch: u64,
    /// The kind of keys of the products. It is not encoded, because the header's parameters and the
    /// products' size depend on it.
    pub kind: Kind,
    /// The scanned partitions, sorted.
    pub partitions: Vec<u32>,
    /// `[lookup][row]`: wrapping sums over these partitions. With inline keys, the products of the
    /// shard's planes have been subtracted.
    pub scans: Vec<Vec<u32>>,
    /// The shard's planes, sorted, each with one product of [`Kind::product_bytes`] per lookup.
    pub planes: Vec<(u16, Vec<Vec<u8>>)>,
}

impl Partial {
    /// Encodes the partial.
    ///
    /// # Errors
    /// The parts do not match the geometry or each other.
    pub fn encode(&self, geometry: &Geometry) -> Result<Vec<u8>, CodecError> {
        let Self { generation, epoch, kind, partitions, scans, planes } = self;
        let lookups = self.check(geometry)?;
        let numbers = planes.iter().map(|(plane, _)| *plane);
        let size = partial_bytes(geometry, *kind, lookups, partitions.len(), numbers);
        let mut bytes = Vec::with_capacity(size);
        write_header(&mut bytes, Marker::Partial, *kind, geometry, *epoch);
        bytes.extend_from_slice(&generation.to_le_bytes());
        bytes.extend_from_slice(&lookups.to_le_bytes());
        write_count(&mut bytes, partitions.len());
        write_words(&mut bytes, partitions);
        bytes.extend_from_slice(&plane_count(planes.len()).to_le_bytes());
        bytes.extend(planes.iter().flat_map(|(plane, _)| plane.to_le_bytes()));
        scans.iter().for_each(|scan| write_words(&mut bytes, scan));
        for product in planes.iter().flat_map(|(_, products)| products) {
            bytes.extend_from_slice(product);
        }
        Ok(bytes)
    }

    /// Decodes a partial with a known kind and number of lookups. [`Combiner`](super::Combiner)
    /// checks generation and epoch.
    ///
    /// # Errors
    /// The bytes are not such a partial.
    pub fn decode(
        bytes: &[u8],
        geometry: &Geometry,
        lookups: u16,
        kind: Kind,
    ) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        let epoch = read_header(&mut reader, Marker::Partial, kind, geometry)?;
        let generation = reader.u64()?;
        read_known_lookups(&mut reader, lookups)?;
        let count = reader.u32()?;
        if count > geometry.partitions() {
            return Err(CodecError::Partitions);
        }
        let partitions = read_words(reader.take(count as usize * 4)?);
        check_sorted_set(&partitions, geometry.partitions(), CodecError::Partitions)?;
        let count = usize::from(reader.u16()?);
        if count > geometry.planes() {
            return Err(CodecError::Planes);
        }
        let numbers = (0..count).map(|_| reader.u16()).collect::<Result<Vec<_>, _>>()?;
        check_sorted_set(&numbers, plane_count(geometry.planes()), CodecError::Planes)?;
        let scans = (0..lookups).map(|_| Ok(read_words(reader.take(geometry.bucket_bytes() * 4)?)));
        let scans = scans.collect::<Result<_, CodecError>>()?;
        let mut planes = Vec::with_capacity(count);
        for plane in numbers {
            let product_bytes = kind.product_bytes(geometry, plane.into());
            let products = (0..lookups).map(|_| Ok(reader.take(product_bytes)?.to_vec()));
            planes.push((plane, products.collect::<Result<_, CodecError>>()?));
        }
        reader.finish()?;
        Ok(Self { generation, epoch, kind, partitions, scans, planes })
    }

    /// Checks all shapes and returns the number of lookups.
    pub(super) fn check(&self, geometry: &Geometry) -> Result<u16, CodecError> {
        let lookups = check_lookups(u16::try_from(self.scans.len()).unwrap_or(u16::MAX))?;
        check_sorted_set(&self.partitions, geometry.partitions(), CodecError::Partitions)?;
        let numbers: Vec<u16> = self.planes.iter().map(|(plane, _)| *plane).collect();
        check_sorted_set(&numbers, plane_count(geometry.planes()), CodecError::Planes)?;
        let shape = |what, expected, found| match found == expected {
            true => Ok(()),
            false => Err(CodecError::Shape { what, expected, found }),
        };
        for scan in &self.scans {
            shape("words of a scan", geometry.bucket_bytes(), scan.len())?;
        }
        for (plane, products) in &self.planes {
            let product_bytes = self.kind.product_bytes(geometry, (*plane).into());
            shape("products of a plane", self.scans.len(), products.len())?;
            for product in products {
                shape("bytes of a plane's product", product_bytes, product.len())?;
            }
        }
        Ok(lookups)
    }
}

/// Bytes of the partial of a shard with this many partitions and these planes.
pub fn partial_bytes(
    geometry: &Geometry,
    kind: Kind,
    lookups: u16,
    partitions: usize,
    planes: impl Iterator<Item = u16> + Clone,
) -> usize {
    let bytes = |plane: u16| kind.product_bytes(geometry, plane.into());
    let products: usize = planes.clone().map(bytes).sum();
    let head = HEADER_BYTES + 8 + 2 + 4 + partitions * 4 + 2 + planes.count() * 2;
    head + usize::from(lookups) * (geometry.bucket_bytes() * 4 + products)
}

/// Maximum bytes of a partial of an index: one shard with all partitions and planes.
pub fn partial_max_bytes(geometry: &Geometry, lookups: u16) -> usize {
    let (partitions, planes) = (geometry.partitions() as usize, 0..plane_count(geometry.planes()));
    let bytes = |kind| partial_bytes(geometry, kind, lookups, partitions, planes.clone());
    [Kind::Registered, Kind::Inline, Kind::Probe].map(bytes).into_iter().max().unwrap_or_default()
}

/// A number of planes, which [`Partial::check`] or the geometry limits.
#[expect(clippy::cast_possible_truncation, reason = "at most 2^16 rows, so 16 planes")]
fn plane_count(planes: usize) -> u16 {
    planes as u16
}
