//! Publishes events about objects.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::labels::FIELD_MANAGER;
use crate::text::shorten;

/// Timeout of an event: it must not hold up the action that it reports.
const LIMIT: Duration = Duration::from_secs(5);
/// Maximum length of an event's note.
const NOTE: usize = 1000;

/// Publishes events in the name of this process.
#[derive(Clone)]
pub struct Events(Recorder);

// A client may hold credentials.
impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// `identity` names this process.
    pub fn new(client: Client, identity: String) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(identity) };
        Self(Recorder::new(client, reporter))
    }

    /// Publishes an event about an object. A failure is only logged, so that it does not hide what
    /// the event reports.
    pub async fn publish(
        &self,
        about: &ObjectReference,
        type_: EventType,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: (!note.is_empty()).then(|| shorten(note, NOTE)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        match tokio::time::timeout(LIMIT, self.0.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, reason, "an event was not published"),
            Err(_) => tracing::warn!(reason, "an event was not published in time"),
        }
    }
}

/// Kind, namespace and name of an object, for events.
pub(crate) fn reference(object: &DynamicObject) -> ObjectReference {
    let types = object.types.clone().unwrap_or_default();
    ObjectReference {
        api_version: Some(types.api_version),
        kind: Some(types.kind),
        name: object.metadata.name.clone(),
        namespace: object.metadata.namespace.clone(),
        uid: object.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
