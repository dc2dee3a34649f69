//! `opaque load`.

mod bar;
mod files;
mod propose;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use opaque_client::{Place, Rows, RowsBuilder, ddl::Declaration, terminal::escaped};
use opaque_pir::{
    cost::Link,
    index::{Forecast, TableFigures, Weight},
};
use opaque_source::{Format, Quotes, Reader, Settings};

pub(super) use self::{
    bar::Bar,
    files::FileArguments,
    propose::{Choice, Proposal, read as propose},
};
use super::{Connection, costs};
use crate::{
    failure::{Failure, SchemaFault},
    text::{count, size},
};

#[derive(Args)]
#[command(after_help = "\
The schema is one CREATE TABLE; mark each column to search by as KEY (unique) or INDEX. FROM is
the files' name of a column, if it is another:
  CREATE TABLE weather (city TEXT KEY, conditions TEXT INDEX, celsius REAL FROM \"Temp. (°C)\")
With --key or --index, the files show the columns and their types, and no schema is needed. They
are then read twice. `opaque schema` prints the schema that was found.

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
  opaque load weather.csv --key city --index conditions
  opaque load --dry-run schema.sql weather.csv
  opaque load --link 10 schema.sql weather.csv
  opaque load --null NA schema.sql weather.csv.zst
  opaque load schema.sql 2025-*.jsonl.gz
  opaque load schema.sql https://example.com/weather.csv
  opaque load --no-header --columns id,name,_ --ignore-extra schema.sql people.tsv
  opaque load --delimiter ';' --skip 2 schema.sql export.txt
  zcat weather.csv.gz | opaque load schema.sql -")]
pub(crate) struct Arguments {
    /// File with CREATE TABLE, and then the files with the rows: .csv, .tsv, .psv, .json, .jsonl,
    /// .ndjson or .parquet, plain, .gz or .zst; `-` is standard input; https://, http://, s3://,
    /// gs:// and az:// are read from there. With --key or --index, there is no schema file
    #[arg(required = true, value_name = "SCHEMA.sql] [DATA")]
    files: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Rate of the link between your clients and the cluster, in Mbit/s: a slow link gets larger
    /// buckets, which transfer fewer bytes; a fast one gets smaller buckets, which need less work
    /// (`opaque describe` shows both)
    #[arg(long, value_name = "MBITS", default_value = "50")]
    link: Link,
    /// Load the table without confirmation, even if it takes more than 1 GiB of node memory and 64
    /// times its rows
    #[arg(long)]
    yes: bool,
    /// Check the files and show what the table would cost, but load nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    reading: FileArguments,
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

pub(crate) async fn run(connection: &Connection, arguments: Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    let Arguments { files, choice, reading, link, yes, dry_run } = arguments;
    let client = if dry_run { None } else { Some(connection.client()?) };
    let (format, settings) = reading.settings();
    let is_lenient = settings.quotes == Quotes::Lenient;
    let bar = Bar::new();
    let rows = tokio::task::block_in_place(|| {
        let Declared { declaration, rows: expected, settings, data } =
            declared(&files, &choice, format, settings, &bar)?;
        let rows = read(declaration, data, format, settings, &bar)?;
        match expected {
            Some(found) if found != rows.len() => {
                Err(Failure::from(SchemaFault::Changed { found, rows: rows.len() }))
            }
            _ => Ok(rows),
        }
    });
    let rows = rows.inspect_err(|_| bar.clear())?.for_link(link);
    let (total, bent) = (rows.len(), rows.bent());
    bar.stage("checking", "{msg:<10} {spinner}");
    let forecast = tokio::task::block_in_place(|| rows.forecast()).inspect_err(|_| bar.clear())?;
    let longest =
        rows.longest().map_or_else(|| "?".to_owned(), |place| escaped(&place.to_string()));
    let Some(client) = client else {
        bar.clear();
        return preview(&rows, forecast.as_ref(), link, &longest);
    };
    let figures = forecast.map(|forecast| forecast.figures);
    if let Some(figures) = figures.as_ref().filter(|figures| figures.weight() > Weight::Usual) {
        bar.0.suspend(|| consent(figures, &longest, yes)).inspect_err(|_| bar.clear())?;
    }
    let published = client.load(rows, bar.listener()).await;
    bar.clear();
    let published = published?;
    if is_lenient {
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

/// What is loaded.
struct Declared<'a> {
    declaration: Declaration,
    /// Number of rows, if the files showed the columns.
    rows: Option<u64>,
    settings: Settings,
    /// The files with rows.
    data: &'a [String],
}

/// The table, and how its files are read.
fn declared<'a>(
    files: &'a [String],
    choice: &Choice,
    format: Option<Format>,
    settings: Settings,
    bar: &Bar,
) -> Result<Declared<'a>, Failure> {
    if !choice.is_empty() {
        let proposal = propose(files, choice, format, settings, bar)?;
        let rows = proposal.surveyed.rows;
        let (declaration, settings) = (proposal.declaration, proposal.settings);
        return Ok(Declared { declaration, rows: Some(rows), settings, data: files });
    }
    let [schema, data @ ..] = files else { return Err(SchemaFault::NoSchema.into()) };
    if data.is_empty() {
        return Err(SchemaFault::NoSchema.into());
    }
    let declaration = Rows::declaration(Path::new(schema))?;
    let settings = Settings { columns: declaration.columns.clone(), ..settings };
    Ok(Declared { declaration, rows: None, settings, data })
}

/// Reads all files, and prints how they are written.
pub(super) fn read(
    declaration: Declaration,
    files: &[String],
    format: Option<Format>,
    settings: Settings,
    bar: &Bar,
) -> Result<Rows, Failure> {
    let schema = declaration.schema;
    let mut rows = RowsBuilder::new(schema.clone());
    let mut told = None;
    for path in files {
        let reader = Reader::new(files::input(path)?, format, &schema, &settings);
        let reader = reader.map_err(|error| files::fault(path, error))?;
        let (name, dialect) = (reader.name().to_owned(), reader.dialect());
        let dialect = dialect.map(|dialect| dialect.to_string());
        let read = rows.read(reader, |read, total| bar.reading("reading", read, total));
        rows = read.map_err(|error| Failure::Rows { error, dialect: dialect.clone() })?;
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

/// Prints what a table would cost.
fn preview(
    rows: &Rows,
    forecast: Option<&Forecast>,
    link: Link,
    longest: &str,
) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let (total, table) = (count(rows.len()), rows.schema().table());
    writeln!(out, "{total} rows fit table {table}; nothing was loaded.\n")?;
    let Some(Forecast { figures, indexes }) = forecast else { return Ok(()) };
    costs::indexes(&mut out, rows.schema(), indexes, link)?;
    writeln!(out)?;
    Ok(costs::write(&mut out, figures, &format!("on {longest}"))?)
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
fn leniency(bent: Option<(u64, Place)>) -> String {
    match bent {
        None => "no record needed --lenient-quotes".to_owned(),
        Some((records, first)) => format!(
            "records that only --lenient-quotes accepts: {}, the first on {}; their quotes are never \
             closed, or text follows them",
            count(records),
            escaped(&first.to_string())
        ),
    }
}

/// Rows per second, rounded down.
fn per_second(rows: u64, time: Duration) -> u64 {
    let rate = u128::from(rows) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
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
