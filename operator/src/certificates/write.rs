//! Performs the planned writes.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::core::{ApiResource, NamespaceResourceScope, Resource};
use opaque_crds::{OpaqueCluster, names};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cert_manager;
use super::model::{Wanted, Write};
use super::observe::{contents, is_ours};
use crate::error::Error;
use crate::kube::{Context, check_owner};
use crate::labels::{self, FIELD_MANAGER};

/// Type of all Secrets in this module.
const TLS: &str = "kubernetes.io/tls";

pub(super) async fn write(
    context: &Context,
    cluster: &OpaqueCluster,
    wanted: &Wanted,
    order: &Write,
) -> Result<(), Error> {
    match order {
        Write::Secret { name, contents } => {
            let data = contents.data().iter();
            let data = data.map(|(key, value)| (key.clone(), ByteString(value.bytes().to_vec())));
            let data: BTreeMap<_, _> = data.collect();
            let secret = |metadata| Secret {
                metadata,
                type_: Some(TLS.into()),
                data: Some(data),
                ..Secret::default()
            };
            store(context, cluster, name, &contents.annotations, secret).await
        }
        Write::Trust(data) => {
            let name = names::trust(&wanted.cluster);
            let map =
                |metadata| ConfigMap { metadata, data: Some(data.clone()), ..ConfigMap::default() };
            store(context, cluster, &name, &BTreeMap::new(), map).await
        }
        Write::Issuance { name, spec } => cert_manager::apply(context, cluster, name, spec).await,
        Write::DeleteIssuance(name) => cert_manager::delete(context, &wanted.namespace, name).await,
        Write::DeleteSecret(name) => {
            match context.observed.raw("Secret", &wanted.namespace, name) {
                Some(seen) => delete(context, &seen.metadata).await,
                None => Ok(()),
            }
        }
    }
}

/// Creates an object, or replaces it as a whole.
///
/// This does not use server-side apply, because the plan depends on the observed object, and a key
/// must not be created twice. A creation fails if the object exists by now, and a replacement fails
/// if the object is not the observed one.
async fn store<K>(
    context: &Context,
    cluster: &OpaqueCluster,
    name: &str,
    annotations: &BTreeMap<String, String>,
    build: impl FnOnce(ObjectMeta) -> K,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let namespace = cluster.metadata.namespace.clone().unwrap_or_default();
    let mut metadata =
        labels::owned(cluster, name.to_owned(), labels::of_cluster(&cluster.name_any()));
    let live = context.observed.get::<K>(&namespace, name)?;
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let kind = K::kind(&());
    metadata.annotations = Some(annotations.clone()).filter(|all| !all.is_empty());
    let written = match live {
        None => api.create(&params, &build(metadata)).await.map_err(|error| match error {
            kube::Error::Api(status) if status.is_already_exists() => Error::Foreign {
                kind: kind.to_string(),
                name: name.to_owned(),
                owner: format!("OpaqueCluster {}", cluster.name_any()),
            },
            error => Error::api(format!("creating {kind} {name}"))(error),
        })?,
        Some(live) => {
            let (old, new) = (live.meta().clone(), &mut metadata);
            // A Secret that cert-manager wrote has no owner.
            if labels::controller_of(&old).is_some() {
                check_owner(&kind, new, &old)?;
            }
            let mut labels = old.labels.unwrap_or_default();
            labels.extend(new.labels.take().unwrap_or_default());
            let mut kept = old.annotations.unwrap_or_default();
            // cert-manager's annotations state that it wrote the Secret, which is no longer true.
            kept.retain(|key, _| !is_ours(key) && !key.starts_with(cert_manager::ANNOTATIONS));
            kept.extend(annotations.clone());
            new.labels = Some(labels);
            new.annotations = Some(kept);
            new.resource_version = old.resource_version;
            new.finalizers = old.finalizers;
            let action = format!("replacing {kind} {name}");
            api.replace(name, &params, &build(metadata)).await.map_err(Error::api(action))?
        }
    };
    tracing::info!(kind = %kind, namespace, name, "stored");
    let written = serde_json::to_value(&written).and_then(serde_json::from_value);
    let written = written.map_err(|error| Error::Internal(error.to_string()))?;
    context.wrote(&ApiResource::erase::<K>(&()), written);
    Ok(())
}

/// Deletes a Secret, unless it was replaced by a new one with the same name.
async fn delete(context: &Context, secret: &ObjectMeta) -> Result<(), Error> {
    let namespace = secret.namespace.as_deref().unwrap_or_default();
    let name = secret.name.as_deref().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let same = Preconditions { uid: secret.uid.clone(), ..Preconditions::default() };
    match api.delete(name, &DeleteParams::default().preconditions(same)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::api(format!("deleting Secret {name}"))(error)),
    }
}

/// Earlier versions stored the nodes' authority under a name that another cluster may need.
pub(super) async fn move_authority(
    context: &Context,
    cluster: &OpaqueCluster,
) -> Result<(), Error> {
    let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
    let (earlier, authority) = (names::earlier_authority(&name), names::authority(&name));
    let Some(secret) = context.observed.get::<Secret>(&namespace, &earlier)? else { return Ok(()) };
    let owner = labels::controller_of(&secret.metadata);
    // That name may belong to the server authority of another cluster.
    if owner.is_none_or(|owner| Some(&owner.uid) != cluster.uid().as_ref()) {
        return Ok(());
    }
    if context.observed.raw("Secret", &namespace, &authority).is_none() {
        let annotations = contents(secret.clone()).annotations;
        let Secret { type_, data, .. } = secret.clone();
        let moved = |metadata| Secret { metadata, type_, data, ..Secret::default() };
        store(context, cluster, &authority, &annotations, moved).await?;
    }
    delete(context, &secret.metadata).await
}
