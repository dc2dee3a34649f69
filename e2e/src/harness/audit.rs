//! What was asked of the API server, from its audit log (`cluster/audit-policy.yaml`).

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

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who asked, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// Such as `patch`.
    pub verb: String,
    /// Plural of the kind, and the subresource: `leases`, `opaqueclusters/status`.
    pub resource: String,
    /// Empty where there is none.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// Path and query, which tell what a list selects.
    pub uri: String,
    /// HTTP status.
    pub code: u64,
}

impl Call {
    /// Whether a service account of this namespace asked: an operator, a node or a Job in it.
    pub fn is_by_accounts_of(&self, namespace: &str) -> bool {
        let name = self.user.strip_prefix("system:serviceaccount:");
        name.and_then(|name| name.split_once(':')).is_some_and(|(of, _)| of == namespace)
    }

    /// Whether it renews a Lease: what goes on for ever, also where nothing happens.
    pub fn is_renewal(&self) -> bool {
        self.resource == "leases" && matches!(self.verb.as_str(), "update" | "patch")
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

impl Audit {
    /// The log; fails for a cluster of somebody else.
    pub fn new() -> Result<Self> {
        let folder = PathBuf::from(variable(FOLDER_VARIABLE)?);
        Ok(Self { path: folder.join("log/audit.jsonl") })
    }

    /// The end of the log at this moment.
    pub fn mark(&self) -> Result<Mark> {
        Ok(Mark(std::fs::metadata(&self.path)?.len()))
    }

    /// All calls after a mark.
    pub fn since(&self, mut mark: Mark) -> Result<Vec<Call>> {
        self.next(&mut mark)
    }

    /// All calls after a mark, which moves to their end.
    pub fn next(&self, mark: &mut Mark) -> Result<Vec<Call>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may be half written.
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
