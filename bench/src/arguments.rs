//! The command line of `opaque-bench`.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use opaque_cli::failure;
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};

use crate::{
    bar::Bar,
    cluster::{self, Crowd},
    engine,
    error::BenchError,
    plan::Plan,
    plot, show,
};

/// Measure lookups on this machine
#[derive(Parser)]
#[command(
    version,
    name = "opaque-bench",
    max_term_width = 100,
    after_help = "\
Measures whole lookups of random data in this process: encryption, scan, hint product, answer,
decryption. Every byte is compared with the data; a wrong one is an error. Figures are medians with
cold caches, next to a plain read of the same bytes in the same run. Building the hint of each size
takes the most time: some seconds per GiB and core.
With --over cluster, node processes serve a table of --size (1GiB at most) of generated rows here while
--clients query for --time; every row is checked. Its matrix may take four times --size, in memory and in
TMPDIR. --kernel, --bucket-bytes, --repeat and --plot do not apply to it.

Examples:
  opaque-bench --size 64MiB
  opaque-bench --size 64MiB,256MiB,1GiB,4GiB --batch 1,8 --shards 1,2,4 --plot bench.svg
  opaque-bench --size 1GiB --kernel avx2 --repeat 9 --format json > avx2.json
  opaque-bench --over cluster --size 256MiB --batch 1 --shards 2 --clients 8 --time 30s"
)]
pub struct Arguments {
    #[command(flatten)]
    plan: Plan,
    /// What to measure: the engine in this process, or a cluster of node processes
    #[arg(long, value_enum, default_value_t)]
    over: Over,
    #[command(flatten)]
    crowd: Crowd,
    /// Format of the figures
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Also draw time against size, batch and shards into this file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Over {
    /// The engine, in this process
    #[default]
    Engine,
    /// Node processes, over TLS
    Cluster,
}

/// Format of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// One array of objects
    Json,
}

impl Arguments {
    /// Measures and writes the figures, or reports an error on standard error.
    pub async fn run(self) -> ExitCode {
        match run(self).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(BenchError::Io(error)) => failure::tell_io(&error),
            Err(error) => failure::tell(&error, error.hint()),
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), BenchError> {
    let mut rng = StdRng::try_from_rng(&mut SysRng)
        .map_err(|error| opaque_client::Error::Randomness(io::Error::other(error)))?;
    let bar = Bar::new();
    match arguments.over {
        Over::Engine => tokio::task::block_in_place(|| engine(arguments, &mut rng, &bar)),
        Over::Cluster => cluster(arguments, &mut rng, &bar).await,
    }
}

fn engine(arguments: Arguments, rng: &mut StdRng, bar: &Bar) -> Result<(), BenchError> {
    let measured = engine::run(&arguments.plan, rng, &|progress| bar.show(progress));
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

async fn cluster(arguments: Arguments, rng: &mut StdRng, bar: &Bar) -> Result<(), BenchError> {
    if arguments.plot.is_some() {
        let why = "--plot supports only --over engine; use --format json and draw it yourself";
        return Err(BenchError::Plot(why.to_owned()));
    }
    let served = cluster::run(&arguments.plan, &arguments.crowd, rng, bar).await;
    bar.clear();
    let mut out = io::stdout().lock();
    match arguments.format {
        Format::Table => show::cluster(&mut out, &served?)?,
        Format::Json => show::json(&mut out, &served?)?,
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::size::Size;

    fn parse(line: &str) -> Result<Plan, clap::Error> {
        let words = std::iter::once("opaque-bench").chain(line.split_whitespace());
        Arguments::try_parse_from(words).map(|arguments| arguments.plan)
    }

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn lists_and_defaults_are_read() {
        let plan = parse("--size 64MiB,1GiB --shards 1,2,4").unwrap();
        assert_eq!(plan.sizes, [Size(64 << 20), Size(1 << 30)]);
        assert_eq!((plan.batches, plan.shards), (vec![1, 8], vec![1, 2, 4]));
        assert_eq!((plan.threads, plan.bucket_bytes, plan.repeat), (1, None, 5));
        assert_eq!(parse("--bucket-bytes 24576").unwrap().bucket_bytes, Some(24_576));
        let plan = parse("").unwrap();
        assert_eq!((plan.sizes, plan.shards), (vec![Size(1 << 30)], vec![1]));
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
