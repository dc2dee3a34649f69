//! Arguments that say how files are written, and the files.

use std::{path::Path, time::Duration};

use clap::{Args, ValueEnum};
use opaque_fetch::{Request, Source};
use opaque_source::{Delimiter, Dialect, Input, Mark, Null, Quotes, Settings, SourceError};
use opaque_store::Settings as StoreSettings;

use crate::failure::Failure;

/// Longest time without data from a server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// How files are written.
#[derive(Args)]
pub(in crate::commands) struct FileArguments {
    /// Format of the files, if the name and the first bytes do not show it
    #[arg(long, value_enum)]
    format: Option<Format>,
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
    #[command(flatten)]
    dialect: DialectArguments,
}

impl FileArguments {
    /// The format, and how the files are read.
    pub(in crate::commands) fn settings(self) -> (Option<opaque_source::Format>, Settings) {
        let Self { format, dialect, ignore_extra, null, lenient_quotes } = self;
        let quotes = if lenient_quotes { Quotes::Lenient } else { Quotes::Strict };
        let (dialect, null) = (dialect.into(), Null::Text(null));
        let columns = Vec::new();
        (format.map(Into::into), Settings { dialect, null, quotes, ignore_extra, columns })
    }
}

/// How delimited text is written. What is not set is detected.
#[derive(Args)]
#[command(next_help_heading = "Options for delimited text")]
struct DialectArguments {
    /// Character between fields, or `tab`; detected: comma, tab, semicolon and pipe
    #[arg(long, value_name = "CHAR")]
    delimiter: Option<Delimiter>,
    /// Character around fields that contain delimiters, or `none`; detected: " and '
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

/// Opens a file or a URL. Blocks.
pub(in crate::commands) fn input(path: &str) -> Result<Input, Failure> {
    opened(path)?.map_err(|error| fault(path, error))
}

/// An error of a file.
pub(in crate::commands) fn fault(path: &str, source: SourceError) -> Failure {
    opaque_client::Error::Source { path: path.into(), source: Box::new(source) }.into()
}

fn opened(path: &str) -> Result<Result<Input, SourceError>, Failure> {
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
