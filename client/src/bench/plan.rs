//! What to measure.

use std::{fmt, str::FromStr};

use opaque_pir::{
    geometry::Geometry,
    inline,
    params::{MAX_BUCKETS, PARTITION_BUCKETS},
    scan,
};

use super::{BenchError, host, subject};

/// What to measure: every size with every number of shards and every batch.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sizes of the matrix; each is rounded up to whole partitions.
    pub sizes: Vec<Size>,
    /// R: bytes of a bucket, a multiple of 4096.
    pub bucket_bytes: u32,
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
        let Self { sizes, bucket_bytes: _, batches, shards, threads: _, kernels: _, repeat } = self;
        if sizes.is_empty() || batches.is_empty() || batches.contains(&0) || *repeat == 0 {
            return Err(BenchError::Nothing);
        }
        let geometries = sizes.iter().map(|size| self.geometry(*size));
        let geometries: Vec<Geometry> = geometries.collect::<Result<_, _>>()?;
        let partitions = geometries.iter().map(Geometry::partitions).min().unwrap_or(0);
        let most = shards.iter().copied().max().unwrap_or(0);
        if most == 0 || shards.contains(&0) {
            return Err(BenchError::Nothing);
        }
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

    fn geometry(&self, Size(size): Size) -> Result<Geometry, BenchError> {
        let beyond = || BenchError::Buckets { size, bucket_bytes: self.bucket_bytes };
        let buckets = size.div_ceil(u64::from(self.bucket_bytes).max(1)).max(1);
        let buckets = buckets.checked_next_multiple_of(PARTITION_BUCKETS as u64);
        let buckets = buckets.and_then(|buckets| u32::try_from(buckets).ok()).ok_or_else(beyond)?;
        if buckets > MAX_BUCKETS {
            return Err(beyond());
        }
        Ok(Geometry::new(self.bucket_bytes, buckets, 1)?)
    }
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
    pub scan: scan::Kernel,
    /// Of the hint product.
    pub product: inline::Kernel,
}

impl Kernels {
    /// The fastest that this machine runs.
    pub fn best() -> Self {
        Self { scan: scan::Kernel::best(), product: inline::Kernel::best() }
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
        let scan = scan::Kernel::from_name(name).ok_or_else(|| {
            let names: Vec<&str> = scan::Kernel::available().map(scan::Kernel::name).collect();
            format!("this machine has no kernel {name:?}: write auto, {}", names.join(", "))
        })?;
        let product = inline::Kernel::from_name(name).unwrap_or_else(inline::Kernel::best);
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
            bucket_bytes,
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
