//! Converts a prepare Job's report to words for the table's status.
//!
//! The Job's pod runs our image, but the annotation is untrusted: an unreadable one is ignored, and
//! numbers are clamped where they are used.

use opaque_crds::table::report::{Reason, Report, Stage};

/// Parses an annotation; `None` if it is not a report.
pub(super) fn parse(annotation: &str) -> Option<Report> {
    match serde_json::from_str(annotation) {
        Ok(report) => Some(report),
        Err(error) => {
            tracing::warn!(%error, "a prepare Job's report cannot be read");
            None
        }
    }
}

/// Why the run failed, with what a person can do about it.
pub(super) fn cause(report: &Report) -> (Reason, String) {
    let reason = report.reason.unwrap_or(Reason::Internal);
    let message = report.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let message = message.unwrap_or("it did not say why");
    (reason, format!("{message}: {}", advice(reason)))
}

/// The condition's reason for a report's reason.
pub(super) fn condition(reason: Reason) -> &'static str {
    match reason {
        Reason::Internal => "PreparationFailed",
        reason => reason.as_str(),
    }
}

/// What a person can do about a failure.
pub(super) fn advice(reason: Reason) -> &'static str {
    match reason {
        Reason::SourceNotFound => "check spec.source",
        Reason::SourceUnreadable => {
            "check that spec.source names a file of that format and compression"
        }
        Reason::SourceRefused => "check the credentials in spec.source.secretRef",
        Reason::SourceForbidden => "name another address in spec.source.url",
        Reason::SchemaMismatch => "correct the source or spec.schema",
        Reason::TooLarge => "split the table, or make fewer columns searchable",
        Reason::StoreUnavailable => "check spec.storage of the OpaqueCluster and its Secret",
        Reason::Internal => "see the log of the Job",
    }
}

/// The stage with its progress in percent, such as `building 45%`.
pub(super) fn step(report: &Report) -> String {
    let stage = match report.stage {
        Stage::Reading => "reading",
        Stage::Planning => "planning",
        Stage::Building => "building",
        Stage::Done => "done",
        Stage::Failed => "failed",
    };
    match (u128::from(report.done) * 100).checked_div(u128::from(report.total)) {
        Some(percent) => format!("{stage} {}%", percent.min(100)),
        None => stage.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_shown_in_percent_and_never_above_all() {
        let report = |done, total| {
            let text = format!(r#"{{"run":"a","stage":"building","done":{done},"total":{total}}}"#);
            parse(&text).map(|report| step(&report))
        };
        assert_eq!(report(9, 20).as_deref(), Some("building 45%"));
        assert_eq!(report(0, 0).as_deref(), Some("building"));
        assert_eq!(report(u64::MAX, 1).as_deref(), Some("building 100%"));
    }

    #[test]
    fn a_report_of_a_later_version_is_read() {
        let text = r#"{"run":"a","stage":"failed","reason":"MoonPhase","message":"full","more":1}"#;
        let report = parse(text);
        assert_eq!(report.and_then(|report| report.reason), Some(Reason::Internal));
    }

    #[test]
    fn an_invalid_report_is_ignored() {
        assert_eq!(parse("{"), None);
        assert_eq!(parse(r#"{"run":"a","stage":"levitating"}"#), None);
    }

    #[test]
    fn the_report_of_the_contract_is_read() {
        let text = r#"{"run":"r","stage":"done","done":0,"total":0,"epoch":4,
            "epochs":[{"epoch":4,"digest":"d","rows":9,"bytes":123,"published":"2026-11-21T10:00:00Z"}],
            "geometry":[{"column":"city","buckets":1024,"bucketBytes":64,
                "cost":{"uploadBytes":1,"downloadBytes":2,"scanBytes":3}}]}"#;
        let report = parse(text);
        assert_eq!(report.map(|report| (report.epochs.len(), report.geometry.len())), Some((1, 1)));
    }
}
