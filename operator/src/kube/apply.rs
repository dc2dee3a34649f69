//! Writes objects, only if needed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::{NamespaceResourceScope, Resource};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::compare;
use super::context::Context;
use crate::error::Error;
use crate::labels::{
    CLUSTER, FIELD_MANAGER, MANAGED_BY, NODE, OPERATOR, STATUS_MANAGER, TABLE, controller_of,
};

/// Result of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The object was as desired.
    Unchanged,
    /// The object was written.
    Written,
}

impl Context {
    /// Applies the desired object by server-side apply, unless it is as desired already. Fields
    /// that earlier applies set and that `desired` lacks are removed.
    ///
    /// # Errors
    /// An object with this name belongs to another owner, or the API server refuses.
    pub async fn apply<K>(&self, desired: &K) -> Result<Applied, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
    {
        let resource = ApiResource::erase::<K>(&());
        self.apply_raw(&resource, serde_json::to_value(desired).map_err(internal)?).await
    }

    /// Like [`apply`](Self::apply), for an object without a known type.
    ///
    /// # Errors
    /// The same as there.
    pub async fn apply_raw(
        &self,
        resource: &ApiResource,
        desired: Value,
    ) -> Result<Applied, Error> {
        let mut object: DynamicObject = serde_json::from_value(desired).map_err(internal)?;
        compare::stamp(&mut object).map_err(internal)?;
        let desired = serde_json::to_value(&object).map_err(internal)?;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api = self.api(resource, &namespace);
        let live = match self.observed.raw(&resource.kind, &namespace, &name) {
            Some(live) => Some(live),
            // The object may exist without our labels, or may be of a kind that is not watched.
            None => self.read_live(&api, resource, &name).await?,
        };
        if let Some(live) = &live {
            check_owner(&resource.kind, &object.metadata, &live.metadata)?;
            if !compare::differs(&desired, live) {
                return Ok(Applied::Unchanged);
            }
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let action = format!("applying {} {name}", resource.kind);
        let written =
            api.patch(&name, &params, &Patch::Apply(&desired)).await.map_err(Error::api(action))?;
        tracing::info!(kind = resource.kind, namespace, name, new = live.is_none(), "applied");
        self.wrote(resource, written);
        Ok(Applied::Written)
    }

    /// Creates the object if it is absent; never modifies an existing one. This is for objects that
    /// other writers change later, and for keys that must not be created twice.
    ///
    /// # Errors
    /// An object with this name belongs to another owner, or the API server refuses.
    pub async fn create<K>(&self, desired: &K) -> Result<Applied, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize,
    {
        let resource = ApiResource::erase::<K>(&());
        let object: DynamicObject =
            serde_json::to_value(desired).and_then(serde_json::from_value).map_err(internal)?;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let live = self.observed.raw(&resource.kind, &namespace, &name);
        if let Some(live) = live {
            check_owner(&resource.kind, &object.metadata, &live.metadata)?;
            return Ok(Applied::Unchanged);
        }
        let api = self.api(&resource, &namespace);
        let params =
            PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match api.create(&params, &object).await {
            Ok(written) => {
                tracing::info!(kind = resource.kind, namespace, name, "created");
                self.wrote(&resource, written);
                Ok(Applied::Written)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                if let Some(live) = self.read_live(&api, &resource, &name).await? {
                    check_owner(&resource.kind, &object.metadata, &live.metadata)?;
                }
                Ok(Applied::Unchanged)
            }
            Err(error) => Err(Error::api(format!("creating {} {name}", resource.kind))(error)),
        }
    }

    /// Gives objects that have lost their owner a new one. This is for kinds that are written as a
    /// whole instead of applied.
    ///
    /// # Errors
    /// The API server refuses.
    pub(crate) async fn adopt<K>(
        &self,
        owned: &ObjectMeta,
        which: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        let namespace = owned.namespace.clone().unwrap_or_default();
        let api = self.api(&resource, &namespace);
        for live in self.observed.raw_in(&resource.kind, &namespace) {
            let meta = &live.metadata;
            if !is_orphan(owned, meta) || !which(meta) {
                continue;
            }
            let patch = serde_json::json!({"metadata": {
                "ownerReferences": owned.owner_references, "resourceVersion": meta.resource_version,
            }});
            let name = live.name_any();
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
            let action = format!("adopting {} {name}", resource.kind);
            let written = api
                .patch(&name, &params, &Patch::Merge(&patch))
                .await
                .map_err(Error::api(action))?;
            tracing::info!(kind = resource.kind, namespace, name, "adopted");
            self.wrote(&resource, written);
        }
        Ok(())
    }

    /// Deletes the object if it exists and has the same owner as `desired`.
    ///
    /// # Errors
    /// The API server refuses.
    pub(crate) async fn delete_own(
        &self,
        resource: &ApiResource,
        desired: &ObjectMeta,
    ) -> Result<(), Error> {
        let namespace = desired.namespace.clone().unwrap_or_default();
        let name = desired.name.clone().unwrap_or_default();
        let (kind, api) = (&resource.kind, self.api(resource, &namespace));
        let Some(live) = self.read_live(&api, resource, &name).await? else { return Ok(()) };
        if check_owner(kind, desired, &live.metadata).is_err() {
            return Ok(());
        }
        // Only the observed object, not a new one with the same name.
        let same = Preconditions { uid: live.uid(), ..Preconditions::default() };
        let params = DeleteParams::background().preconditions(same);
        match api.delete(&name, &params).await {
            Ok(_) => {
                tracing::info!(kind, namespace, name, "deleted");
                self.metrics.wrote(kind);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(error) => Err(Error::api(format!("deleting {kind} {name}"))(error)),
        }
    }

    /// Writes the status of `object` if it differs from `previous`. With `version`, the write
    /// succeeds only while the object has that version.
    ///
    /// # Errors
    /// The API server refuses. A conflict if the object has another version.
    pub async fn write_status<K, S>(
        &self,
        object: &K,
        previous: Option<&S>,
        status: &S,
        version: Option<String>,
    ) -> Result<Applied, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        S: Serialize + PartialEq,
    {
        if previous == Some(status) {
            return Ok(Applied::Unchanged);
        }
        let resource = ApiResource::erase::<K>(&());
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            // Never writes the status of a new object with the same name.
            uid: object.uid(),
            resource_version: version,
            ..ObjectMeta::default()
        };
        let body = serde_json::json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "status": status,
        });
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let action = format!("writing the status of {} {name}", resource.kind);
        let api = self.api(&resource, &namespace);
        let written = api
            .patch_status(&name, &params, &Patch::Apply(&body))
            .await
            .map_err(Error::api(action))?;
        self.wrote(&resource, written);
        Ok(Applied::Written)
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    async fn read_live(
        &self,
        api: &Api<DynamicObject>,
        resource: &ApiResource,
        name: &str,
    ) -> Result<Option<std::sync::Arc<DynamicObject>>, Error> {
        let action = format!("reading {} {name}", resource.kind);
        Ok(api.get_opt(name).await.map_err(Error::api(action))?.map(std::sync::Arc::new))
    }

    /// Counts a write and records its answer.
    pub(crate) fn wrote(&self, resource: &ApiResource, written: DynamicObject) {
        self.metrics.wrote(&resource.kind);
        if self.observed.watches(&resource.kind) {
            self.observed.note_written(&resource.kind, written);
        }
    }
}

/// Whether the live object has the same owner as the desired one.
pub(crate) fn check_owner(
    kind: &str,
    desired: &ObjectMeta,
    live: &ObjectMeta,
) -> Result<(), Error> {
    let Some(owner) = controller_of(desired) else { return Ok(()) };
    let (kind, name) = (kind.to_owned(), desired.name.clone().unwrap_or_default());
    let words = format!("{} {}", owner.kind, owner.name);
    match controller_of(live) {
        Some(found) if found.uid == owner.uid => Ok(()),
        None if is_orphan(desired, live) => Ok(()),
        Some(found) if found.kind == owner.kind && found.name == owner.name => {
            Err(Error::Leaving { kind, name, owner: words })
        }
        _ => Err(Error::Foreign { kind, name, owner: words }),
    }
}

/// Whether the live object belonged to an owner of the same name that was deleted without it
/// (`--cascade=orphan`).
pub(crate) fn is_orphan(desired: &ObjectMeta, live: &ObjectMeta) -> bool {
    let same = |key: &str| {
        let label = |meta: &ObjectMeta| meta.labels.as_ref()?.get(key).cloned();
        label(desired) == label(live)
    };
    let ours = |(key, value): (&String, &String)| {
        key == MANAGED_BY && [OPERATOR, NODE].contains(&value.as_str())
    };
    let is_ours = live.labels.iter().flatten().any(ours);
    controller_of(live).is_none() && is_ours && [CLUSTER, TABLE].into_iter().all(same)
}

fn internal(error: serde_json::Error) -> Error {
    Error::Internal(format!("an object could not be written as JSON: {error}"))
}
