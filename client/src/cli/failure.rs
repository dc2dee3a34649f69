//! How a command fails: what happened, then what to do, then the exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use opaque_client::present::escaped;
use thiserror::Error;

use super::text::size;
use crate::dev::DevError;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The library's.
    #[error(transparent)]
    Client(#[from] opaque_client::Error),
    /// `opaque dev`'s.
    #[error(transparent)]
    Dev(#[from] DevError),
    /// `opaque bench`'s.
    #[error(transparent)]
    Bench(#[from] opaque_client::bench::BenchError),
    /// Standard input or output.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer is not the one of `opaque query --expect`. It is on standard output.
    #[error("the answer is not the expected one")]
    UnexpectedAnswer,
    /// A table takes so much memory that it is not loaded without consent.
    #[error("not loaded: it would take {} of node memory, far more than its rows", size(*memory_bytes))]
    TooHeavy {
        /// Memory of one replica of every shard.
        memory_bytes: u64,
    },
    /// Not every shard serves.
    #[error("{0}")]
    NotServing(String),
}

impl Failure {
    /// Tells the user and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        // Whoever reads our output has seen enough (`opaque query … | head`).
        if matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        // Nobody is left to tell when standard error is gone.
        let _ = io::stderr().write_all(self.text().as_bytes());
        ExitCode::FAILURE
    }

    /// What is told. Files, logs and names that it quotes may be anybody's: they cannot steer the
    /// terminal. What a node said is on one line already ([`CallError`](opaque_client::session::CallError)).
    fn text(&self) -> String {
        let mut text = format!("error: {self}\n");
        if let Some(hint) = self.hint() {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text.lines().map(|line| escaped(line) + "\n").collect()
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(error) => error.hint(),
            Self::Dev(error) => error.hint(),
            Self::Bench(error) => error.hint(),
            Self::NotServing(_) => {
                Some("the nodes' logs say why; those of `opaque dev` are in DATA/logs".to_owned())
            }
            Self::TooHeavy { .. } => Some(
                "shorten the longest rows, or load it all the same with --yes; nothing was sent"
                    .to_owned(),
            ),
            Self::UnexpectedAnswer => {
                Some("compare it with --expect, headers included: --format decides them".to_owned())
            }
            Self::Io(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_steers_the_terminal() {
        let failure = Failure::NotServing("two\nlines\u{1b}[2J\r\u{202e}".to_owned());
        let text = failure.text();
        assert!(text.starts_with("error: two\nlines\\u{1b}[2J\\r\\u{202e}\nhint: "), "{text:?}");
    }
}
