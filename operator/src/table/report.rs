//! What a prepare Job reports: annotation [`ANNOTATION`] of the table's Lease.
//!
//! The Job's pod runs with our image, but the annotation is bytes that we did not write: what
//! cannot be read is no report, and numbers are clamped where they are used.

use opaque_crds::table::{Epoch, IndexGeometry};
use serde::Deserialize;

/// Annotation of the Lease that holds the report.
pub(super) const ANNOTATION: &str = "opaque.dev/prepare";

/// Progress or result of a Job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Report {
    /// The run that it is about.
    pub run: String,
    /// How far it is.
    pub stage: Stage,
    /// Units of the stage that are done.
    #[serde(default)]
    pub done: u64,
    /// Units of the stage; 0 if not known.
    #[serde(default)]
    pub total: u64,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<Reason>,
    /// The failure in words.
    #[serde(default)]
    pub message: Option<String>,
    /// Every complete epoch in the store, once done.
    #[serde(default)]
    pub epochs: Vec<Epoch>,
    /// Geometry of the new epoch, once done.
    #[serde(default)]
    pub geometry: Vec<IndexGeometry>,
    /// What a person should know of the new epoch, once done.
    #[serde(default)]
    pub warning: Option<String>,
}

/// A stage of a Job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stage {
    /// Rows are read from the source.
    Reading,
    /// Buckets are laid out.
    Planning,
    /// Segments and hints are made and stored.
    Building,
    /// The epoch is published.
    Done,
    /// It gave up.
    Failed,
}

/// Why a Job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub(super) enum Reason {
    /// The source is not there.
    SourceNotFound,
    /// The source cannot be read: the connection broke, or it is not of its format.
    SourceUnreadable,
    /// The source refused the credentials.
    SourceRefused,
    /// The source is where none may be.
    SourceForbidden,
    /// Rows do not fit the schema.
    SchemaMismatch,
    /// The table is larger than one can be.
    TooLarge,
    /// The cluster's store does not take the epoch.
    StoreUnavailable,
    /// Anything else, reasons of later versions included.
    #[serde(other)]
    Internal,
}

impl Reason {
    /// As the reason of a condition.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::SourceNotFound => "SourceNotFound",
            Self::SourceUnreadable => "SourceUnreadable",
            Self::SourceRefused => "SourceRefused",
            Self::SourceForbidden => "SourceForbidden",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::TooLarge => "TooLarge",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::Internal => "PreparationFailed",
        }
    }

    /// Whether the source has to change before another try can succeed.
    pub(super) fn is_of_source(self) -> bool {
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

    /// What a person can do about it.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::SourceNotFound => "check spec.source",
            Self::SourceUnreadable => {
                "check that spec.source names a file of that format and compression"
            }
            Self::SourceRefused => "check the credentials in spec.source.secretRef",
            Self::SourceForbidden => "name another address in spec.source.url",
            Self::SchemaMismatch => "correct the source or spec.schema",
            Self::TooLarge => "split the table, or make fewer columns searchable",
            Self::StoreUnavailable => "check spec.storage of the OpaqueCluster and its Secret",
            Self::Internal => "see the log of the Job",
        }
    }
}

impl Report {
    /// Reads an annotation; none if it is not a report.
    pub(super) fn parse(annotation: &str) -> Option<Self> {
        match serde_json::from_str(annotation) {
            Ok(report) => Some(report),
            Err(error) => {
                tracing::warn!(%error, "a prepare Job's report cannot be read");
                None
            }
        }
    }

    /// Why it failed, and in words with what a person can do about it.
    pub(super) fn cause(&self) -> (Reason, String) {
        let reason = self.reason.unwrap_or(Reason::Internal);
        let message = self.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let message = message.unwrap_or("it did not say why");
        (reason, format!("{message}: {}", reason.advice()))
    }

    /// The stage in words with its progress in percent, such as `building 45%`.
    pub(super) fn step(&self) -> String {
        let stage = match self.stage {
            Stage::Reading => "reading",
            Stage::Planning => "planning",
            Stage::Building => "building",
            Stage::Done => "done",
            Stage::Failed => "failed",
        };
        match (u128::from(self.done) * 100).checked_div(u128::from(self.total)) {
            Some(percent) => format!("{stage} {}%", percent.min(100)),
            None => stage.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_in_percent_and_never_above_all() {
        let report = |done, total| {
            let text = format!(r#"{{"run":"a","stage":"building","done":{done},"total":{total}}}"#);
            Report::parse(&text).map(|report| report.step())
        };
        assert_eq!(report(9, 20).as_deref(), Some("building 45%"));
        assert_eq!(report(0, 0).as_deref(), Some("building"));
        assert_eq!(report(u64::MAX, 1).as_deref(), Some("building 100%"));
    }

    #[test]
    fn a_report_of_a_later_version_is_read() {
        let text = r#"{"run":"a","stage":"failed","reason":"MoonPhase","message":"full","more":1}"#;
        let report = Report::parse(text);
        assert_eq!(report.and_then(|report| report.reason), Some(Reason::Internal));
    }

    #[test]
    fn what_is_not_a_report_is_none() {
        assert_eq!(Report::parse("{"), None);
        assert_eq!(Report::parse(r#"{"run":"a","stage":"levitating"}"#), None);
    }

    #[test]
    fn the_report_of_the_contract_is_read() {
        let text = r#"{"run":"r","stage":"done","done":0,"total":0,"epoch":4,
            "epochs":[{"epoch":4,"digest":"d","rows":9,"bytes":123,"published":"2026-11-21T10:00:00Z"}],
            "geometry":[{"column":"city","buckets":1024,"bucketBytes":64,
                "cost":{"uploadBytes":1,"downloadBytes":2,"scanBytes":3}}]}"#;
        let report = Report::parse(text);
        assert_eq!(report.map(|report| (report.epochs.len(), report.geometry.len())), Some((1, 1)));
    }
}
