//! What a prepare Job reports: the JSON in annotation [`REPORT_ANNOTATION`] of the table's Lease.
//!
//! The Job writes it, the operator reads it. Fields may be added, and are then ignored by older
//! operators; a reason that an operator does not know is [`Reason::Internal`] to it. Decision 009
//! describes the contract.

use serde::{Deserialize, Serialize};

use super::{Epoch, IndexGeometry};

/// Annotation of the Lease that holds the report. The Job has an annotation with the same key, a
/// digest of `spec.prepare`.
pub const REPORT_ANNOTATION: &str = "opaque.dev/prepare";

/// Progress or result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run that this report describes.
    pub run: String,
    /// The current stage.
    pub stage: Stage,
    /// Finished units of the stage: bytes of the source, or of the matrices.
    #[serde(default)]
    pub done: u64,
    /// All units of the stage, or 0 if unknown.
    #[serde(default)]
    pub total: u64,
    /// Why the run failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Describes the failure for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The epoch that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Every complete epoch in the store, newest first, once done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epochs: Vec<Epoch>,
    /// Matrices of the published epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub geometry: Vec<IndexGeometry>,
    /// A warning about the published epoch, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Report {
    /// The report of a run at the beginning of a stage.
    pub fn new(run: &str, stage: Stage) -> Self {
        Self {
            run: run.to_owned(),
            stage,
            done: 0,
            total: 0,
            reason: None,
            message: None,
            epoch: None,
            epochs: Vec::new(),
            geometry: Vec::new(),
            warning: None,
        }
    }
}

/// A stage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Rows are read from the source.
    Reading,
    /// The geometries of the matrices are chosen.
    Planning,
    /// Partitions and hints are computed and stored.
    Building,
    /// The epoch is published.
    Done,
    /// Nothing was published.
    Failed,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The source does not exist.
    SourceNotFound,
    /// The source cannot be read: the connection broke, or the source has another format.
    SourceUnreadable,
    /// The source refused the credentials.
    SourceRefused,
    /// The source's address is forbidden.
    SourceForbidden,
    /// Rows do not fit the schema.
    SchemaMismatch,
    /// The table exceeds the limit of all tables or of this run.
    TooLarge,
    /// The cluster's store does not accept the epoch.
    StoreUnavailable,
    /// Any other reason, including those of later versions.
    #[serde(other)]
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::SourceNotFound,
        Self::SourceUnreadable,
        Self::SourceRefused,
        Self::SourceForbidden,
        Self::SchemaMismatch,
        Self::TooLarge,
        Self::StoreUnavailable,
        Self::Internal,
    ];

    /// The reason's name in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceNotFound => "SourceNotFound",
            Self::SourceUnreadable => "SourceUnreadable",
            Self::SourceRefused => "SourceRefused",
            Self::SourceForbidden => "SourceForbidden",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::TooLarge => "TooLarge",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::Internal => "Internal",
        }
    }

    /// Whether the source or the schema must change before another run can succeed.
    pub fn is_of_source(self) -> bool {
        match self {
            Self::SourceNotFound
            | Self::SourceUnreadable
            | Self::SourceRefused
            | Self::SourceForbidden
            | Self::SchemaMismatch
            | Self::TooLarge => true,
            Self::StoreUnavailable | Self::Internal => false,
        }
    }
}
