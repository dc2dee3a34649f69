//! Memory that requests need. It depends only on public geometry, the number of lookups and the
//! shards.
//!
//! A request is admitted with all that it will need before its body is read; see
//! [`LocalShard::reserve`](crate::shard::local::LocalShard::reserve).

use opaque_pir::codec::{Kind, answer_bytes, partial_bytes, query_bytes, slice_bytes};
use opaque_pir::geometry::Geometry;
use opaque_pir::params::RING_DEGREE;

use crate::map::assignment::Assignment;
use crate::map::call::NumberedRow;

/// Factor by which an encrypted secret grows when it is unpacked. Includes the original bytes.
const UNPACKED_SECRET: usize = 4;
/// Memory of a row in addition to its bytes: number, vector, and rounding by the allocator.
const ROW: usize = size_of::<NumberedRow>() + 16;

/// One shard's part of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) partitions: usize,
    pub(crate) planes: usize,
}

/// Memory of a query at its coordinator, from its first byte until its answer is encoded.
pub(crate) fn of_query(
    geometry: &Geometry,
    assignment: &Assignment,
    kind: Kind,
    lookups: u16,
) -> usize {
    let part = |shard| Part {
        partitions: assignment.partitions(shard).len(),
        planes: assignment.planes(shard).len(),
    };
    let parts: Vec<Part> = assignment.shards().into_iter().map(part).collect();
    let sum = |bytes: &dyn Fn(&Part) -> usize| parts.iter().map(bytes).sum::<usize>();
    let slices = sum(&|part| slice(geometry, kind, lookups, *part));
    // Slices are kept for the next replica. In addition there are the slices being sent, and this
    // node's slice, unpacked. Later there are all partial results, as bytes and as numbers, and
    // their sum.
    let sent =
        sum(&|part| slice(geometry, kind, lookups, *part).max(unpacked(kind, lookups, *part)));
    let partials = 2 * sum(&|part| partial(geometry, kind, lookups, *part));
    let whole = Part { partitions: geometry.partitions() as usize, planes: geometry.planes() };
    let answer = partial(geometry, kind, lookups, whole) + answer_bytes(geometry, kind, lookups);
    (query_bytes(geometry, kind, lookups) + slices).max(slices + sent + partials + answer)
}

/// Memory of a slice of `bytes` bytes at the shard that evaluates it.
pub(crate) fn of_slice(geometry: &Geometry, lookups: u16, part: Part, bytes: usize) -> usize {
    let need = |kind| unpacked(kind, lookups, part) + 2 * partial(geometry, kind, lookups, part);
    let kinds = [Kind::Inline, Kind::Registered, Kind::Probe];
    bytes + kinds.map(need).into_iter().max().unwrap_or_default()
}

/// Memory of rows that were read.
pub(crate) fn of_rows(rows: &[NumberedRow]) -> usize {
    rows.iter().map(|(_, row)| row.len() + ROW).sum()
}

/// Size of the partial result for a slice.
pub(crate) fn partial(geometry: &Geometry, kind: Kind, lookups: u16, part: Part) -> usize {
    // The first planes are the largest.
    let planes = 0..u16::try_from(part.planes).unwrap_or(u16::MAX);
    partial_bytes(geometry, kind, lookups, part.partitions, planes)
}

fn slice(geometry: &Geometry, kind: Kind, lookups: u16, part: Part) -> usize {
    slice_bytes(geometry, kind, lookups, part.partitions, part.planes > 0)
}

/// Size of a slice as words and keys.
fn unpacked(kind: Kind, lookups: u16, part: Part) -> usize {
    let secret = if part.planes > 0 { kind.secret_bytes() * UNPACKED_SECRET } else { 0 };
    usize::from(lookups) * (part.partitions * RING_DEGREE * 4 + secret)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use opaque_pir::codec::{Combiner, Material, Partial, QueryView, QueryWriter, Slice};
    use proptest::prelude::*;

    use super::*;

    /// Bytes that a query really uses at once at its coordinator, and its size.
    fn used(geometry: &Geometry, shards: u32, kind: Kind, lookups: u16) -> (usize, usize) {
        let assignment = assignment(geometry, shards);
        let material = match kind {
            Kind::Inline => Material::Inline,
            _ => Material::Registered(opaque_pir::codec::KeyDigest::of(b"keys")),
        };
        let mut writer = QueryWriter::new(geometry, 1, material, lookups).unwrap();
        let (words, secret) = (vec![1; geometry.buckets() as usize], vec![0; kind.secret_bytes()]);
        (0..lookups).for_each(|_| writer.lookup(&words, &secret).unwrap());
        let query = Bytes::from(writer.finish().unwrap());
        let view = QueryView::decode(&query, geometry, 1).unwrap();
        let (mut slices, mut decoded, mut partials) = (0, 0, 0);
        let mut sum = Combiner::new(geometry, kind, 1, 1, lookups).unwrap();
        for shard in assignment.shards() {
            let (own, planes) = (assignment.partitions(shard), assignment.planes(shard));
            let bytes = opaque_pir::codec::slice(&view, own, assignment.has_planes(shard)).unwrap();
            let words = Slice::decode(&bytes, geometry, 1).unwrap();
            decoded += (0..lookups).map(|l| words.lwe(l).unwrap().len() * 4).sum::<usize>();
            slices += bytes.len();
            let product = |plane: u16| {
                vec![vec![0; kind.product_bytes(geometry, plane.into())]; usize::from(lookups)]
            };
            let partial = Partial {
                generation: 1,
                epoch: 1,
                kind,
                partitions: own.to_vec(),
                scans: vec![vec![0; geometry.bucket_bytes()]; usize::from(lookups)],
                planes: planes.iter().map(|plane| (*plane, product(*plane))).collect(),
            };
            let encoded = partial.encode(geometry).unwrap().len();
            let part = Part { partitions: own.len(), planes: planes.len() };
            assert_eq!(encoded, super::partial(geometry, kind, lookups, part));
            partials += 2 * encoded;
            sum.add(partial).unwrap();
        }
        let answer = sum.finish().unwrap().len();
        let used = (query.len() + slices).max(slices + decoded + partials + answer);
        (used, query.len())
    }

    fn assignment(geometry: &Geometry, shards: u32) -> Assignment {
        let partitions = (0..geometry.partitions()).map(|partition| partition % shards).collect();
        let planes = u32::try_from(geometry.planes()).unwrap();
        let planes: Vec<u32> = (0..planes).map(|plane| plane % shards).collect();
        Assignment::new(partitions, &planes)
    }

    #[test]
    fn a_query_over_eight_shards_needs_more_than_three_times_its_bytes() {
        let geometry = Geometry::new(16384, 8 << 10, 1).unwrap();
        for kind in [Kind::Registered, Kind::Inline] {
            let (used, _) = used(&geometry, 8, kind, 4);
            let reserved = of_query(&geometry, &assignment(&geometry, 8), kind, 4);
            assert!(used <= reserved, "{kind:?}: {used} of {reserved}");
        }
        // An earlier version reserved three times the query.
        let (used, query) = used(&geometry, 8, Kind::Registered, 4);
        assert!(used > 3 * query, "{used} for {query}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn what_is_reserved_covers_what_is_used(
            bucket in prop::sample::select(vec![512u32, 4096, 16384]),
            partitions in 1..12u32,
            shards in 1..12u32,
            registered in any::<bool>(),
            lookups in 1..5u16,
        ) {
            let geometry = Geometry::new(bucket, partitions << 10, 1).unwrap();
            let kind = if registered { Kind::Registered } else { Kind::Inline };
            let (used, query) = used(&geometry, shards, kind, lookups);
            let reserved = of_query(&geometry, &assignment(&geometry, shards), kind, lookups);
            prop_assert!(query <= used && used <= reserved, "{used} of {reserved}");
        }
    }
}
