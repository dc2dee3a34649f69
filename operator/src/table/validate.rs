//! Checks that a table can be prepared, before any Job is created.

use std::collections::BTreeSet;

use super::facts::{Facts, SourceFacts};
use super::map_view::MapView;

/// Why nothing is prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocker {
    /// One word, the reason of conditions.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether the cause is not watched, so that it must be checked periodically.
    pub unwatched: bool,
}

impl Blocker {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message, unwatched: false }
    }

    /// Whether the state is intended, so that nothing is broken.
    pub(super) fn is_intended(&self) -> bool {
        self.reason == PAUSED
    }
}

const PAUSED: &str = "ClusterPaused";

/// Checks everything except the Secrets, which matter only if there is something to prepare.
pub(super) fn check(facts: &Facts, map: Option<&MapView<'_>>) -> Option<Blocker> {
    let table = &facts.table;
    if let Err(errors) = table.validate_cel() {
        return Some(Blocker::new("InvalidSpec", errors.to_string()));
    }
    let name = &table.spec.cluster_ref.name;
    let Some(cluster) = &facts.cluster else {
        let message = format!("OpaqueCluster {name} of spec.clusterRef does not exist: create it");
        return Some(Blocker::new("ClusterMissing", message));
    };
    if cluster.spec.paused {
        let message = format!(
            "OpaqueCluster {name} is paused, so its tables are not changed: set spec.paused of the cluster to false"
        );
        return Some(Blocker::new(PAUSED, message));
    }
    // If a table has epochs, the operator owns it, whatever the map's annotation says.
    let has_epochs = table.status.as_ref().is_some_and(|status| !status.epochs.is_empty());
    let foreign = map.and_then(|map| map.foreign(&table.sql_name()));
    if let Some(foreign) = foreign.filter(|_| !has_epochs) {
        let message = format!(
            "cluster {name} serves a table {foreign} that was loaded with `opaque load`: drop it there, or \
             give this OpaqueTable another name"
        );
        return Some(Blocker::new("NameTaken", message));
    }
    match &facts.source {
        SourceFacts::Missing(message) => Some(Blocker::new("SourceMissing", message.clone())),
        SourceFacts::Address | SourceFacts::Data(_) => None,
    }
}

/// Errors in a Job's Secrets, if any.
pub(super) fn check_secrets(facts: &Facts) -> Option<Blocker> {
    (!facts.secrets.is_empty()).then(|| Blocker {
        reason: "SecretMissing",
        message: facts.secrets.join("; "),
        unwatched: true,
    })
}

/// What a Secret with the credentials for `url` lacks, in words; `None` if it suffices.
pub(super) fn missing_credentials(url: &str, keys: &BTreeSet<&str>) -> Option<String> {
    let has = |key: &str| keys.contains(key);
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "http" | "https" if has("token") || (has("username") && has("password")) => None,
        "http" | "https" => Some("needs the key token, or the keys username and password".into()),
        "s3" if has("AWS_ACCESS_KEY_ID") && has("AWS_SECRET_ACCESS_KEY") => None,
        "s3" => Some("needs the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".into()),
        "gs" if keys.iter().any(|key| key.starts_with("GOOGLE_")) => None,
        "gs" => Some("needs a key such as GOOGLE_SERVICE_ACCOUNT_KEY".into()),
        "az" if keys.iter().any(|key| key.starts_with("AZURE_")) => None,
        "az" => Some("needs keys such as AZURE_STORAGE_ACCOUNT_KEY".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_fit_the_scheme_of_the_address() {
        let lacks = |url, keys: &[&str]| missing_credentials(url, &keys.iter().copied().collect());
        assert_eq!(lacks("https://a/b", &["token"]), None);
        assert_eq!(lacks("https://a/b", &["username", "password"]), None);
        assert!(lacks("https://a/b", &["username"]).is_some());
        assert_eq!(lacks("s3://a/b", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]), None);
        assert!(lacks("s3://a/b", &["token"]).is_some());
    }
}
