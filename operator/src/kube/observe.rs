//! One watch of each kind, shared by all controllers.
//!
//! **Flow.** Each watch maintains a store, and reports relevant changes to the controllers
//! ([`Touched`]). The renewal of a Lease and a status that the operator itself wrote are not
//! relevant.
//!
//! **Guarantees.**
//! - *Read your writes.* An object that the operator wrote is visible at once, even before its
//!   watch reports it: [`Observed::note_written`].
//! - *Bad objects.* Objects are stored untyped. One that does not fit its kind causes an error
//!   where it is read, with its name, and never breaks a watch.
//! - *Secrets* are watched only by the operator's own label. Users' Secrets are read one by one, by
//!   name. Of users' ConfigMaps only the metadata is watched.
//!
//! **Caveats.** A store is slightly outdated. Writes that must not overwrite other changes are
//! creations, or carry a `resourceVersion`.

mod kinds;
mod watch;
mod written;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, broadcast};

use crate::args::Scope;
use crate::error::Error;
use crate::metrics::Metrics;
use kinds::Kind;
use written::Written;

pub(crate) use kinds::{FOREIGN_CONFIG_MAP, ROOTS};

/// Number of changes that a slow controller may lag behind before it reconciles everything again.
const BACKLOG: usize = 4096;

/// An object with a relevant change.
#[derive(Debug, Clone)]
pub struct Touched {
    /// Its kind, or [`FOREIGN_CONFIG_MAP`] for a ConfigMap of which only metadata is known.
    pub kind: &'static str,
    /// Its metadata. For a deleted object, the last known metadata.
    pub meta: Arc<ObjectMeta>,
    /// Whether it was deleted.
    pub deleted: bool,
}

impl Touched {
    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.meta.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// Its label `key`.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta.labels.as_ref()?.get(key).map(String::as_str)
    }
}

/// The objects of the API server, as last observed.
pub struct Observed {
    kinds: HashMap<&'static str, (Kind, Store<DynamicObject>)>,
    config_maps: Store<PartialObjectMeta<ConfigMap>>,
    listed: OnceCell<()>,
    written: Written,
    touched: broadcast::Sender<Touched>,
    metrics: Metrics,
}

// The stores contain the keys of Secrets.
impl std::fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Observed {
    /// Starts the watches. They end with the returned tasks.
    pub fn start(
        client: &Client,
        scope: &Scope,
        metrics: &Metrics,
    ) -> (Arc<Self>, tokio::task::JoinSet<()>) {
        let (touched, _) = broadcast::channel(BACKLOG);
        let written = Written::default();
        let mut tasks = tokio::task::JoinSet::new();
        let mut kinds = HashMap::new();
        for kind in kinds::all() {
            let bus = watch::Bus::new(kind.name, touched.clone(), written.clone(), metrics.clone());
            let store = watch::objects(client, scope, &kind, bus, &mut tasks);
            kinds.insert(kind.name, (kind, store));
        }
        let bus =
            watch::Bus::new(FOREIGN_CONFIG_MAP, touched.clone(), written.clone(), metrics.clone());
        let config_maps = watch::config_maps(client, scope, bus, &mut tasks);
        let metrics = metrics.clone();
        let listed = OnceCell::new();
        (Arc::new(Self { kinds, config_maps, listed, written, touched, metrics }), tasks)
    }

    /// Changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Touched> {
        self.touched.subscribe()
    }

    /// Waits until every kind has been listed once.
    pub async fn ready(&self) {
        // One task waits on behalf of all, because a store wakes only the last of several waiting
        // tasks.
        let all = async || {
            for (_, store) in self.kinds.values() {
                // It fails only after the watches have ended, and then the process ends too.
                let _ = store.wait_until_ready().await;
            }
            let _ = self.config_maps.wait_until_ready().await;
        };
        self.listed.get_or_init(all).await;
    }

    /// The object `namespace/name` of kind `K`; `None` if it does not exist or the kind is not
    /// watched.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it does not fit its kind.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&());
        self.raw(&kind, namespace, name).map(|object| self.typed(&object)).transpose()
    }

    /// Objects of kind `K` in `namespace` whose label `key` is `value`, by name. Objects that do
    /// not fit their kind are counted, logged and omitted.
    pub fn list<K>(&self, namespace: &str, key: &str, value: &str) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&());
        let matches = |object: &DynamicObject| {
            object.metadata.namespace.as_deref() == Some(namespace)
                && object.labels().get(key).is_some_and(|found| found == value)
        };
        let mut found = Vec::new();
        for object in self.raw_list(&kind, matches) {
            match self.typed(&object) {
                Ok(typed) => found.push(typed),
                Err(error) => tracing::warn!(%error, "leaving out an object"),
            }
        }
        found
    }

    /// All objects of kind `K` in all watched namespaces.
    pub fn all<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let objects = self.raw_list(&K::kind(&()), |_| true);
        objects.iter().filter_map(|object| self.typed(object).ok()).collect()
    }

    /// The object as it is stored.
    pub fn raw(&self, kind: &str, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let (watched, store) = self.kinds.get(kind)?;
        let key = ObjectRef::new_with(name, watched.resource.clone()).within(namespace);
        self.written.newest(kind, namespace, name, store.get(&key))
    }

    /// The stored objects of a kind in `namespace` by name, including those that do not fit the
    /// kind.
    pub(crate) fn raw_in(&self, kind: &str, namespace: &str) -> Vec<Arc<DynamicObject>> {
        self.raw_list(kind, |object| object.metadata.namespace.as_deref() == Some(namespace))
    }

    /// Namespaces with an OpaqueCluster, OpaqueTable or OpaqueShardMap that is not being deleted.
    pub(crate) fn root_namespaces(&self) -> BTreeSet<String> {
        let stays = |object: &DynamicObject| object.metadata.deletion_timestamp.is_none();
        let objects = ROOTS.iter().flat_map(|kind| self.raw_list(kind, stays));
        objects.filter_map(|object| object.namespace()).collect()
    }

    /// Whether the kind is watched.
    pub fn watches(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }

    /// Metadata of a ConfigMap, including one that the operator did not create.
    pub fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<PartialObjectMeta<ConfigMap>>> {
        self.config_maps.get(&ObjectRef::new(name).within(namespace))
    }

    /// Records the API server's answer to a write.
    pub fn note_written(&self, kind: &str, object: DynamicObject) {
        self.written.note(kind, object);
    }

    /// The store of a kind that a controller reconciles.
    pub(crate) fn roots(
        &self,
        kind: &str,
    ) -> Option<(&kube::api::ApiResource, Store<DynamicObject>)> {
        self.kinds.get(kind).map(|(kind, store)| (&kind.resource, store.clone()))
    }

    fn raw_list(
        &self,
        kind: &str,
        matches: impl Fn(&DynamicObject) -> bool,
    ) -> Vec<Arc<DynamicObject>> {
        let Some((_, store)) = self.kinds.get(kind) else { return Vec::new() };
        let mut found = self.written.overlay(kind, store.state());
        found.retain(|object| matches(object));
        found.sort_by(|one, other| {
            (one.namespace(), one.name_any()).cmp(&(other.namespace(), other.name_any()))
        });
        found
    }

    fn typed<K>(&self, object: &DynamicObject) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&()).into_owned();
        let unreadable = |error: serde_json::Error| {
            self.metrics.unreadable(&kind);
            let name = object.name_any();
            Error::Unreadable { kind: kind.clone(), name, reason: error.to_string() }
        };
        let value = serde_json::to_value(object).map_err(unreadable)?;
        serde_json::from_value(value).map_err(unreadable)
    }
}
