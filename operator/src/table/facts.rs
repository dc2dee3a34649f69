//! The observed state of a table: the input of decisions.

use jiff::Timestamp;
use opaque_crds::table::report::Report;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable};

/// Everything that a decision depends on.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The table.
    pub table: OpaqueTable,
    /// Its cluster, if it exists.
    pub cluster: Option<OpaqueCluster>,
    /// Its source, as far as Kubernetes shows it.
    pub source: SourceFacts,
    /// Errors in the Secrets that a Job would use, in words.
    pub secrets: Vec<String>,
    /// Its Jobs, in any order. They are read before the report, so a finished Job has already
    /// reported.
    pub jobs: Vec<JobFacts>,
    /// Why the running Job's pod does not run.
    pub pod: Option<String>,
    /// Whether a Job that should have a pod has none.
    pub lacks_pod: bool,
    /// The last report of a Job.
    pub report: Option<Report>,
    /// The cluster's shard map.
    pub map: Option<OpaqueShardMap>,
    /// The time.
    pub now: Timestamp,
}

/// A table's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceFacts {
    /// An address. Only the Job reads it.
    Address,
    /// Data of a ConfigMap.
    Data(Vec<u8>),
    /// The ConfigMap, or its key, does not exist; in words.
    Missing(String),
}

/// A prepare Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFacts {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// The run to which it belongs.
    pub run: String,
    /// Whether it has no pod, and `spec.prepare` has changed since the Job was created.
    pub stale: bool,
    /// Its state.
    pub state: JobState,
}

/// The state of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobState {
    /// It may have pods.
    Active,
    /// It is being deleted, and may still have pods.
    Leaving,
    /// It ended, and its program reported success.
    Complete,
    /// It failed for this reason.
    Failed(String),
}

impl JobFacts {
    /// Whether it may still have pods.
    pub(super) fn is_live(&self) -> bool {
        match self.state {
            JobState::Active | JobState::Leaving => true,
            JobState::Complete | JobState::Failed(_) => false,
        }
    }
}
