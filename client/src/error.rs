//! All errors of a client, each with a hint about what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use opaque_pir::index::PlanError;
use opaque_source::SourceError;
use thiserror::Error;

use crate::{
    ddl::DdlError,
    description::DescriptionError,
    lookup::LookupError,
    profile::{ProfileError, credentials::CredentialsError},
    registered::RegisteredKeysError,
    salts::SaltError,
    session::CallError,
    sql::SqlError,
};

/// Why an operation of [`crate::Client`] failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The profile is missing or invalid.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Neither a profile nor `--cluster` is given.
    #[error("no cluster is known: there is no {}", profile.display())]
    NoCluster {
        /// The profile's expected path.
        profile: PathBuf,
    },
    /// A file that the user named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The credentials that the user named cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Registered keys cannot be used.
    #[error(transparent)]
    Keys(#[from] RegisteredKeysError),
    /// The configuration selects registered keys but has no key store.
    #[error("this program has no registered keys")]
    NoKeyStore,
    /// The epoch's salt was refused.
    #[error(transparent)]
    Salt(#[from] SaltError),
    /// A node could not be reached, or it refused the call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A table's description is invalid or unsupported.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The statement cannot be answered.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The table's columns changed after the statement was started.
    #[error("the table changed while the statement ran; run it again")]
    Changed,
    /// An answer failed to decrypt or failed a check.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The result of a public scan does not match the table's description.
    #[error("the answer failed its check: {0}")]
    Scan(&'static str),
    /// A public scan returned more than the client accepts.
    #[error("the public scan returns more rows than fit into {mib} MiB")]
    ScanTooLarge {
        /// The limit, from [`crate::QueryOptions::scan_mib`].
        mib: u32,
    },
    /// The schema file is invalid.
    #[error("{}: {source}", path.display())]
    Ddl {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        source: DdlError,
    },
    /// The data file is invalid.
    #[error("{}", located(path, source))]
    Source {
        /// The file.
        path: PathBuf,
        /// Position and reason.
        source: Box<SourceError>,
    },
    /// No matrix can hold the rows.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The cluster refused a load, or the call failed.
    #[error("the load failed: {0}")]
    Load(#[source] CallError),
    /// The cluster refused a rollback, or the call failed.
    #[error("the rollback failed: {0}")]
    Rollback(#[source] CallError),
    /// The operating system returned an error instead of random bytes.
    #[error("cannot read the operating system's randomness: {0}")]
    Randomness(#[source] io::Error),
    /// A worker thread stopped before its result was ready.
    #[error("a worker thread stopped")]
    Worker,
}

/// The error's text, with the file's name in front unless the text already contains it.
fn located(path: &Path, source: &SourceError) -> String {
    if source.names_file() { source.to_string() } else { format!("{}: {source}", path.display()) }
}

impl Error {
    /// What to do about it, where there is something. Hints name options of the command `opaque`.
    ///
    /// An error's text may quote the statement and state how many rows match: show it to the user
    /// who asked, and do not log it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster { .. } => Some(
                "start one with `opaque dev` (it writes the profile), or name one with --cluster \
                 https://HOST:PORT and --ca FILE; `opaque profiles` lists the profiles there are"
                    .to_owned(),
            ),
            Self::Keys(error) => error.hint().map(str::to_owned),
            Self::NoKeyStore => Some(
                "set `keys = \"inline\"` in profile.toml, or give the client a key store (crate \
                 opaque-registered)"
                    .to_owned(),
            ),
            Self::Salt(error) => Some(error.hint().to_owned()),
            Self::Call(error) => error.hint().map(str::to_owned),
            Self::Credentials(error) => error.hint(),
            // No request was sent.
            Self::Load(error) | Self::Rollback(error)
                if matches!(error.reason(), Some("unauthenticated" | "forbidden" | "limit")) =>
            {
                error.hint().map(str::to_owned)
            }
            Self::Description(DescriptionError::Params { .. }) => {
                Some("use an `opaque` of the cluster's version".to_owned())
            }
            Self::Lookup(_) | Self::Scan(_) => Some(
                "no part of the answer was used; if it happens again, the cluster serves damaged \
                 data: see `opaque status` and the nodes' logs"
                    .to_owned(),
            ),
            Self::ScanTooLarge { .. } => Some(
                "--scan-mib sets another limit; LIMIT without WHERE returns fewer rows, and `=` or IN on \
                 a KEY or INDEX column needs no scan"
                    .to_owned(),
            ),
            // Only these two reasons mean that the cluster rejected the load for good.
            Self::Load(error) if matches!(error.reason(), Some("refused" | "malformed")) => {
                Some("nothing was published: the table is as it was".to_owned())
            }
            Self::Load(_) => Some(
                "the load may still complete: check `opaque epochs TABLE`; load again if it did not"
                    .to_owned(),
            ),
            Self::Rollback(error) => match error.reason() {
                Some("refused") => Some("the table is served as before".to_owned()),
                Some("unknown-table") => None,
                _ => Some(
                    "the rollback may still complete: check `opaque epochs TABLE`; repeat it only if \
                     the previous epoch is still active"
                        .to_owned(),
                ),
            },
            Self::Plan(_) => Some("nothing was loaded".to_owned()),
            Self::Source { source, .. } => Some(
                match **source {
                    SourceError::Unclosed { .. } | SourceError::Followed { .. } => {
                        "nothing was loaded; --lenient-quotes accepts such quotes and reports how many"
                    }
                    _ => "nothing was loaded",
                }
                .to_owned(),
            ),
            Self::Profile(_)
            | Self::Read { .. }
            | Self::Description(_)
            | Self::Sql(_)
            | Self::Changed
            | Self::Ddl { .. }
            | Self::Randomness(_)
            | Self::Worker => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn only_a_decision_is_reported_as_one() {
        let refused = |code, reason: &str| {
            let (reason, message) = (reason.to_owned(), "words".to_owned());
            CallError::Refused { code, reason, message }
        };
        let load = |error| Error::Load(error).hint().unwrap();
        for (code, reason) in [(Code::Aborted, "refused"), (Code::InvalidArgument, "malformed")] {
            assert!(load(refused(code, reason)).contains("nothing was published"), "{reason}");
        }
        let within = std::time::Duration::from_secs(600);
        for open in [
            refused(Code::DeadlineExceeded, "deadline"),
            refused(Code::Internal, "internal"),
            refused(Code::Internal, ""),
            CallError::Deadline { within },
            CallError::Unreachable { nodes: 1, reason: "broken pipe".to_owned() },
            CallError::Unavailable { message: "draining".to_owned() },
            CallError::Answer("the load ended without a result"),
        ] {
            assert!(load(open.clone()).contains("may still complete"), "{open}");
            let rollback = Error::Rollback(open.clone()).hint().unwrap();
            assert!(rollback.contains("may still complete"), "{open}");
        }
        let rollback = Error::Rollback(refused(Code::Aborted, "refused")).hint().unwrap();
        assert!(rollback.contains("as before"), "{rollback}");
    }
}
