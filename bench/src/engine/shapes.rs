//! Geometries of the matrices.

use opaque_pir::{
    cost::Link,
    geometry::Geometry,
    params::{MAX_BUCKET_BYTES, MAX_BUCKETS, PARTITION_BUCKETS},
};

use super::subject;
use crate::{error::BenchError, host, plan::Plan, size::Size};

/// The geometries of the plan, if all of them can be measured on this machine.
///
/// # Errors
/// A geometry does not exist or cannot be spread over the shards, or the machine has too little
/// memory.
pub(super) fn geometries(plan: &Plan) -> Result<Vec<Geometry>, BenchError> {
    let Plan { sizes, bucket_bytes, link, batches, shards, threads: _, kernels: _, repeat } = plan;
    if sizes.is_empty() || batches.is_empty() || batches.contains(&0) || *repeat == 0 {
        return Err(BenchError::Nothing);
    }
    let most = shards.iter().copied().max().unwrap_or(0);
    if most == 0 || shards.contains(&0) {
        return Err(BenchError::Nothing);
    }
    let geometries = sizes.iter().map(|size| match *bucket_bytes {
        Some(bucket_bytes) => geometry(*size, bucket_bytes),
        None => fastest(*size, most, *link),
    });
    let geometries: Vec<Geometry> = geometries.collect::<Result<_, _>>()?;
    let partitions = geometries.iter().map(Geometry::partitions).min().unwrap_or(0);
    if most > partitions {
        return Err(BenchError::Shards { shards: most, partitions });
    }
    let batch = batches.iter().copied().max().unwrap_or(1);
    let needed = geometries.iter().map(|geometry| subject::bytes_needed(geometry, batch));
    let needed = needed.max().unwrap_or(0);
    // If the system does not report available memory, allocation fails instead.
    match host::available_bytes() {
        Some(available) if available < needed => Err(BenchError::Memory { needed, available }),
        Some(_) | None => Ok(geometries),
    }
}

/// A matrix of at least this size in buckets of `bucket_bytes`.
fn geometry(Size(size): Size, bucket_bytes: u32) -> Result<Geometry, BenchError> {
    let beyond = || BenchError::Buckets { size, bucket_bytes };
    let buckets = size.div_ceil(u64::from(bucket_bytes).max(1)).max(1);
    let buckets = buckets.checked_next_multiple_of(PARTITION_BUCKETS as u64);
    let buckets = buckets.and_then(|buckets| u32::try_from(buckets).ok()).ok_or_else(beyond)?;
    if buckets > MAX_BUCKETS {
        return Err(beyond());
    }
    Ok(Geometry::new(bucket_bytes, buckets, 1)?)
}

/// Of the matrices of at least this size that all shards can share, the one with the fastest lookup
/// over a link.
fn fastest(Size(size): Size, shards: u32, link: Link) -> Result<Geometry, BenchError> {
    Geometry::fastest(size, shards, link)
        .ok_or(BenchError::Buckets { size, bucket_bytes: MAX_BUCKET_BYTES })
}

#[cfg(test)]
mod tests {
    use opaque_pir::machine::Kernels;

    use super::*;

    fn plan(size: &str, bucket_bytes: u32, shards: u32) -> Plan {
        Plan {
            sizes: vec![size.parse().unwrap()],
            bucket_bytes: Some(bucket_bytes),
            link: Link::default(),
            batches: vec![1],
            shards: vec![1, shards],
            threads: 1,
            kernels: Kernels::best(),
            repeat: 1,
        }
    }

    #[test]
    fn matrices_are_whole_partitions() {
        let geometry = geometries(&plan("9MiB", 8192, 2)).unwrap()[0];
        assert_eq!((geometry.bucket_bytes(), geometry.partitions()), (8192, 2));
        assert_eq!(geometry.matrix_bytes(), 16 << 20);
    }

    /// The expected result comes from trying every geometry.
    #[test]
    fn the_shape_that_is_fastest_over_the_link_is_measured_unless_another_is_named() {
        for (size, mbits, shards) in
            [("64MiB", 50, 1), ("1GiB", 50, 4), ("1GiB", 10, 1), ("4GiB", 1000, 2)]
        {
            let (Size(bytes), link) = (size.parse().unwrap(), Link::new(mbits).unwrap());
            let chosen = Plan { bucket_bytes: None, link, ..plan(size, 0, shards) };
            let chosen = fastest(chosen.sizes[0], shards, link).unwrap();
            assert!(chosen.matrix_bytes() >= bytes && chosen.partitions() >= shards);
            let micros = |shape: &Geometry| shape.cost(link).lookup_micros();
            for bucket_bytes in
                (8..13).map(|log| 1 << log).chain((1..=32).map(|rings| rings * 2048))
            {
                let Ok(other) = geometry(Size(bytes), bucket_bytes) else { continue };
                assert!(
                    other.partitions() < shards || micros(&chosen) <= micros(&other),
                    "{other:?}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused_before_anything_is_built() {
        let refused = |plan: Plan| geometries(&plan).unwrap_err();
        assert!(matches!(refused(plan("8GiB", 4096, 1)), BenchError::Buckets { .. }));
        assert!(matches!(refused(plan("64MiB", 5000, 1)), BenchError::Geometry(_)));
        let error = refused(plan("16MiB", 8192, 3));
        assert!(matches!(error, BenchError::Shards { shards: 3, partitions: 2 }));
        assert!(matches!(refused(plan("64MiB", 8192, 0)), BenchError::Nothing));
        for field in 0..4 {
            let mut plan = plan("64MiB", 8192, 1);
            match field {
                0 => plan.sizes.clear(),
                1 => plan.batches.clear(),
                2 => plan.shards.clear(),
                _ => plan.repeat = 0,
            }
            assert!(matches!(refused(plan), BenchError::Nothing));
        }
    }
}
