//! Why a run failed, and who can fix it.

use opaque_crds::table::report::Reason;
use opaque_fetch::SourceFault;
use opaque_pir::index::PlanError;
use opaque_pir::table::SchemaError;
use opaque_source::SourceError;
use opaque_store::StoreError;
use opaque_store::error::FailureKind;
use opaque_store::prepare::PrepareError;
use thiserror::Error;

/// Why a run failed. Nothing was published.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The source's bytes cannot be obtained.
    #[error(transparent)]
    Source(#[from] SourceFault),
    /// The bytes are not rows of the schema.
    #[error("{source_name}: {source}")]
    Rows {
        /// The source's name as it is shown to users.
        source_name: String,
        source: Box<SourceError>,
    },
    /// The rows need more memory than the run may use.
    #[error(
        "the rows take more than {limit_mib} MiB of memory: split the table, or give the Job more memory"
    )]
    Memory { limit_mib: u64 },
    /// The schema does not describe a table.
    #[error("the schema does not describe a table: {0}")]
    Schema(#[from] SchemaError),
    /// Two columns have the same name in the source.
    #[error(
        "the schema does not describe a table: two columns have the same `from`, or one has the name of another as `from`"
    )]
    SameSource,
    /// The rows do not make an epoch.
    #[error(transparent)]
    Prepare(PrepareError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signal stopped the run.
    #[error("the run was stopped early; nothing was published")]
    Stopped,
    /// Another run reports to the same Lease.
    #[error("another run of this table has begun")]
    Superseded,
    /// A bug in this program.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Store(error) => Self::Store(error),
            error => Self::Prepare(error),
        }
    }
}

impl Failure {
    /// The text for the table's status. More people may read a status than the source, so the text
    /// contains none of the source's bytes, and no text that its server sent.
    pub(crate) fn for_status(&self) -> String {
        match self {
            Self::Source(fault) => fault.for_status(),
            Self::Rows { source_name, source } => {
                format!("{source_name}: {}", source.for_status())
            }
            // The text of a panic may quote data.
            Self::Internal(_) => "internal error; see the Job's log".to_owned(),
            // These texts consist of the spec, numbers, and text from the store, which the
            // cluster's owner chose. Errors of the engine omit the rows' content.
            Self::Memory { limit_mib: _ }
            | Self::Schema(_)
            | Self::SameSource
            | Self::Prepare(_)
            | Self::Store(_)
            | Self::Stopped
            | Self::Superseded => self.to_string(),
        }
    }

    /// The reason, which tells who can fix the failure.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Source(fault) => reason_of(fault),
            Self::Rows { source, .. } => match **source {
                SourceError::Open { .. }
                | SourceError::Read { .. }
                | SourceError::NotCompressed { .. }
                | SourceError::Format { .. }
                | SourceError::Page { .. }
                | SourceError::Parquet { .. }
                | SourceError::Compression { .. } => Reason::SourceUnreadable,
                SourceError::RowTooLarge { .. } => Reason::TooLarge,
                _ => Reason::SchemaMismatch,
            },
            Self::Memory { .. } => Reason::TooLarge,
            Self::Schema(_) | Self::SameSource => Reason::SchemaMismatch,
            Self::Prepare(PrepareError::Plan(
                PlanError::DuplicateKey { .. } | PlanError::Row { .. },
            )) => Reason::SchemaMismatch,
            Self::Prepare(PrepareError::Plan(_)) => Reason::TooLarge,
            // The epoch was given up by another run, or this program has a bug. The store works
            // correctly.
            Self::Store(StoreError::Abandoned { .. } | StoreError::Inconsistent { .. }) => {
                Reason::Internal
            }
            Self::Store(_) => Reason::StoreUnavailable,
            Self::Prepare(_) | Self::Stopped | Self::Superseded | Self::Internal(_) => {
                Reason::Internal
            }
        }
    }
}

/// Who can fix a source.
fn reason_of(fault: &SourceFault) -> Reason {
    match fault {
        fault if fault.is_forbidden() => Reason::SourceForbidden,
        SourceFault::Missing { .. } => Reason::SourceNotFound,
        SourceFault::Answered { status, .. } => match status.as_u16() {
            404 | 410 => Reason::SourceNotFound,
            401 | 403 | 407 => Reason::SourceRefused,
            _ => Reason::SourceUnreadable,
        },
        SourceFault::Bucket { kind, .. } => match kind {
            FailureKind::NotFound | FailureKind::NoBucket => Reason::SourceNotFound,
            FailureKind::Refused => Reason::SourceRefused,
            FailureKind::Unreachable | FailureKind::Full | FailureKind::Other => {
                Reason::SourceUnreadable
            }
        },
        SourceFault::Url(_)
        | SourceFault::NoFile { .. }
        | SourceFault::Settings { .. }
        | SourceFault::Broken { .. } => Reason::SourceUnreadable,
        SourceFault::TooLarge { .. } => Reason::TooLarge,
    }
}

#[cfg(test)]
mod tests;
