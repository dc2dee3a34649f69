//! Reads the observed state of a cluster's certificates.

use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use opaque_crds::names;

use super::members::members;
use super::model::{Contents, Facts, ROTATE, SERIALS, STEP, Wanted};
use super::x509::Sensitive;
use crate::error::Error;
use crate::kube::Context;
use crate::labels;

/// Reads what the operator watches: its own Secrets, the trust ConfigMap, and the nodes' reports.
pub(super) fn observe(context: &Context, wanted: &Wanted) -> Result<Facts, Error> {
    let Wanted { namespace, cluster, .. } = wanted;
    let mut facts = Facts::default();
    for secret in context.observed.list::<Secret>(namespace, labels::CLUSTER, cluster) {
        facts.secrets.insert(secret.name_any(), contents(secret));
    }
    let trust = context.observed.get::<ConfigMap>(namespace, &names::trust(cluster))?;
    facts.trust = trust.and_then(|trust| trust.data).unwrap_or_default();
    let pods = context.observed.list::<Pod>(namespace, labels::CLUSTER, cluster);
    let leases = context.observed.list::<Lease>(namespace, labels::CLUSTER, cluster);
    facts.members = members(&pods, &leases, Timestamp::now());
    Ok(facts)
}

pub(super) fn contents(secret: Secret) -> Contents {
    let mut contents = Contents::default();
    for (key, ByteString(bytes)) in secret.data.into_iter().flatten() {
        contents.set(&key, Sensitive::new(bytes));
    }
    let annotations = secret.metadata.annotations.into_iter().flatten();
    contents.annotations.extend(annotations.filter(|(key, _)| is_ours(key)));
    contents
}

/// Whether planning reads and writes this annotation of a Secret.
pub(super) fn is_ours(annotation: &str) -> bool {
    [ROTATE, STEP, SERIALS].contains(&annotation)
}
