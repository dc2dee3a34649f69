//! What to measure.

use std::{fmt, str::FromStr};

use opaque_pir::{
    cost::Link,
    geometry::Geometry,
    machine::{ScanKernel, VectorKernel},
    params::{MAX_BUCKET_BYTES, MAX_BUCKETS, PARTITION_BUCKETS},
};

use super::{BenchError, host, subject};

/// What to measure: every size with every number of shards and every batch.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sizes of the matrix; each is rounded up to whole partitions.
    pub sizes: Vec<Size>,
    /// R: bytes of a bucket; of the shape that is fastest over the link where absent.
    pub bucket_bytes: Option<u32>,
    /// The link that the shape is chosen for.
    pub link: Link,
    /// Lookups of one request.
    pub batches: Vec<usize>,
    /// Shards that the matrix is spread over.
    pub shards: Vec<u32>,
    /// Threads of each shard, and of the client.
    pub threads: usize,
    /// Machine code of the servers' work.
    pub kernels: Kernels,
    /// Rounds of which medians are taken.
    pub repeat: usize,
}

impl Plan {
    /// The matrices' shapes, smallest promise first kept: that all of them can be measured here.
    ///
    /// # Errors
    /// A shape that does not exist or cannot be spread over the shards; more memory than there is.
    pub fn geometries(&self) -> Result<Vec<Geometry>, BenchError> {
        let Self { sizes, bucket_bytes, link, batches, shards, threads: _, kernels: _, repeat } =
            self;
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
        // Where the system does not tell, it will refuse by itself.
        match host::available_bytes() {
            Some(available) if available < needed => Err(BenchError::Memory { needed, available }),
            Some(_) | None => Ok(geometries),
        }
    }
}

/// A matrix of at least so many bytes, in buckets of `bucket_bytes`.
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

/// The matrix of at least so many bytes, for all shards to share, that is fastest over a link.
fn fastest(Size(size): Size, shards: u32, link: Link) -> Result<Geometry, BenchError> {
    Geometry::fastest(size, shards, link)
        .ok_or(BenchError::Buckets { size, bucket_bytes: MAX_BUCKET_BYTES })
}

/// A number of bytes, written `64MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Units of a [`Size`], largest first.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size: write 64MiB, 512MiB or 1GiB");
        let unit = UNITS.into_iter().find_map(|(name, factor)| {
            Some((text.trim().strip_suffix(name)?.trim_end().to_owned(), factor))
        });
        let (digits, factor) = unit.ok_or_else(wrong)?;
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, factor): &(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match UNITS.into_iter().find(whole) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Machine code of the scan and of the hint product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels {
    /// Of the scan.
    pub scan: ScanKernel,
    /// Of the hint product.
    pub product: VectorKernel,
}

impl Kernels {
    /// The fastest that this machine runs.
    pub fn best() -> Self {
        Self { scan: ScanKernel::best(), product: VectorKernel::best() }
    }
}

impl FromStr for Kernels {
    type Err = String;

    /// `auto`, or the name of a scan kernel. The hint product has fewer kinds: of the same name where
    /// there is one, else its best.
    fn from_str(name: &str) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Self::best());
        }
        let scan = ScanKernel::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = ScanKernel::available().map(ScanKernel::name).collect();
            format!("this machine has no kernel {name:?}: write auto, {}", names.join(", "))
        })?;
        let product = VectorKernel::from_name(name).unwrap_or_else(VectorKernel::best);
        Ok(Self { scan, product })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("64MiB", 64 << 20), ("1GiB", 1 << 30), (" 3 KiB ", 3072), ("1536MiB", 1536 << 20)]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size(bytes), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(Size(4 << 30).to_string(), "4GiB");
        for bad in ["", "1", "1GB", "GiB", "0MiB", "-1GiB", "1.5GiB", "1MiB,2MiB", "99999999999GiB"]
        {
            assert!(bad.parse::<Size>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn kernels_have_names() {
        assert_eq!("auto".parse(), Ok(Kernels::best()));
        let scalar: Kernels = "scalar".parse().unwrap();
        assert_eq!((scalar.scan.name(), scalar.product.name()), ("scalar", "scalar"));
        let error = "fast".parse::<Kernels>().unwrap_err();
        assert!(error.contains("auto, scalar"), "{error}");
    }

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
        let geometry = plan("9MiB", 8192, 2).geometries().unwrap()[0];
        assert_eq!((geometry.bucket_bytes(), geometry.partitions()), (8192, 2));
        assert_eq!(geometry.matrix_bytes(), 16 << 20);
    }

    /// By trying every shape.
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
        let refused = |plan: Plan| plan.geometries().unwrap_err();
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
