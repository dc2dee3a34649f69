//! The status of a waiting table, as a person reads it.

use super::*;
use crate::golden;

/// The status of these facts.
fn told(title: &str, facts: &Facts) -> String {
    let status = decide(facts).status;
    let conditions = status
        .conditions
        .iter()
        .map(|one| format!("  {} {} {}: {}\n", one.type_, one.status, one.reason, one.message));
    let operations = status.operations.iter().map(|one| {
        let by = one.blocked_by.as_deref().unwrap_or("nothing");
        format!("  {} ({}) waits for: {by}\n", one.name, one.step)
    });
    format!("{title}\n{}\n", conditions.chain(operations).collect::<String>())
}

/// A table from an address whose Job failed with this message.
fn failed(reason: Reason, message: &str) -> Facts {
    let mut facts = facts(table_from_url("weather"));
    facts.jobs = vec![job(&facts, 1, JobState::Complete)];
    let mut told = report(&wanted(&facts), Stage::Failed);
    (told.reason, told.message) = (Some(reason), Some(message.into()));
    facts.report = Some(told);
    facts
}

#[test]
fn texts_are_as_in_the_golden_file() {
    let mut homeless = facts(table("weather"));
    (homeless.cluster, homeless.map) = (None, None);
    let mut refused = facts(table("weather"));
    refused.jobs = vec![job(&refused, 1, JobState::Active)];
    refused.lacks_pod = true;
    refused.pod = Some("pods \"weather-prepare-1-x\" is forbidden: exceeded quota: small".into());
    let texts = [
        told("A first epoch is made", &facts(table("weather"))),
        told("The cluster is gone", &homeless),
        told("A quota refuses the Job's pod", &refused),
        told(
            "The source is not there",
            &failed(
                Reason::SourceNotFound,
                "https://example.com/weather.csv answered 404 Not Found",
            ),
        ),
        told(
            "The source wants credentials",
            &failed(
                Reason::SourceRefused,
                "https://example.com/weather.csv answered 403 Forbidden",
            ),
        ),
        told(
            "The source is where none may be",
            &failed(
                Reason::SourceForbidden,
                "http://localhost/weather.csv: it leads to a loopback address, where no source may be unless the operator is installed with sources.allowLocal",
            ),
        ),
        told(
            "A row does not fit",
            &failed(
                Reason::SchemaMismatch,
                "line 2, column temperature: expected a whole number of 64 bits",
            ),
        ),
        told(
            "The store refuses the Job",
            &failed(
                Reason::StoreUnavailable,
                "store: access to tables/weather/epochs was refused (403 Forbidden)",
            ),
        ),
    ];
    golden::check("table/tests/golden.txt", &texts.concat());
}
