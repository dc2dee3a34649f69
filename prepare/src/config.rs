//! Command line of `opaque-prepare`. clap parses each setting into the type that is used.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::{Parser, ValueEnum, value_parser};
use opaque_crds::table::Schema;
use opaque_pir::cost::Link;
use opaque_source::Dialect;

/// Builds an epoch of a table from a file and publishes it in a cluster's store.
///
/// The operator runs this program in a Job. To run it by hand, omit --report: progress then goes to
/// standard error, and the result to standard output as JSON. Credentials come from the
/// environment: the store's as AWS_ACCESS_KEY_ID and so on, the source's as
/// SOURCE_AWS_ACCESS_KEY_ID and so on, as SOURCE_TOKEN, or as SOURCE_USERNAME and SOURCE_PASSWORD.
/// A source in a bucket is read unsigned if there are no credentials for it.
#[derive(Debug, Clone, Parser)]
#[command(version, name = "opaque-prepare")]
pub struct Config {
    /// Object store: s3://, gs://, az://, file:// or a directory.
    #[arg(long, value_name = "URL|DIR")]
    pub store: String,
    /// Folder with further variables of the store, one file each, such as AWS_SECRET_ACCESS_KEY.
    /// The file ca.crt holds authorities of the store's server. The folder is read again whenever
    /// it changes. Variables of the environment take precedence over files.
    #[arg(long, value_name = "DIR")]
    pub store_credentials: Option<PathBuf>,
    /// Name of the table in SQL.
    #[arg(long)]
    pub table: String,
    /// Where the rows are: http://, https://, s3://, gs://, az:// or a file.
    #[arg(long, value_name = "URL|FILE")]
    pub source: String,
    /// Format of the source.
    #[arg(long, value_enum, default_value = "csv")]
    pub format: Format,
    /// How delimited text is written, as JSON in the form of spec.source.dialect of an OpaqueTable.
    /// What is not set is detected.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = dialect)]
    pub dialect: Dialect,
    /// Skip columns of the source that the schema does not name.
    #[arg(long)]
    pub ignore_extra: bool,
    /// Compression of the source.
    #[arg(long, value_enum, default_value = "none")]
    pub compression: Compression,
    /// Columns of the table as JSON, in the form of spec.schema of an OpaqueTable.
    #[arg(long, env = "OPAQUE_SCHEMA", value_name = "JSON", value_parser = schema)]
    pub schema: Schema,
    /// Rate of the clients' link in Mbit/s, for which the shape of the matrices is chosen. For a
    /// slow link, larger buckets transfer fewer bytes; for a fast link, smaller buckets need less
    /// computation.
    #[arg(long, value_name = "MBITS", default_value = "50")]
    pub link: Link,
    /// Number of epochs of the table to keep, including the new one.
    #[arg(long, default_value_t = 3)]
    pub retain: usize,
    /// Epochs to keep regardless of their age, such as 3,4.
    #[arg(long, default_value = "", value_name = "EPOCHS", value_parser = epochs)]
    pub keep: BTreeSet<u64>,
    /// Lease that receives the report. Without it, the report goes to standard error.
    #[arg(long, value_name = "kubernetes://NAMESPACE/LEASE")]
    pub report: Option<LeaseName>,
    /// Identity of the epoch's input. All runs with the same identity make one epoch in total.
    // By hand, every run has a different identity.
    #[arg(long, value_name = "ID", hide_default_value = true,
        default_value_t = format!("{:032x}", rand::random::<u128>()))]
    pub run: String,
    /// Memory for rows, in MiB. Default: 4096, or half of the container's memory if that is less.
    #[arg(long = "row-memory-mib", value_name = "ROW_MEMORY_MIB", value_parser = mebibytes())]
    row_memory: Option<u64>,
    /// Largest source, in MiB as transferred.
    #[arg(long = "max-source-mib", value_name = "MAX_SOURCE_MIB", default_value = "65536",
        value_parser = mebibytes())]
    pub max_source: u64,
    /// Longest time without data from the source, in seconds.
    #[arg(long = "source-timeout-s", value_name = "SOURCE_TIMEOUT_S", default_value = "60",
        value_parser = value_parser!(u64).map(|seconds: u64| Duration::from_secs(seconds.max(1))))]
    pub source_timeout: Duration,
    /// Also read sources at loopback and link-local addresses, and at those of a cloud's metadata
    /// server.
    #[arg(long)]
    pub allow_local_sources: bool,
    /// Read sources in a bucket that have no credentials with those of the store.
    #[arg(long)]
    pub share_store_credentials: bool,
    /// Number of threads that compute. Default: all cores.
    #[arg(long)]
    threads: Option<usize>,
}

/// Format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Delimited text, such as comma-separated values.
    Csv,
    /// JSON objects one after another, or one array of objects.
    #[value(alias = "jsonl")]
    Json,
    /// Apache Parquet.
    Parquet,
}

/// Compression of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The Lease that receives the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseName {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
}

impl FromStr for LeaseName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.strip_prefix("kubernetes://").and_then(|names| names.split_once('/'));
        match names {
            Some((namespace, name))
                if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
            {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            Some(_) | None => Err("write kubernetes://NAMESPACE/LEASE"),
        }
    }
}

impl Config {
    /// Most bytes of rows in memory.
    pub fn row_memory(&self) -> u64 {
        self.row_memory.unwrap_or_else(default_row_memory)
    }

    /// Number of threads that compute.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|threads| *threads > 0).unwrap_or_else(cores)
    }
}

fn schema(json: &str) -> Result<Schema, String> {
    let refused = |error| format!("not the JSON of a table's spec.schema: {error}");
    serde_json::from_str(json).map_err(refused)
}

fn dialect(json: &str) -> Result<Dialect, String> {
    let refused = |error| format!("not the JSON of a source's dialect: {error}");
    serde_json::from_str(json).map_err(refused)
}

fn epochs(list: &str) -> Result<BTreeSet<u64>, String> {
    let refused =
        |number| format!("{number:?} is not an epoch; write numbers with commas, such as 3,4");
    let numbers = list.split(',').map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().map_err(|_| refused(number))).collect()
}

/// Parses a number of MiB into bytes; 0 counts as 1.
fn mebibytes() -> impl TypedValueParser<Value = u64> {
    value_parser!(u64).map(|mib: u64| mib.max(1) << 20)
}

/// Half of the memory limit of the container, so that a table that is too large is reported before
/// the kernel kills the process. The other half is for the hint's sums, for partitions and for data
/// being written.
fn default_row_memory() -> u64 {
    const MOST: u64 = 4 << 30;
    let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = files
        .into_iter()
        .find_map(|file| std::fs::read_to_string(Path::new(file)).ok()?.trim().parse::<u64>().ok());
    limit.map_or(MOST, |limit| (limit / 2).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 4] = ["opaque-prepare", "--store=s", "--table=t", "--source=f"];
    const SCHEMA: &str = r#"--schema={"columns":[{"name":"city","type":"TEXT","role":"key"}]}"#;

    fn parse(more: &[&str]) -> Result<Config, clap::Error> {
        Config::try_parse_from(LEAST.iter().chain(more))
    }

    #[test]
    fn a_job_is_configured_as_the_operator_writes_it() {
        let config = parse(&[
            SCHEMA,
            "--format=jsonl",
            "--compression=zstd",
            "--retain=5",
            "--keep=3,4",
            "--link=20",
            "--report=kubernetes://ns/t-prepare",
            "--run=abc",
        ])
        .unwrap();
        assert_eq!((config.format, config.compression), (Format::Json, Compression::Zstd));
        assert_eq!((config.retain, config.keep), (5, BTreeSet::from([3, 4])));
        assert_eq!(config.link.mbits(), 20);
        let lease = LeaseName { namespace: "ns".to_owned(), name: "t-prepare".to_owned() };
        assert_eq!((config.report, config.run.as_str()), (Some(lease), "abc"));
        assert!(parse(&[SCHEMA, "--keep="]).unwrap().keep.is_empty());
    }

    /// The custom resource and the reader define the same settings, in crates that do not know each
    /// other.
    #[test]
    fn a_dialect_is_read_as_a_table_declares_it() {
        let declared = opaque_crds::table::Dialect {
            delimiter: Some("tab".to_owned()),
            quote: Some("'".to_owned()),
            comment: Some("none".to_owned()),
            header: Some(false),
            columns: vec!["a".to_owned(), "b c".to_owned()],
            skip: Some(2),
        };
        let flag = format!("--dialect={}", serde_json::to_string(&declared).unwrap());
        let read = parse(&[SCHEMA, &flag]).unwrap().dialect;
        let expected = Dialect {
            delimiter: "\t".parse().ok(),
            quote: Some(opaque_source::Mark::Byte(b'\'')),
            comment: Some(opaque_source::Mark::None),
            header: Some(false),
            columns: declared.columns,
            skip: 2,
        };
        assert_eq!(read, expected);
        assert_eq!(parse(&[SCHEMA]).unwrap().dialect, Dialect::default());
        let error = parse(&[SCHEMA, r#"--dialect={"delimiter":""}"#]).unwrap_err().to_string();
        assert!(error.contains("write one ASCII character"), "{error}");
    }

    #[test]
    fn sizes_and_times_are_parsed_and_never_zero() {
        let flags = ["--row-memory-mib=0", "--max-source-mib=3", "--source-timeout-s=0"];
        let config = parse(&[&[SCHEMA][..], &flags].concat()).unwrap();
        assert_eq!((config.row_memory(), config.max_source), (1 << 20, 3 << 20));
        assert_eq!(config.source_timeout, Duration::from_secs(1));
        let config = parse(&[SCHEMA]).unwrap();
        assert_eq!((config.max_source, config.source_timeout.as_secs()), (64 << 30, 60));
        assert_eq!(config.run.len(), 32, "drawn at random by hand");
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, expected) in [
            (
                &[SCHEMA, "--keep=3,x"][..],
                "'--keep <EPOCHS>': \"x\" is not an epoch; write numbers with commas, such as 3,4",
            ),
            (
                &[SCHEMA, "--report=ns/t"],
                "'--report <kubernetes://NAMESPACE/LEASE>': write kubernetes://NAMESPACE/LEASE",
            ),
            (
                &["--schema={}"],
                "'--schema <JSON>': not the JSON of a table's spec.schema: \
                 missing field `columns` at line 1 column 2",
            ),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
