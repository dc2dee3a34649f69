//! Adopts the objects that a deleted cluster of the same name left.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use opaque_crds::{OpaqueShardMap, names};

use super::objects::Blueprint;
use crate::certificates;
use crate::error::Error;
use crate::kube::Context;
use crate::labels;

/// Adopts the objects of a cluster with the same name that was deleted without its objects. Objects
/// that are applied are adopted by the apply. Others are found only by the names that the operator
/// gives them: a copy that a person keeps under another name is not touched.
pub(super) async fn adopt(context: &Context, blueprint: &Blueprint<'_>) -> Result<(), Error> {
    let name = blueprint.name();
    let owned = labels::owned(blueprint.cluster, name.clone(), labels::of_cluster(&name));
    let named = |meta: &ObjectMeta, wanted: &str| meta.name.as_deref() == Some(wanted);
    context.adopt::<OpaqueShardMap>(&owned, |meta| named(meta, &name)).await?;
    let trust = names::trust(&name);
    context.adopt::<ConfigMap>(&owned, |meta| named(meta, &trust)).await?;
    // The Lease of a member is removed with its pod.
    let leader = names::leader_lease(&name);
    context.adopt::<Lease>(&owned, |meta| named(meta, &leader)).await?;
    let mut secrets: BTreeSet<String> =
        (0..blueprint.size.shards).map(|shard| names::shard_certificate(&name, shard)).collect();
    secrets.extend([
        names::authority(&name),
        names::earlier_authority(&name),
        names::server_authority(&name),
        names::server_certificate(&name),
    ]);
    // Secrets of cert-manager never had an owner.
    let ours = |meta: &ObjectMeta| {
        meta.name.as_ref().is_some_and(|name| secrets.contains(name))
            && !certificates::is_of_cert_manager(meta)
    };
    context.adopt::<Secret>(&owned, ours).await
}
