//! The objects of a Job: pure functions of table and cluster.
//!
//! The ServiceAccount of a Job may only read and patch one object, the Lease to which it reports.
//! The table owns all objects, so they are removed with it.

mod pod;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use opaque_crds::{OpaqueCluster, OpaqueTable, names};

use super::decide::Start;
use crate::kube::Installed;
use crate::labels::{COMPONENT, MANAGED_BY, NAME, OPERATOR, PRODUCT, TABLE, labels, owned};
use crate::{Error, duration};

/// Annotation of a Job: the run to which it belongs.
pub(super) const RUN: &str = "opaque.dev/run";
/// Annotation of a Job: a digest of `spec.prepare`.
pub(super) const PREPARE_DIGEST: &str = "opaque.dev/prepare";
/// How often Kubernetes restarts a pod of a Job before the operator creates another Job.
const RESTARTS: i32 = 2;
/// How long a finished Job and its log are kept, in seconds.
const KEEP_FINISHED_S: i32 = 24 * 60 * 60;

/// A Job and the objects that it needs.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    /// The ServiceAccount of its pod.
    pub account: ServiceAccount,
    /// The permissions of the ServiceAccount.
    pub role: Role,
    /// The binding of these permissions.
    pub binding: RoleBinding,
    /// The Lease to which it reports.
    pub lease: Lease,
    /// The Job.
    pub job: Job,
}

/// Builds all objects of one Job.
///
/// # Errors
/// The cluster's `podTemplate` does not result in a valid pod.
pub(super) fn objects(
    table: &OpaqueTable,
    cluster: &OpaqueCluster,
    start: &Start,
    installed: &Installed,
) -> Result<Objects, Error> {
    let name = names::prepare(&table.name_any());
    let meta = || metadata(table, name.clone());
    let rule = PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".into()]),
        resources: Some(vec!["leases".into()]),
        resource_names: Some(vec![name.clone()]),
        verbs: vec!["get".into(), "patch".into()],
        ..PolicyRule::default()
    };
    let subject = Subject {
        kind: "ServiceAccount".into(),
        name: name.clone(),
        namespace: table.namespace(),
        ..Subject::default()
    };
    let role_ref = RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: "Role".into(),
        name: name.clone(),
    };
    Ok(Objects {
        account: ServiceAccount {
            metadata: meta(),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        role: Role { metadata: meta(), rules: Some(vec![rule]) },
        binding: RoleBinding { metadata: meta(), role_ref, subjects: Some(vec![subject]) },
        lease: Lease { metadata: meta(), ..Lease::default() },
        job: job(table, cluster, start, installed)?,
    })
}

fn job(
    table: &OpaqueTable,
    cluster: &OpaqueCluster,
    start: &Start,
    installed: &Installed,
) -> Result<Job, Error> {
    let mut metadata = metadata(table, names::prepare_job(&table.name_any(), start.number));
    let (run, prepare) = (start.run.clone(), prepare(table));
    metadata.annotations =
        Some([(RUN.to_owned(), run), (PREPARE_DIGEST.to_owned(), prepare)].into());
    let spec = JobSpec {
        backoff_limit: Some(RESTARTS),
        active_deadline_seconds: duration::parse(&table.spec.prepare.timeout)
            .map(|timeout| timeout.whole_seconds()),
        // A pod that is still terminating may still write, so the next one waits until it is gone.
        pod_replacement_policy: Some("Failed".into()),
        // The disruption of a pod, for instance by a drain, does not count as a failure of the Job.
        pod_failure_policy: Some(PodFailurePolicy {
            rules: vec![PodFailurePolicyRule {
                action: "Ignore".into(),
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".into(),
                    status: "True".into(),
                }]),
                ..PodFailurePolicyRule::default()
            }],
        }),
        ttl_seconds_after_finished: Some(KEEP_FINISHED_S),
        template: pod::template(table, cluster, start, installed)?,
        ..JobSpec::default()
    };
    Ok(Job { metadata, spec: Some(spec), ..Job::default() })
}

/// A digest of `spec.prepare`.
pub(super) fn prepare(table: &OpaqueTable) -> String {
    let text = serde_json::to_vec(&table.spec.prepare).unwrap_or_default();
    blake3::hash(&text).to_hex().get(..16).unwrap_or_default().to_owned()
}

fn metadata(table: &OpaqueTable, name: String) -> ObjectMeta {
    owned(table, name, of_table(&table.name_any()))
}

/// Labels of a table's objects. The cluster's label is omitted, because selectors of the cluster's
/// pods and Leases must not match these objects.
fn of_table(table: &str) -> std::collections::BTreeMap<String, String> {
    labels([(NAME, PRODUCT), (COMPONENT, "prepare"), (MANAGED_BY, OPERATOR), (TABLE, table)])
}
