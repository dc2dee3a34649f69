//! What is observed of a table: the input of the decision about it.

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
    /// Its source, as far as Kubernetes knows it.
    pub source: SourceFacts,
    /// What is wrong with the Secrets that a Job would use, in words.
    pub secrets: Vec<String>,
    /// Its Jobs, in any order. Read before the report: a finished Job has reported.
    pub jobs: Vec<JobFacts>,
    /// Why the running Job's pod does not run.
    pub pod: Option<String>,
    /// Whether a Job that may have a pod has none.
    pub lacks_pod: bool,
    /// What a Job reported last.
    pub report: Option<Report>,
    /// The cluster's shard map.
    pub map: Option<OpaqueShardMap>,
    /// The time.
    pub now: Timestamp,
}

/// A table's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SourceFacts {
    /// An address: what is there, the Job will see.
    Address,
    /// Data of a ConfigMap.
    Data(Vec<u8>),
    /// There is no such ConfigMap, or no such key in it; in words.
    Missing(String),
}

/// A prepare Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobFacts {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// The run that it is for.
    pub run: String,
    /// Whether it has no pod, and would be another after a change of `spec.prepare`.
    pub stale: bool,
    /// How it stands.
    pub state: JobState,
}

/// How a Job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobState {
    /// It may have pods.
    Active,
    /// It is being deleted, and may still have pods.
    Leaving,
    /// It ended, and its program said that it was done.
    Complete,
    /// It gave up, for this reason.
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
