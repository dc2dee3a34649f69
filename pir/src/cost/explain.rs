//! Explains in words why an index has its geometry.

use std::fmt;

use super::{Bytes, Cost, Link, millis};
use crate::geometry::{BUCKET_SIZES, BUCKETS_PER_PARTITION, Geometry, SHARED_PARTITIONS};

/// The chosen geometry and the reason, in a few lines for people, without a final newline.
///
/// The alternatives are matrices of the same size with the next smaller and the next larger
/// buckets. A geometry does not know the pages: if such a matrix would be faster, the pages do not
/// fit into it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation<'a>(&'a Geometry, Link);

impl Geometry {
    /// Explains the choice for a link.
    pub fn explanation(&self, link: Link) -> Explanation<'_> {
        Explanation(self, link)
    }

    /// The geometry of about the same size with the next smaller or the next larger buckets.
    fn beside(&self, larger: bool) -> Option<Self> {
        let place = BUCKET_SIZES.iter().position(|size| *size as usize == self.bucket_bytes())?;
        let place = if larger { place.checked_add(1) } else { place.checked_sub(1) }?;
        let bucket_bytes = *BUCKET_SIZES.get(place)?;
        let bytes = u64::from(bucket_bytes) * u64::from(BUCKETS_PER_PARTITION);
        let partitions = u32::try_from(self.matrix_bytes().div_ceil(bytes)).ok()?;
        let partitions = partitions.max(self.partitions().min(SHARED_PARTITIONS));
        let buckets = partitions.checked_mul(BUCKETS_PER_PARTITION)?;
        Self::new(bucket_bytes, buckets, self.page_rows()).ok()
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(geometry, link) = *self;
        let cost = geometry.cost(link);
        let rows = match geometry.page_rows() {
            1 => "one row".to_owned(),
            rows => format!("up to {rows} rows"),
        };
        writeln!(
            f,
            "{} buckets of {} bytes hold pages of {rows} of one value.",
            geometry.buckets(),
            geometry.bucket_bytes(),
        )?;
        writeln!(
            f,
            "A lookup of one page sends {} ({} bits a bucket, and its keys) and receives {} ({} bits a byte).",
            Bytes(cost.upload_bytes),
            geometry.rounding().bucket_bits,
            Bytes(cost.download_bytes),
            geometry.rounding().row_bits,
        )?;
        writeln!(
            f,
            "It takes about {:.1} ms: {:.1} on a link of {}, {:.1} of one core to read {}, {:.1} for \
             the hint's tables of {}.",
            millis(cost.lookup_micros()),
            millis(cost.transfer_micros()),
            link,
            millis(cost.scan_micros),
            Bytes(cost.matrix_bytes),
            millis(cost.hint_micros),
            Bytes(geometry.table_bytes()),
        )?;
        write!(
            f,
            "One replica of all its shards takes {} of memory.",
            Bytes(cost.server_ram_bytes)
        )?;
        for (larger, words) in [(false, "smaller"), (true, "larger")] {
            if let Some(other) = geometry.beside(larger) {
                write!(f, "\n{}", Beside { words, other, cost, than: other.cost(link) })?;
            }
        }
        Ok(())
    }
}

/// One line about an alternative.
struct Beside {
    words: &'static str,
    other: Geometry,
    cost: Cost,
    than: Cost,
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { words, other, cost, than } = self;
        let sum = |cost: &Cost| cost.upload_bytes + cost.download_bytes;
        let traffic = Difference(sum(cost), sum(than), |bytes| Bytes(bytes).to_string());
        let compute = |cost: &Cost| cost.scan_micros + cost.hint_micros;
        let compute =
            Difference(compute(cost), compute(than), |micros| format!("{:.1} ms", millis(micros)));
        write!(
            f,
            "With {words} buckets, of {} bytes: {:.1} ms ({traffic} to send and receive, {compute} to \
             compute)",
            other.bucket_bytes(),
            millis(than.lookup_micros()),
        )?;
        let slower = than.lookup_micros() >= cost.lookup_micros();
        f.write_str(if slower { "." } else { ", if the pages fitted in." })
    }
}

/// The difference between the second number and the first.
struct Difference(u64, u64, fn(u64) -> String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(before, after, show) = self;
        match after.checked_sub(*before) {
            Some(0) => f.write_str("as much"),
            Some(more) => write!(f, "{} more", show(more)),
            None => write!(f, "{} less", show(before - after)),
        }
    }
}
