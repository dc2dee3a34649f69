//! `opaque bench`.

mod bar;
mod cluster;
mod show;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use opaque_client::bench::{self, BenchError, Kernels, Plan, Size, plot};
use opaque_pir::cost::Link;
use opaque_pir::geometry::BUCKET_SIZES;
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};

use super::{failure::Failure, text::duration};
use bar::Bar;

#[derive(Args)]
#[command(after_help = "\
Measures whole lookups of random data in this process: encryption, scan, hint product, answer,
decryption. Every byte is compared with the data; a wrong one is an error. Figures are medians, caches
cold, and stand beside a plain read of the same bytes in the same run. Building the hint of each size
takes longest: some seconds per GiB and core.
With --over cluster, node processes serve a table of --size (1GiB at most) of generated rows here while
--clients ask for --time; every row is checked. Its matrix may take four times --size, in memory and in
TMPDIR. --kernel, --bucket-bytes, --repeat and --plot are not for it.

Examples:
  opaque bench --size 64MiB
  opaque bench --size 64MiB,256MiB,1GiB,4GiB --batch 1,8 --shards 1,2,4 --plot bench.svg
  opaque bench --size 1GiB --kernel avx2 --repeat 9 --format json > avx2.json
  opaque bench --over cluster --size 256MiB --batch 1 --shards 2 --clients 8 --time 30s")]
pub(crate) struct Arguments {
    /// Bytes of the matrix (of a cluster's table), from 64MiB to 4GiB; lists are separated by commas
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',', default_value = "1GiB", value_parser = size)]
    size: Vec<Size>,
    /// Lookups in one request
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 8], value_parser = clap::value_parser!(u16).range(1..=64))]
    batch: Vec<u16>,
    /// Shards that share the matrix; they take turns
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: Vec<u32>,
    /// Threads of each shard, and of the client
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Machine code: auto, scalar, avx2, avx-vnni, avx512-vnni, amx or neon-dotprod
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = str::parse::<Kernels>)]
    kernel: Kernels,
    /// R, bytes of a bucket: 256, 512, 1024, 2048 or a further multiple of 2048 up to 65536; when absent that
    /// with which a lookup over --link takes the least estimated time
    #[arg(long, value_name = "BYTES", value_parser = bucket_bytes)]
    bucket_bytes: Option<u32>,
    /// Rate of the clients' link in Mbit/s, for which the bytes of a bucket are chosen
    #[arg(long, value_name = "MBITS", default_value = "50")]
    link: Link,
    /// Rounds, of which medians are taken
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// What answers: the engine in this process, or a cluster of node processes
    #[arg(long, value_enum, default_value_t)]
    over: Over,
    /// Clients of a cluster that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// How long the clients of a cluster ask
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    time: Duration,
    /// How figures are written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Draw time against size, batch and shards into this file, too
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Over {
    /// The engine, in this process
    #[default]
    Engine,
    /// Node processes, over TLS
    Cluster,
}

/// How figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// One array of objects
    Json,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut rng = StdRng::try_from_rng(&mut SysRng)
        .map_err(|error| opaque_client::Error::Randomness(io::Error::other(error)))?;
    let bar = Bar::new();
    match arguments.over {
        Over::Engine => tokio::task::block_in_place(|| engine(arguments, &mut rng, &bar)),
        Over::Cluster => cluster(arguments, &mut rng, &bar).await,
    }
}

fn engine(arguments: Arguments, rng: &mut StdRng, bar: &Bar) -> Result<(), Failure> {
    let plan = Plan {
        sizes: arguments.size,
        bucket_bytes: arguments.bucket_bytes,
        link: arguments.link,
        batches: arguments.batch.into_iter().map(usize::from).collect(),
        shards: arguments.shards,
        threads: arguments.threads.into(),
        kernels: arguments.kernel,
        repeat: arguments.repeat.into(),
    };
    let measured = bench::run(&plan, rng, &|progress| bar.show(progress));
    bar.clear();
    let measured = measured?;
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Table => show::tables(&mut out, &measured)?,
        Format::Json => show::json(&mut out, &measured)?,
    }
    out.flush()?;
    if let Some(path) = arguments.plot {
        let chart = plot::svg(&measured)?;
        fs::write(&path, chart).map_err(|source| BenchError::Write { path, source })?;
    }
    Ok(())
}

async fn cluster(arguments: Arguments, rng: &mut StdRng, bar: &Bar) -> Result<(), Failure> {
    if arguments.plot.is_some() {
        let why = "only --over engine is drawn; use --format json and a program of yours";
        return Err(BenchError::Plot(why.to_owned()).into());
    }
    let plan = cluster::Plan {
        sizes: arguments.size,
        batches: arguments.batch.into_iter().map(usize::from).collect(),
        shards: arguments.shards,
        threads: arguments.threads,
        clients: arguments.clients,
        time: arguments.time,
    };
    let served = cluster::run(&plan, rng, bar).await;
    bar.clear();
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Table => show::cluster(&mut out, &served?)?,
        Format::Json => show::json(&mut out, &served?)?,
    }
    Ok(out.flush()?)
}

/// Sizes that say something: larger than caches, small enough for a lookup's largest matrix.
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.arguments)
    }

    #[test]
    fn lists_and_defaults_are_read() {
        let Arguments { size, batch, shards, threads, bucket_bytes, repeat, .. } =
            parse("--size 64MiB,1GiB --shards 1,2,4").unwrap();
        assert_eq!(size, [Size(64 << 20), Size(1 << 30)]);
        assert_eq!((batch, shards), (vec![1, 8], vec![1, 2, 4]));
        assert_eq!((threads, bucket_bytes, repeat), (1, None, 5));
        assert_eq!(parse("--bucket-bytes 24576").unwrap().bucket_bytes, Some(24_576));
        let arguments = parse("").unwrap();
        assert_eq!((arguments.size, arguments.shards), (vec![Size(1 << 30)], vec![1]));
    }

    #[test]
    fn what_cannot_be_measured_is_refused_with_what_can() {
        for (line, says) in [
            ("--size 1MiB", "from 64MiB to 4GiB"),
            ("--size 8GiB", "from 64MiB to 4GiB"),
            ("--size 64", "write 64MiB"),
            ("--size 64MiB,,", "write 64MiB"),
            ("--batch 0", "1..=64"),
            ("--shards 1,0", "1..=64"),
            ("--bucket-bytes 5000", "multiple of 2048"),
            ("--link 0", "write a number of Mbit/s from 1 to 100000"),
            ("--kernel quick", "auto, scalar"),
            ("--repeat 0", "repeat"),
            ("--format yaml", "json"),
        ] {
            let error = parse(line).err().unwrap().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
