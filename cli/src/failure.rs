//! Errors of commands: what happened, what to do, and the exit code.

mod schema;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use opaque_client::{session::CallError, terminal::escaped};
use opaque_fetch::SourceFault;
use thiserror::Error;

pub(crate) use self::schema::SchemaFault;
use crate::{dev::DevError, text::size};

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// An error of the client library.
    #[error(transparent)]
    Client(#[from] opaque_client::Error),
    /// An error of `opaque dev`.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// A row of a file is invalid.
    #[error("{error}")]
    Rows {
        /// The position and the reason.
        error: opaque_client::Error,
        /// How the file is written.
        dialect: Option<String>,
    },
    /// The bytes of a source at a URL cannot be obtained.
    #[error(transparent)]
    Fetch(#[from] SourceFault),
    /// An error of standard input or output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer differs from that of `opaque query --expect`. The answer is on standard output.
    #[error("the answer is not the expected one")]
    UnexpectedAnswer,
    /// Some of several statements failed. Their errors have been reported.
    #[error("{failed} of {all} statements failed")]
    Statements {
        /// Statements that failed.
        failed: usize,
        /// Statements of the text.
        all: usize,
        /// The exit code that all of them have, or else 1.
        code: u8,
    },
    /// Files do not show the schema of their table.
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    /// A table needs so much memory that it is loaded only with consent.
    #[error("not loaded: the table needs {} of node memory, far more than its rows", size(*memory_bytes))]
    TooHeavy {
        /// Memory needed by one replica of every shard.
        memory_bytes: u64,
    },
    /// The user ran `opaque bench`.
    #[error("`opaque bench` is now the program `opaque-bench`")]
    BenchMoved,
    /// Not every shard serves.
    #[error("{0}")]
    NotServing(String),
    /// `opaque shell` was run without a terminal.
    #[cfg(feature = "shell")]
    #[error("`opaque shell` needs a terminal for its input and output")]
    NoTerminal,
    /// The prompt or its history cannot be used.
    #[cfg(feature = "shell")]
    #[error("the prompt cannot be used: {0}")]
    Prompt(String),
}

/// The end of `opaque --help`: what the exit codes mean. [`Failure::code`] chooses among them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `status`, every shard serves
  1  it failed in a way that no other code names
  2  wrong options or arguments
  3  the SQL statement has no answer as it is written
  4  no node could be reached or answered in time; for `status`, not every shard serves
  5  the answer is not the one that --expect names
Several statements that fail with different codes have code 1. A command that Ctrl-C ended has
code 130 in most shells.";

impl Failure {
    /// Prints the error and returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Io(error) => tell_io(error),
            failure => {
                tell(failure, failure.hint());
                ExitCode::from(failure.code())
            }
        }
    }

    /// The exit code, as listed in [`EXIT_CODES`].
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Client(error) => client_code(error),
            Self::NotServing(_) => 4,
            Self::UnexpectedAnswer => 5,
            Self::Statements { code, .. } => *code,
            #[cfg(feature = "shell")]
            Self::NoTerminal => 2,
            #[cfg(feature = "shell")]
            Self::Prompt(_) => 1,
            Self::BenchMoved | Self::Schema(SchemaFault::NoSchema) => 2,
            Self::Dev(_)
            | Self::Schema(_)
            | Self::Rows { .. }
            | Self::Fetch(_)
            | Self::Io(_)
            | Self::TooHeavy { .. } => 1,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Dev(error) => error.hint(),
            Self::Rows { error, dialect } => match (error.hint(), dialect) {
                (Some(hint), Some(dialect)) => Some(format!("{hint}; the file was read as {dialect}")),
                (hint, _) => hint,
            },
            Self::Fetch(fault) if fault.is_refused() => Some(
                "credentials come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for a bucket, \
                 SOURCE_TOKEN, or SOURCE_USERNAME and SOURCE_PASSWORD for a web server"
                    .to_owned(),
            ),
            Self::Fetch(_) => Some("nothing was loaded".to_owned()),
            Self::BenchMoved => Some("run `opaque-bench` with the same options".to_owned()),
            Self::NotServing(_) => {
                Some("the nodes' logs say why; those of `opaque dev` are in DATA/logs".to_owned())
            }
            Self::TooHeavy { .. } => Some(
                "nothing was sent: shorten the longest rows, or load the table anyway with --yes"
                    .to_owned(),
            ),
            Self::UnexpectedAnswer => {
                Some("compare it with --expect, headers included; --format sets them".to_owned())
            }
            Self::Schema(fault) => fault.hint().map(str::to_owned),
            #[cfg(feature = "shell")]
            Self::NoTerminal => {
                Some("`opaque query -f FILE` and `opaque query -` run statements in scripts".to_owned())
            }
            #[cfg(feature = "shell")]
            Self::Prompt(_) => None,
            Self::Io(_) | Self::Statements { .. } => None,
        }
    }
}

fn client_code(error: &opaque_client::Error) -> u8 {
    use opaque_client::Error;
    match error {
        Error::Sql(_) => 3,
        Error::Call(
            CallError::Unreachable { .. }
            | CallError::Unavailable { .. }
            | CallError::Deadline { .. },
        ) => 4,
        _ => 1,
    }
}

/// The code of several failures: theirs if they agree, and else 1.
pub(crate) fn common_code(codes: impl IntoIterator<Item = u8>) -> u8 {
    let mut codes = codes.into_iter();
    let first = codes.next().unwrap_or(1);
    if codes.all(|code| code == first) { first } else { 1 }
}

/// Writes an error and its hint to standard error, and returns the exit code.
pub fn tell(error: &impl Display, hint: Option<String>) -> ExitCode {
    // A write fails only if standard error is closed, and then there is no reader.
    let _ = io::stderr().write_all(text(error, hint).as_bytes());
    ExitCode::FAILURE
}

/// [`tell`] for standard input and output. A closed output is no error: its reader has seen enough
/// (`opaque query … | head`).
pub fn tell_io(error: &io::Error) -> ExitCode {
    match error.kind() {
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => tell(error, None),
    }
}

/// The lines that [`tell`] writes. Files, logs and names in an error may be untrusted, so control
/// characters are escaped and cannot control the terminal. A node's message is already on one line
/// ([`CallError`](opaque_client::session::CallError)).
fn text(error: &impl Display, hint: Option<String>) -> String {
    let mut text = format!("error: {error}\n");
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text.lines().map(|line| escaped(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_steers_the_terminal() {
        let failure = Failure::NotServing("two\nlines\u{1b}[2J\r\u{202e}".to_owned());
        let text = text(&failure, failure.hint());
        assert!(text.starts_with("error: two\nlines\\u{1b}[2J\\r\\u{202e}\nhint: "), "{text:?}");
    }
}
