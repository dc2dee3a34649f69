//! The watching tasks.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, PartialObjectMeta, TypeMeta};
use kube::core::Resource;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::Touched;
use super::kinds::{Kind, digest};
use super::written::Written;
use crate::args::Scope;
use crate::labels::FIELD_MANAGER;
use crate::metrics::Metrics;

/// Reports relevant changes to the controllers.
pub(super) struct Bus {
    kind: &'static str,
    touched: broadcast::Sender<Touched>,
    written: Written,
    metrics: Metrics,
    /// For each object, its last digest, and its metadata, which is needed when it is deleted.
    known: HashMap<(String, String), (u64, Touched)>,
    /// Objects of the list in progress.
    listed: Option<std::collections::HashSet<(String, String)>>,
}

impl Bus {
    pub(super) fn new(
        kind: &'static str,
        touched: broadcast::Sender<Touched>,
        written: Written,
        metrics: Metrics,
    ) -> Self {
        Self { kind, touched, written, metrics, known: HashMap::new(), listed: None }
    }

    /// Follows a watch until it ends, which happens only at the end of the process.
    async fn follow<K>(
        mut self,
        events: impl Stream<Item = watcher::Result<Event<K>>>,
        digest: impl Fn(&K) -> u64,
        seen: impl Fn(&Written, &K),
    ) where
        K: Resource,
    {
        let mut events = pin!(events);
        let mut failing = false;
        while let Some(event) = events.next().await {
            match event {
                Err(error) => {
                    self.metrics.watch_failed(self.kind);
                    if !failing {
                        let hint = hint(&error);
                        tracing::warn!(kind = self.kind, %error, hint, "a watch failed; retrying");
                    }
                    failing = true;
                    continue;
                }
                Ok(Event::Init) => self.listed = Some(std::collections::HashSet::new()),
                Ok(Event::InitApply(object)) => {
                    seen(&self.written, &object);
                    if let Some(listed) = &mut self.listed {
                        listed.insert(key(&object));
                    }
                    self.applied(&object, digest(&object));
                }
                Ok(Event::Apply(object)) => {
                    seen(&self.written, &object);
                    self.applied(&object, digest(&object));
                }
                Ok(Event::Delete(object)) => {
                    seen(&self.written, &object);
                    self.deleted(&key(&object));
                }
                Ok(Event::InitDone) => self.relisted(),
            }
            if failing {
                tracing::info!(kind = self.kind, "the watch works again");
                failing = false;
            }
        }
    }

    fn applied<K: Resource>(&mut self, object: &K, digest: u64) {
        let key = key(object);
        if self.known.get(&key).is_some_and(|(known, _)| *known == digest) {
            return;
        }
        let mut meta = object.meta().clone();
        meta.managed_fields = None;
        let touched = Touched { kind: self.kind, meta: Arc::new(meta), deleted: false };
        self.known.insert(key, (digest, touched.clone()));
        self.tell(touched);
    }

    fn deleted(&mut self, key: &(String, String)) {
        if let Some((_, touched)) = self.known.remove(key) {
            self.tell(Touched { deleted: true, ..touched });
        }
    }

    /// Objects that were known and are not in the new list were deleted while the watch was down.
    fn relisted(&mut self) {
        let Some(listed) = self.listed.take() else { return };
        let gone: Vec<_> =
            self.known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        for key in gone {
            self.deleted(&key);
        }
    }

    fn tell(&self, touched: Touched) {
        // There is no receiver before the controllers run. They start with all objects.
        let _ = self.touched.send(touched);
    }
}

/// Watches a kind as untyped objects.
pub(super) fn objects(
    client: &Client,
    scope: &Scope,
    kind: &Kind,
    bus: Bus,
    tasks: &mut JoinSet<()>,
) -> Store<DynamicObject> {
    let api = match scope {
        Scope::All => Api::all_with(client.clone(), &kind.resource),
        Scope::Namespace(namespace) => {
            Api::namespaced_with(client.clone(), namespace, &kind.resource)
        }
    };
    let mut config = watcher::Config::default();
    if let Some(selector) = kind.selector {
        config = config.labels(selector);
    }
    let types = TypeMeta {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
    };
    let writer = Writer::new(kind.resource.clone());
    let store = writer.as_reader();
    let events = watcher(api, config)
        .default_backoff()
        .modify(move |object: &mut DynamicObject| trim(object, &types))
        .reflect(writer);
    let digest = kind.digest;
    let name = kind.name;
    tasks.spawn(bus.follow(events, digest, move |written: &Written, object: &DynamicObject| {
        written.seen(name, object);
    }));
    store
}

/// Watches the metadata of all ConfigMaps, because any of them may be a table's source.
pub(super) fn config_maps(
    client: &Client,
    scope: &Scope,
    bus: Bus,
    tasks: &mut JoinSet<()>,
) -> Store<PartialObjectMeta<ConfigMap>> {
    let api: Api<PartialObjectMeta<ConfigMap>> = match scope {
        Scope::All => Api::all(client.clone()),
        Scope::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let writer = Writer::new(());
    let store = writer.as_reader();
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object: &mut PartialObjectMeta<ConfigMap>| {
            object.metadata.managed_fields = None;
        })
        .reflect(writer);
    let digest = |object: &PartialObjectMeta<ConfigMap>| {
        use std::hash::Hash;
        let meta = &object.metadata;
        digest(|hasher| (&meta.uid, &meta.resource_version).hash(hasher))
    };
    // The operator writes no ConfigMap through this watch.
    tasks.spawn(bus.follow(events, digest, |_: &Written, _: &PartialObjectMeta<ConfigMap>| {}));
    store
}

/// Items of a list arrive without their kind. Of `managedFields`, only our own entry is ever read.
fn trim(object: &mut DynamicObject, types: &TypeMeta) {
    object.types.get_or_insert_with(|| types.clone());
    if let Some(entries) = &mut object.metadata.managed_fields {
        entries.retain(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// What a person can do about the error.
fn hint(error: &watcher::Error) -> &'static str {
    let (watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source)) =
        error
    else {
        return "";
    };
    match source {
        kube::Error::Api(status) if status.code == 404 => {
            "the API server does not serve this kind: install the chart opaque-crds"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "the operator's ServiceAccount may not list and watch it: check the chart's RBAC and --namespace"
        }
        _ => "",
    }
}
