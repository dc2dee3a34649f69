//! One watch of each kind, shared by all controllers.
//!
//! **Flow.** Each watch keeps a store, and tells the controllers ([`Touched`]) what changed in a
//! way that can matter: not a Lease's renewal, not a status that the operator itself wrote.
//!
//! **Guarantees.**
//! - *Read your writes.* What the operator wrote is seen at once, also before its watch brings it:
//!   [`Observed::note_written`].
//! - *Bad objects.* Objects are kept untyped. One that does not fit its kind fails where it is
//!   read, with its name, and never breaks a watch.
//! - *Secrets* are watched by the operator's own label only. Those of people are read one by one,
//!   by name; of people's ConfigMaps only the metadata is watched.
//!
//! **Caveats.** A store is a moment old. Writes that must not overwrite are creates, or carry a
//! `resourceVersion`.

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

pub(crate) use kinds::FOREIGN_CONFIG_MAP;
pub(crate) use kinds::ROOTS;

/// Changes that a slow controller may lag behind before it looks at everything again.
const BACKLOG: usize = 4096;

/// An object that changed in a way that can matter.
#[derive(Debug, Clone)]
pub struct Touched {
    /// Its kind; [`FOREIGN_CONFIG_MAP`] for a ConfigMap of which only metadata is known.
    pub kind: &'static str,
    /// Its metadata, the last known if it was deleted.
    pub meta: Arc<ObjectMeta>,
    /// Whether it is gone.
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

/// What the API server holds, as last seen.
pub struct Observed {
    kinds: HashMap<&'static str, (Kind, Store<DynamicObject>)>,
    config_maps: Store<PartialObjectMeta<ConfigMap>>,
    listed: OnceCell<()>,
    written: Written,
    touched: broadcast::Sender<Touched>,
    metrics: Metrics,
}

// Its stores hold the keys of Secrets.
impl std::fmt::Debug for Observed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Observed {
    /// Begins to watch. The watches end with the returned tasks.
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

    /// Waits until every kind was listed once.
    pub async fn ready(&self) {
        // One waits on behalf of all: a store wakes only the last of several tasks that wait for
        // it.
        let all = async || {
            for (_, store) in self.kinds.values() {
                // It fails only when the watches have ended, and with them the process.
                let _ = store.wait_until_ready().await;
            }
            let _ = self.config_maps.wait_until_ready().await;
        };
        self.listed.get_or_init(all).await;
    }

    /// The object `namespace/name` of kind `K`; none when it is not there, or the kind is not
    /// watched.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it does not fit its kind.
    pub fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let kind = K::kind(&());
        self.raw(&kind, namespace, name).map(|object| self.typed(&object)).transpose()
    }

    /// Objects of kind `K` in `namespace` whose label `key` is `value`, by name. Those that do not
    /// fit their kind are counted, logged and left out.
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

    /// All objects of kind `K`, of every namespace that is watched.
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

    /// The objects of a kind in `namespace` as they are stored, by name: also those that do not fit
    /// it.
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

    /// Metadata of a ConfigMap, also of one that the operator did not make.
    pub fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<PartialObjectMeta<ConfigMap>>> {
        self.config_maps.get(&ObjectRef::new(name).within(namespace))
    }

    /// Notes what the API server answered to a write.
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
