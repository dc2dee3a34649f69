//! Objects that the operator wrote and that its watches have not reported yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::DynamicObject;

/// Maximum time for which a written object counts before its watch reports it. A deletion that the
/// watch missed must not be hidden forever.
const TRUSTED: Duration = Duration::from_secs(30);

/// Kind, namespace, name.
type Key = (String, String, String);

/// When each object was written, and the server's answer.
type Objects = HashMap<Key, (Instant, Arc<DynamicObject>)>;

/// Answers to writes. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Written {
    objects: Arc<Mutex<Objects>>,
}

impl Written {
    pub(super) fn note(&self, kind: &str, object: DynamicObject) {
        let key = key(kind, &object.namespace().unwrap_or_default(), &object.name_any());
        self.lock().insert(key, (Instant::now(), Arc::new(object)));
    }

    /// A watch reported `object`, so older writes of it are dropped.
    pub(super) fn seen(&self, kind: &str, object: &DynamicObject) {
        let key = key(kind, &object.namespace().unwrap_or_default(), &object.name_any());
        let mut objects = self.lock();
        if objects.get(&key).is_some_and(|(_, written)| !is_newer(written, object)) {
            objects.remove(&key);
        }
    }

    /// The newer of the written object and the stored one.
    pub(super) fn newest(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        stored: Option<Arc<DynamicObject>>,
    ) -> Option<Arc<DynamicObject>> {
        let key = key(kind, namespace, name);
        let mut objects = self.lock();
        let Some((since, written)) = objects.get(&key) else { return stored };
        let newer = stored.as_ref().is_none_or(|stored| is_newer(written, stored));
        if newer && since.elapsed() < TRUSTED {
            return Some(Arc::clone(written));
        }
        objects.remove(&key);
        stored
    }

    /// The objects of a store, overridden by the written ones.
    pub(super) fn overlay(
        &self,
        kind: &str,
        stored: Vec<Arc<DynamicObject>>,
    ) -> Vec<Arc<DynamicObject>> {
        let mut found: HashMap<Key, Arc<DynamicObject>> = HashMap::new();
        for object in stored {
            let key = key(kind, &object.namespace().unwrap_or_default(), &object.name_any());
            found.insert(key, object);
        }
        for (key, (since, written)) in self.lock().iter() {
            if key.0 != kind || since.elapsed() >= TRUSTED {
                continue;
            }
            let newer = found.get(key).is_none_or(|stored| is_newer(written, stored));
            if newer {
                found.insert(key.clone(), Arc::clone(written));
            }
        }
        found.into_values().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: &str, namespace: &str, name: &str) -> Key {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

/// Whether `one` is a later version than `other`. Versions are increasing numbers. If they are not,
/// the store takes precedence.
fn is_newer(one: &DynamicObject, other: &DynamicObject) -> bool {
    let version = |object: &DynamicObject| object.resource_version()?.parse::<u64>().ok();
    match (version(one), version(other)) {
        (Some(one), Some(other)) => one > other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn object(version: &str) -> DynamicObject {
        object!({
            "metadata": {"namespace": "n", "name": "a", "resourceVersion": version},
        })
    }

    fn newest(written: &Written, stored: Option<&str>) -> Option<String> {
        let stored = stored.map(|version| Arc::new(object(version)));
        written.newest("Secret", "n", "a", stored)?.resource_version()
    }

    #[test]
    fn a_write_is_read_before_the_watch_brings_it() {
        let written = Written::default();
        written.note("Secret", object("5"));
        assert_eq!(newest(&written, None).as_deref(), Some("5"));
        assert_eq!(newest(&written, Some("4")).as_deref(), Some("5"));
        assert_eq!(written.overlay("Secret", vec![Arc::new(object("4"))]).len(), 1);
        assert_eq!(written.overlay("Secret", Vec::new()).len(), 1);
        assert_eq!(written.overlay("Pod", Vec::new()).len(), 0);
    }

    #[test]
    fn the_watch_wins_once_it_is_as_new() {
        let written = Written::default();
        written.note("Secret", object("5"));
        written.seen("Secret", &object("4"));
        assert_eq!(newest(&written, None).as_deref(), Some("5"));
        // The event of a deletion has a version too.
        written.seen("Secret", &object("6"));
        assert_eq!(newest(&written, None), None);
        written.note("Secret", object("7"));
        assert_eq!(newest(&written, Some("7")).as_deref(), Some("7"));
        assert_eq!(newest(&written, None), None);
    }
}
