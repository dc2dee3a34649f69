//! Why a run failed, and whose fault it is.

use opaque_crds::table::report::Reason;
use opaque_pir::index::PlanError;
use opaque_pir::table::SchemaError;
use opaque_source::SourceError;
use opaque_store::StoreError;
use opaque_store::prepare::PrepareError;
use thiserror::Error;

use crate::source::SourceFault;

/// Why a run failed. Nothing was published.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The source's bytes cannot be had.
    #[error(transparent)]
    Source(#[from] SourceFault),
    /// The bytes are no rows of the schema.
    #[error("{source_name}: {source}")]
    Rows {
        /// The source, as it is shown.
        source_name: String,
        source: Box<SourceError>,
    },
    /// The rows need more memory than the run may take.
    #[error(
        "the rows take more than {limit_mib} MiB of memory: split the table, or give the Job more memory"
    )]
    Memory { limit_mib: u64 },
    /// The schema makes no table.
    #[error("the schema makes no table: {0}")]
    Schema(#[from] SchemaError),
    /// The rows make no epoch.
    #[error(transparent)]
    Prepare(PrepareError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A signal came.
    #[error("the run was stopped before its end; nothing was published")]
    Stopped,
    /// Another run reports to the same Lease.
    #[error("another run of this table has begun")]
    Superseded,
    /// A mistake of this program.
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
    /// The text for the table's status, which more people may read than the source: nothing of the
    /// source's bytes, and nothing that its server has said.
    pub(crate) fn for_status(&self) -> String {
        match self {
            Self::Source(fault) => fault.for_status(),
            Self::Rows { source_name, source } => {
                format!("{source_name}: {}", source.for_status())
            }
            // The text of a panic may quote what was computed with.
            Self::Internal(_) => "internal error; the Job's log says which".to_owned(),
            // The spec, numbers, and what the store says, which the cluster's owner has chosen.
            // Errors of the engine leave the rows' content out.
            Self::Memory { limit_mib: _ }
            | Self::Schema(_)
            | Self::Prepare(_)
            | Self::Store(_)
            | Self::Stopped
            | Self::Superseded => self.to_string(),
        }
    }

    /// Whose fault it is.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Source(fault) => fault.reason(),
            Self::Rows { source, .. } => match **source {
                SourceError::Open { .. }
                | SourceError::Read { .. }
                | SourceError::NotCompressed { .. }
                | SourceError::Format { .. }
                | SourceError::Compression { .. } => Reason::SourceUnreadable,
                SourceError::RowTooLarge { .. } => Reason::TooLarge,
                _ => Reason::SchemaMismatch,
            },
            Self::Memory { .. } => Reason::TooLarge,
            Self::Schema(_) => Reason::SchemaMismatch,
            Self::Prepare(PrepareError::Plan(
                PlanError::DuplicateKey { .. } | PlanError::Row { .. },
            )) => Reason::SchemaMismatch,
            Self::Prepare(PrepareError::Plan(_)) => Reason::TooLarge,
            // Given up by another run, or a mistake of this program: the store does what it is
            // told.
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

#[cfg(test)]
mod tests;
