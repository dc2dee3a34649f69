//! `opaque load`.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use opaque_client::{Client, Event, OnEvent, Rows, RowsBuilder, terminal::escaped};
use opaque_fetch::{Request, Source};
use opaque_pir::{
    cost::Link,
    index::{TableFigures, Weight},
};
use opaque_source::{
    Bent, Delimiter, Dialect, Input, Mark, Null, Quotes, Reader, Settings, SourceError,
};
use opaque_store::Settings as StoreSettings;

use super::costs;
use crate::{
    failure::Failure,
    text::{count, size},
};

/// Longest time without data from a server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Args)]
#[command(after_help = "\
The schema is one CREATE TABLE; mark each column to search by as KEY (unique) or INDEX:
  CREATE TABLE weather (city TEXT KEY, conditions TEXT INDEX, temperature INT)

Files hold delimited text (such as CSV), JSON objects or Parquet, plain or compressed by gzip
or zstd. The name or the first bytes of a file show which. Nested columns of Parquet become
JSON text.

For delimited text, the beginning of the file shows the delimiter, the quote, comments and
whether the first line is a header. The command prints what it found, and options set it. If
two readings fit, the file is refused, and the error names both and the option that decides. A
header names the columns in any order and case; without one, the fields have the order of the
schema. An empty field is NULL, and \"\" is empty text. A quote that is never closed, or that
text follows, is an error with its position.

All files are checked before a row is sent, and the old epoch is served until the new one is
complete and tested. Credentials come from the environment: AWS_ACCESS_KEY_ID and so on for a
bucket, SOURCE_TOKEN, or SOURCE_USERNAME and SOURCE_PASSWORD, for a web server.

One long row makes the buckets of every index large. If a table needs more than 256 MiB of
node memory and 64 times its rows, a warning is printed before it is sent. Above 1 GiB it is
loaded only with --yes or after confirmation on the terminal.

Examples:
  opaque load schema.sql weather.csv
  opaque load --link 10 schema.sql weather.csv
  opaque load --null NA schema.sql weather.csv.zst
  opaque load schema.sql 2025-*.jsonl.gz
  opaque load schema.sql https://example.com/weather.csv
  opaque load --no-header --columns id,name,_ --ignore-extra schema.sql people.tsv
  opaque load --delimiter ';' --skip 2 schema.sql export.txt
  zcat weather.csv.gz | opaque load schema.sql -")]
pub(crate) struct Arguments {
    /// File with CREATE TABLE
    schema: PathBuf,
    /// Files with the rows of the table: .csv, .tsv, .psv, .json, .jsonl, .ndjson or .parquet, plain,
    /// .gz or .zst; `-` is standard input; https://, http://, s3://, gs:// and az:// are read from there
    #[arg(required = true)]
    data: Vec<String>,
    /// Format of the files, if the name and the first bytes do not show it
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    dialect: DialectArguments,
    /// Skip columns of the files that the schema does not name
    #[arg(long)]
    ignore_extra: bool,
    /// Field text that means NULL
    #[arg(long, value_name = "STRING", default_value = "")]
    null: String,
    /// Accept a quote that is never closed (the field then extends to the end of the file) and text
    /// after a closing quote (it becomes part of the field), and report the number of affected
    /// records
    #[arg(long)]
    lenient_quotes: bool,
    /// Rate of the link between your clients and the cluster, in Mbit/s: a slow link gets larger
    /// buckets, which transfer fewer bytes; a fast one gets smaller buckets, which need less work
    /// (`opaque describe` shows both)
    #[arg(long, value_name = "MBITS", default_value = "50")]
    link: Link,
    /// Load the table without confirmation, even if it takes more than 1 GiB of node memory and 64
    /// times its rows
    #[arg(long)]
    yes: bool,
}

/// How delimited text is written. What is not set is detected.
#[derive(Args)]
#[command(next_help_heading = "Options for delimited text")]
struct DialectArguments {
    /// Character between fields, or `tab`; detected: comma, tab, semicolon and pipe
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<Delimiter>,
    /// Character around fields that contain delimiters, or `none`; detected: \" and '
    #[arg(long, value_name = "CHAR")]
    quote: Option<Mark>,
    /// Character at the beginning of lines to ignore, or `none`; detected: #
    #[arg(long, value_name = "CHAR")]
    comment: Option<Mark>,
    /// The first line is a row
    #[arg(long)]
    no_header: bool,
    /// Names of the fields of files without a header, in their order
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Vec<String>,
    /// Number of lines to ignore at the beginning of each file
    #[arg(long, value_name = "LINES", default_value = "0")]
    skip: u64,
}

impl From<DialectArguments> for Dialect {
    fn from(arguments: DialectArguments) -> Self {
        let DialectArguments { delimiter, quote, comment, no_header, columns, skip } = arguments;
        let header = no_header.then_some(false);
        Self { delimiter, quote, comment, header, columns, skip }
    }
}

/// Formats of data.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Delimited text, such as comma-separated values
    Csv,
    /// JSON objects one after another, such as JSON lines, or one array of objects
    #[value(alias = "jsonl")]
    Json,
    /// Apache Parquet
    Parquet,
}

impl From<Format> for opaque_source::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
            Format::Parquet => Self::Parquet,
        }
    }
}

/// What must happen before a table is sent.
#[derive(Debug, PartialEq, Eq)]
enum Consent {
    /// Nothing; the table can be sent.
    Given,
    /// Ask the user at the terminal.
    Asked,
    /// Refuse, because consent is needed and no user can be asked.
    Lacking,
}

impl Consent {
    fn of(weight: Weight, yes: bool, terminal: bool) -> Self {
        match (weight, yes, terminal) {
            (Weight::Usual | Weight::Heavy, _, _) | (Weight::VeryHeavy, true, _) => Self::Given,
            (Weight::VeryHeavy, false, true) => Self::Asked,
            (Weight::VeryHeavy, false, false) => Self::Lacking,
        }
    }
}

pub(crate) async fn run(client: &Client, arguments: Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let bar = Bar::new();
    let Arguments { schema, data, format, dialect, ignore_extra, null, lenient_quotes, link, yes } =
        arguments;
    let quotes = if lenient_quotes { Quotes::Lenient } else { Quotes::Strict };
    let (dialect, null) = (dialect.into(), Null::Text(null));
    let settings = Settings { dialect, null, quotes, ignore_extra };
    let format = format.map(Into::into);
    let rows = tokio::task::block_in_place(|| read(&schema, &data, format, &settings, &bar));
    let rows = rows.inspect_err(|_| bar.clear())?.for_link(link);
    let (total, bent) = (rows.len(), rows.bent());
    bar.stage("checking", "{msg:<10} {spinner}");
    let figures = tokio::task::block_in_place(|| rows.figures()).inspect_err(|_| bar.clear())?;
    let longest = rows.longest().map_or_else(|| "?".to_owned(), |place| place.to_string());
    if let Some(figures) = figures.as_ref().filter(|figures| figures.weight() > Weight::Usual) {
        bar.0.suspend(|| consent(figures, &longest, yes)).inspect_err(|_| bar.clear())?;
    }
    let published = client.load(rows, bar.listener()).await;
    bar.clear();
    let published = published?;
    if quotes == Quotes::Lenient {
        writeln!(io::stderr(), "{}", leniency(bent))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        io::stdout(),
        "loaded {} rows into {} (epoch {}, {} of matrices) in {seconds:.1} s, {} rows/s",
        count(total),
        published.table.schema.table(),
        published.table.epoch,
        size(published.matrix_bytes),
        count(per_second(total, begun.elapsed())),
    )?;
    let Some(figures) = figures else { return Ok(()) };
    let mut out = io::stdout().lock();
    // The figures were shown with the warning before.
    if figures.sizes.shorter.is_empty() || figures.weight() > Weight::Usual {
        writeln!(out, "{}", costs::summary(&figures, &longest))?;
    } else {
        writeln!(out)?;
        costs::write(&mut out, &figures, &format!("on {longest}"))?;
    }
    Ok(())
}

/// Reads all files, and prints how they are written.
fn read(
    schema: &Path,
    files: &[String],
    format: Option<opaque_source::Format>,
    settings: &Settings,
    bar: &Bar,
) -> Result<Rows, Failure> {
    let schema = Rows::schema(schema)?;
    let mut rows = RowsBuilder::new(schema.clone());
    let mut told = None;
    for path in files {
        let fault =
            |source| opaque_client::Error::Source { path: path.into(), source: Box::new(source) };
        let input = input(path)?.map_err(fault)?;
        let reader = Reader::new(input, format, &schema, settings).map_err(fault)?;
        let (name, dialect) = (reader.name().to_owned(), reader.dialect());
        let dialect = dialect.map(|dialect| dialect.to_string());
        let read = rows.read(reader, |read, total| bar.reading(read, total));
        read.map_err(|error| Failure::Rows { error, dialect: dialect.clone() })?;
        if let Some(dialect) = dialect.filter(|dialect| told.as_ref() != Some(dialect)) {
            let name = match files {
                [_] => String::new(),
                _ => format!("{}: ", escaped(&name)),
            };
            bar.0.suspend(|| writeln!(io::stderr(), "{name}{dialect}"))?;
            told = Some(dialect);
        }
    }
    Ok(rows.finish())
}

/// Opens a file or a URL. Blocks.
fn input(path: &str) -> Result<Result<Input, SourceError>, Failure> {
    if !opaque_fetch::is_url(path) {
        return Ok(Input::open(Path::new(path)));
    }
    // This program runs where its user can reach every server anyway.
    let request = Request {
        url: path.to_owned(),
        allow_local: true,
        share_store_credentials: true,
        max_bytes: u64::MAX,
        timeout: SERVER_TIMEOUT,
        agent: concat!("opaque/", env!("CARGO_PKG_VERSION")),
    };
    let connecting = async move { Source::connect(&request, &StoreSettings::from_env()).await };
    let source = tokio::runtime::Handle::current().block_on(connecting)?;
    Ok(source.into_any_input())
}

/// Prints the table's costs, and continues only with consent.
fn consent(figures: &TableFigures, longest: &str, yes: bool) -> Result<(), Failure> {
    let mut err = io::stderr().lock();
    writeln!(err, "warning: this table needs much memory for its rows")?;
    costs::write(&mut err, figures, &format!("on {longest}"))?;
    let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let refused = Failure::TooHeavy { memory_bytes: figures.cost.memory_bytes };
    match Consent::of(figures.weight(), yes, terminal) {
        Consent::Given => Ok(()),
        Consent::Lacking => Err(refused),
        Consent::Asked => {
            write!(err, "\nLoad it anyway? [y/N] ")?;
            err.flush()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer)?;
            let yes = ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str());
            if yes { Ok(()) } else { Err(refused) }
        }
    }
}

/// The effect of `--lenient-quotes`.
fn leniency(bent: Option<Bent>) -> String {
    match bent {
        None => "no record needed --lenient-quotes".to_owned(),
        Some(Bent { records, first_line }) => format!(
            "records that only --lenient-quotes accepts: {}, the first on line {first_line}; their quotes are never \
             closed, or text follows them",
            count(records)
        ),
    }
}

/// Rows per second, rounded down.
fn per_second(rows: u64, time: Duration) -> u64 {
    let rate = u128::from(rows) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// One progress bar that changes with the stage. It is drawn only if standard error is a terminal.
#[derive(Clone)]
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if io::stderr().is_terminal() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }

    fn stage(&self, name: &'static str, template: &str) {
        if self.0.message() != name {
            self.0.set_message(name);
            self.0.reset();
            if let Ok(style) = ProgressStyle::with_template(template) {
                self.0.set_style(style);
            }
        }
    }

    fn reading(&self, read: u64, total: Option<u64>) {
        self.stage("reading", "{msg:<10} {bar:30} {bytes} of {total_bytes}");
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(read);
    }

    fn listener(&self) -> OnEvent {
        let bar = self.clone();
        Arc::new(move |event| match event {
            Event::Sending { rows, total } => {
                bar.stage(
                    "sending",
                    "{msg:<10} {bar:30} {human_pos} of {human_len} rows, {per_sec}",
                );
                bar.0.set_length(total);
                bar.0.set_position(rows);
            }
            Event::Planning => bar.stage("planning", "{msg:<10} {spinner}"),
            Event::Building { bytes, total } => {
                bar.stage("building", "{msg:<10} {bar:30} {bytes} of {total_bytes}");
                bar.0.set_length(total);
                bar.0.set_position(bytes);
            }
            Event::Activating => bar.stage("activating", "{msg:<10} {spinner} {elapsed}"),
            Event::Scanning { .. } => {}
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_very_heavy_wants_consent() {
        for terminal in [false, true] {
            for yes in [false, true] {
                for weight in [Weight::Usual, Weight::Heavy] {
                    assert_eq!(Consent::of(weight, yes, terminal), Consent::Given);
                }
            }
            assert_eq!(Consent::of(Weight::VeryHeavy, true, terminal), Consent::Given);
        }
        assert_eq!(Consent::of(Weight::VeryHeavy, false, true), Consent::Asked);
        assert_eq!(Consent::of(Weight::VeryHeavy, false, false), Consent::Lacking);
    }
}
