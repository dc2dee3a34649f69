//! Requests to the API server, from its audit log (`cluster/audit-policy.yaml`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::variable;
use crate::cluster::FOLDER_VARIABLE;

/// The audit log of this run's cluster.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
}

/// A position in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// The verb, such as `patch`.
    pub verb: String,
    /// Plural of the kind, with the subresource: `leases`, `opaqueclusters/status`.
    pub resource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name. Empty for lists.
    pub name: String,
    /// Path and query. They show what a list selects.
    pub uri: String,
    /// HTTP status.
    pub code: u64,
}

impl Call {
    /// Whether a service account of this namespace made the call: an operator, a node or a Job.
    pub fn is_by_accounts_of(&self, namespace: &str) -> bool {
        let name = self.user.strip_prefix("system:serviceaccount:");
        name.and_then(|name| name.split_once(':')).is_some_and(|(of, _)| of == namespace)
    }

    /// Whether the call renews a Lease. Renewals continue forever, even if nothing happens.
    pub fn is_renewal(&self) -> bool {
        self.resource == "leases" && matches!(self.verb.as_str(), "update" | "patch")
    }

    /// Whether the call changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Audit {
    /// The log. Fails in a cluster that `e2e-cluster` did not start.
    pub fn new() -> Result<Self> {
        let folder = PathBuf::from(variable(FOLDER_VARIABLE)?);
        Ok(Self { path: folder.join("log/audit.jsonl") })
    }

    /// The present end of the log.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(std::fs::metadata(&self.path)?.len()))
    }

    /// All calls after a mark.
    pub fn since(&self, mut mark: Mark) -> Result<Vec<Call>> {
        self.next(&mut mark)
    }

    /// All calls after a mark. The mark moves to their end.
    pub fn next(&self, mark: &mut Mark) -> Result<Vec<Call>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be incomplete.
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        let complete = text.get(..end).unwrap_or_default();
        mark.0 += complete.len() as u64;
        complete.lines().map(|line| Ok(call(&serde_json::from_str(line)?))).collect()
    }
}

fn call(event: &Value) -> Call {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut resource = text("/objectRef/resource").to_owned();
    let subresource = text("/objectRef/subresource");
    if !subresource.is_empty() {
        resource = format!("{resource}/{subresource}");
    }
    Call {
        user: text("/user/username").into(),
        verb: text("/verb").into(),
        resource,
        namespace: text("/objectRef/namespace").into(),
        name: text("/objectRef/name").into(),
        uri: text("/requestURI").into(),
        code: event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default(),
    }
}
