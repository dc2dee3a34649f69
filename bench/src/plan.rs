//! What to measure: the arguments that both kinds of runs share.

use clap::{Args, builder::TypedValueParser, value_parser};
use opaque_pir::{
    cost::Link,
    geometry::BUCKET_SIZES,
    machine::{Kernels, ScanKernel},
};

use crate::size::Size;

/// A plan. Every size is measured with every number of shards and every batch size.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    /// Bytes of the matrix (of a cluster's table), from 64MiB to 4GiB; lists are separated by
    /// commas
    #[arg(long = "size", value_name = "SIZE,…", value_delimiter = ',', default_value = "1GiB", value_parser = size)]
    pub(crate) sizes: Vec<Size>,
    /// Lookups in one request
    #[arg(long = "batch", value_name = "N,…", value_delimiter = ',', default_values_t = [1, 8], value_parser = value_parser!(u16).range(1..=64).map(usize::from))]
    pub(crate) batches: Vec<usize>,
    /// Shards that share the matrix; they run one after another
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = value_parser!(u32).range(1..=64))]
    pub(crate) shards: Vec<u32>,
    /// Threads of each shard, and of the client
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub(crate) threads: u16,
    /// Machine code: auto, scalar, avx2, avx-vnni, avx512-vnni, amx or neon-dotprod
    #[arg(long = "kernel", value_name = "NAME", default_value = "auto", value_parser = kernels)]
    pub(crate) kernels: Kernels,
    /// R, bytes of a bucket: 256, 512, 1024, 2048 or a further multiple of 2048 up to 65536; if
    /// absent, the value with the shortest estimated lookup over --link
    #[arg(long, value_name = "BYTES", value_parser = bucket_bytes)]
    pub(crate) bucket_bytes: Option<u32>,
    /// Rate of the clients' link in Mbit/s, for which the bytes of a bucket are chosen
    #[arg(long, value_name = "MBITS", default_value = "50")]
    pub(crate) link: Link,
    /// Rounds; figures are medians over them
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..).map(usize::from))]
    pub(crate) repeat: usize,
}

/// Parses a size. Useful sizes are larger than caches and small enough for a lookup's largest
/// matrix.
fn size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    let (least, most) = (Size(64 << 20), Size(4 << 30));
    if (least..=most).contains(&size) {
        Ok(size)
    } else {
        Err(format!("write a size from {least} to {most}"))
    }
}

fn bucket_bytes(text: &str) -> Result<u32, String> {
    let bytes = text.parse().ok().filter(|bytes| BUCKET_SIZES.contains(bytes));
    bytes.ok_or_else(|| {
        "write 256, 512, 1024, 2048 or a further multiple of 2048 up to 65536".to_owned()
    })
}

/// Parses `auto` or the name of a scan kernel.
fn kernels(name: &str) -> Result<Kernels, String> {
    if name == "auto" {
        return Ok(Kernels::best());
    }
    Kernels::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = ScanKernel::available().map(ScanKernel::name).collect();
        format!("this machine has no kernel {name:?}: write auto, {}", names.join(", "))
    })
}
