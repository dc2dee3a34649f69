//! Command line of `opaque-prepare`, and the validated configuration made of it once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use opaque_crds::table::Schema;
use opaque_pir::cost::Link;
use thiserror::Error;

/// Makes an epoch of a table from a file, and publishes it in a cluster's store.
///
/// Run by a Job of the operator; by hand without --report, with progress on standard error and the
/// result as JSON on standard output. Credentials come from the environment: the store's as
/// AWS_ACCESS_KEY_ID and so on, the source's as SOURCE_AWS_ACCESS_KEY_ID and so on, SOURCE_TOKEN, or
/// SOURCE_USERNAME and SOURCE_PASSWORD. A source in a bucket without credentials is read unsigned.
#[derive(Debug, Clone, Parser)]
#[command(version, name = "opaque-prepare")]
pub struct Args {
    /// Object store: s3://, gs://, az://, file:// or a directory.
    #[arg(long, value_name = "URL|DIR")]
    pub store: String,
    /// Folder of further variables of the store, one a file, such as AWS_SECRET_ACCESS_KEY, and of ca.crt, authorities
    /// of the store's server; read again whenever it changes. A variable of the environment holds whatever a file says.
    #[arg(long, value_name = "DIR")]
    pub store_credentials: Option<PathBuf>,
    /// The table's name in SQL.
    #[arg(long)]
    pub table: String,
    /// The rows: http://, https://, s3://, gs://, az:// or a file.
    #[arg(long, value_name = "URL|FILE")]
    pub source: String,
    /// Format of the source.
    #[arg(long, value_enum, default_value = "csv")]
    pub format: Format,
    /// Compression of the source.
    #[arg(long, value_enum, default_value = "none")]
    pub compression: Compression,
    /// The columns: JSON, as spec.schema of an OpaqueTable.
    #[arg(long, env = "OPAQUE_SCHEMA", value_name = "JSON")]
    pub schema: String,
    /// Rate of the clients' link that the shape of the matrices is chosen for, in Mbit/s: on a slow link larger buckets
    /// transfer less, on a fast one smaller ones compute less.
    #[arg(long, value_name = "MBITS", default_value = "50")]
    pub link: Link,
    /// Epochs of the table that are kept, the new one included.
    #[arg(long, default_value_t = 3)]
    pub retain: usize,
    /// Epochs that are kept whatever their age: 3,4.
    #[arg(long, default_value = "", value_name = "EPOCHS")]
    pub keep: String,
    /// Lease that takes the report; standard error when absent.
    #[arg(long, value_name = "kubernetes://NAMESPACE/LEASE")]
    pub report: Option<String>,
    /// Identity of what the epoch is made from: the run of this name makes one epoch.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Memory for rows, in MiB. When absent 4096, or half of the container's memory if that is less.
    #[arg(long)]
    pub row_memory_mib: Option<u64>,
    /// Largest source, in MiB as it is transferred.
    #[arg(long, default_value_t = 65536)]
    pub max_source_mib: u64,
    /// Longest silence of a source, in seconds.
    #[arg(long, default_value_t = 60)]
    pub source_timeout_s: u64,
    /// Read sources also from loopback and link-local addresses and those of a cloud's metadata.
    #[arg(long)]
    pub allow_local_sources: bool,
    /// Read a source in a bucket that has no credentials with the store's.
    #[arg(long)]
    pub share_store_credentials: bool,
    /// Threads that compute; all cores when absent.
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Compression of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Plain.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The Lease that takes the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Settings of a run, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Object store.
    pub store: String,
    /// Folder of the store's credentials.
    pub store_credentials: Option<PathBuf>,
    /// The table's name in SQL.
    pub table: String,
    /// Where the rows are.
    pub source: String,
    /// Format of the source.
    pub format: Format,
    /// Compression of the source.
    pub compression: Compression,
    /// The columns.
    pub schema: Schema,
    /// The clients' link.
    pub link: Link,
    /// Epochs kept.
    pub retain: usize,
    /// Epochs kept whatever their age.
    pub keep: BTreeSet<u64>,
    /// Where the report goes.
    pub report: Option<LeaseName>,
    /// Identity of the run.
    pub run: String,
    /// Bytes of rows in memory.
    pub row_memory: u64,
    /// Bytes of the source.
    pub max_source: u64,
    /// Longest silence of the source.
    pub source_timeout: Duration,
    /// Whether a source may be at a local address.
    pub allow_local_sources: bool,
    /// Whether a source without credentials is read with the store's.
    pub share_store_credentials: bool,
    /// CPU threads.
    pub threads: usize,
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, ConfigError> {
        let Args {
            store,
            store_credentials,
            table,
            source,
            format,
            compression,
            schema,
            link,
            retain,
            keep,
            report,
            run,
            row_memory_mib,
            max_source_mib,
            source_timeout_s,
            allow_local_sources,
            share_store_credentials,
            threads,
        } = args;
        let schema = serde_json::from_str(&schema).map_err(ConfigError::Schema)?;
        let numbers = keep.split(',').map(str::trim).filter(|number| !number.is_empty());
        let keep = numbers
            .map(|number| number.parse().map_err(|_| ConfigError::Keep(number.to_owned())))
            .collect::<Result<_, _>>()?;
        let report = report.map(|report| LeaseName::parse(&report)).transpose()?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        // By hand, every run is one of its own.
        let run = run.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        Ok(Self {
            store,
            store_credentials,
            table,
            source,
            format,
            compression,
            schema,
            link,
            retain: retain.max(1),
            keep,
            report,
            run,
            row_memory: row_memory_mib.map_or_else(default_row_memory, |mib| mib.max(1) << 20),
            max_source: max_source_mib.max(1) << 20,
            source_timeout: Duration::from_secs(source_timeout_s.max(1)),
            allow_local_sources,
            share_store_credentials,
            threads: threads.filter(|threads| *threads > 0).unwrap_or_else(cores),
        })
    }
}

impl LeaseName {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::Report(text.to_owned());
        let rest = text.strip_prefix("kubernetes://").ok_or_else(refused)?;
        let (namespace, name) = rest.split_once('/').ok_or_else(refused)?;
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(refused());
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Half of the memory that the container may take, so that a table that is too large is reported and
/// not killed: the other half is for the hint's sums, partitions and what is being written.
fn default_row_memory() -> u64 {
    const MOST: u64 = 4 << 30;
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = files
        .into_iter()
        .find_map(|file| std::fs::read_to_string(Path::new(file)).ok()?.trim().parse::<u64>().ok());
    limit.map_or(MOST, |limit| (limit / 2).min(MOST))
}

/// A command line that makes no run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The schema is not JSON of an OpaqueTable's.
    #[error("OPAQUE_SCHEMA is not the JSON of a table's spec.schema: {0}")]
    Schema(#[source] serde_json::Error),
    /// Not a number.
    #[error("--keep: {0:?} is no epoch; write numbers with commas, such as 3,4")]
    Keep(String),
    /// Not the name of a Lease.
    #[error("--report {0:?}: write kubernetes://NAMESPACE/LEASE")]
    Report(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Config, ConfigError> {
        let schema = r#"{"columns":[{"name":"city","type":"TEXT","role":"key"}]}"#;
        let least = ["opaque-prepare", "--store=s", "--table=t", "--source=f", "--schema", schema];
        Config::try_from(Args::parse_from(least.iter().chain(more)))
    }

    #[test]
    fn a_job_is_configured_as_the_operator_writes_it() {
        let config = parse(&[
            "--format=jsonl",
            "--compression=zstd",
            "--retain=5",
            "--keep=3,4",
            "--link=20",
            "--report=kubernetes://ns/t-prepare",
            "--run=abc",
        ])
        .unwrap();
        assert_eq!((config.format, config.compression), (Format::Jsonl, Compression::Zstd));
        assert_eq!((config.retain, config.keep), (5, BTreeSet::from([3, 4])));
        assert_eq!(config.link.mbits(), 20);
        let lease = LeaseName { namespace: "ns".to_owned(), name: "t-prepare".to_owned() };
        assert_eq!((config.report, config.run.as_str()), (Some(lease), "abc"));
        assert!(parse(&["--keep="]).unwrap().keep.is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (argument, expected) in [
            ("--keep=3,x", "--keep: \"x\" is no epoch; write numbers with commas, such as 3,4"),
            ("--report=ns/t", "--report \"ns/t\": write kubernetes://NAMESPACE/LEASE"),
            (
                "--schema={}",
                "OPAQUE_SCHEMA is not the JSON of a table's spec.schema: missing field `columns` at line 1 column 2",
            ),
        ] {
            let mut all = vec![argument];
            if argument.starts_with("--schema") {
                let least = ["opaque-prepare", "--store=s", "--table=t", "--source=f"];
                let args = Args::parse_from(least.iter().chain(&all));
                assert_eq!(Config::try_from(args).unwrap_err().to_string(), expected);
                continue;
            }
            all.push("--retain=1");
            assert_eq!(parse(&all).unwrap_err().to_string(), expected);
        }
    }
}
