//! What a prepare Job reports: the JSON in annotation [`ANNOTATION`] of the table's Lease.
//!
//! The Job writes it, the operator reads it. Fields may be added, and are then ignored by older
//! operators; a reason that an operator does not know is [`Reason::Internal`] to it. Decision 009
//! describes the contract.

use serde::{Deserialize, Serialize};

use super::{Epoch, IndexGeometry};

/// Annotation of the Lease that holds the report.
pub const ANNOTATION: &str = "opaque.dev/prepare";

/// Progress or result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The run that it is about.
    pub run: String,
    /// How far it is.
    pub stage: Stage,
    /// Units of the stage that are done: bytes of the source, or of the matrices.
    #[serde(default)]
    pub done: u64,
    /// Units of the stage; 0 if not known.
    #[serde(default)]
    pub total: u64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The failure in words.
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
    /// What a person should know of the published epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Report {
    /// A run at the beginning of a stage.
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
    /// Geometries are picked.
    Planning,
    /// Partitions and hints are made and stored.
    Building,
    /// The epoch is published.
    Done,
    /// Nothing was published.
    Failed,
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The source is not there.
    SourceNotFound,
    /// The source cannot be read: the connection broke, or it is not of its format.
    SourceUnreadable,
    /// The source refused the credentials.
    SourceRefused,
    /// The source is at an address where no source may be.
    SourceForbidden,
    /// Rows do not fit the schema.
    SchemaMismatch,
    /// The table is larger than one can be, or than the run may take.
    TooLarge,
    /// The cluster's store does not take the epoch.
    StoreUnavailable,
    /// Anything else, reasons of later versions included.
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

    /// Its name in the report.
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
