//! Runs a reconciler: decides when to reconcile, for how long, and when to retry.
//!
//! **Flow.** The runner starts with every root object, and then reconciles the roots that a change
//! affects ([`Reconciler::roots`]). Changes within `DEBOUNCE` count as one. An object is never
//! reconciled twice concurrently. A failed reconcile is retried after its category's pause
//! ([`crate::kube::backoff`]). A successful one is repeated at the time that it requests, and at
//! the latest after `RESYNC`.
//!
//! **Guarantees.** Objects of a namespace are reconciled only while the namespace is claimed
//! (`claimed`). When it becomes claimed, all of them are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject};
use kube::core::Resource;
use kube::runtime::controller::{Action, Config, ReconcileRequest, applier};
use kube::runtime::events::EventType;
use kube::runtime::reflector::{ObjectRef, Store};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};

use super::backoff::Backoff;
use super::context::Context;
use super::events;
use super::observe::Touched;
use super::status::tell_unreadable;
use crate::error::Error;

/// Changes within this time are handled together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Maximum concurrent reconciles.
const CONCURRENCY: u16 = 8;
/// Time limit of a reconcile. Single requests have no limit.
const LIMIT: Duration = Duration::from_secs(60);
/// Interval at which an object is reconciled even without changes.
const RESYNC: Duration = Duration::from_secs(30 * 60);

/// Reconciles objects of one kind.
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// Name in metrics.
    const NAME: &'static str;
    /// The kind.
    type Root: Resource<DynamicType = ()> + DeserializeOwned + Send + 'static;

    /// Namespace and name of each root object that a change affects.
    fn roots(&self, context: &Context, touched: &Touched) -> Vec<(String, String)>;

    /// Reconciles one object. Returns when to reconcile again if nothing changes before.
    fn reconcile(
        &self,
        context: &Context,
        root: Self::Root,
    ) -> impl Future<Output = Result<Option<Duration>, Error>> + Send;
}

/// Runs until `stop` is true and the reconciles in progress have finished.
///
/// # Errors
/// The kind is not watched.
pub(crate) async fn run_controller<R: Reconciler>(
    context: Arc<Context>,
    reconciler: R,
    stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let kind = R::Root::kind(&());
    let changes = (context.observed.changes(), context.claimed.gained());
    let (resource, store) = context
        .observed
        .roots(&kind)
        .ok_or_else(|| Error::Internal(format!("{kind} is not watched")))?;
    let resource = resource.clone();
    context.observed.ready().await;

    let runner = Arc::new(Runner { reconciler, backoff: Backoff::default() });
    let reference = move |namespace: &str, name: &str| {
        ObjectRef::<DynamicObject>::new_with(name, resource.clone()).within(namespace)
    };
    let requests =
        requests(Arc::clone(&runner), Arc::clone(&context), changes, store.clone(), reference);
    let policy_runner = Arc::clone(&runner);
    applier(
        move |object, context| {
            let runner = Arc::clone(&runner);
            Box::pin(async move { runner.reconcile(&context, &object).await })
        },
        move |object, error: &Error, _| policy_runner.failed(&object, error),
        context,
        store,
        requests.take_until(stopped(stop)).map(Ok::<_, std::convert::Infallible>),
        Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY),
    )
    // The runner has counted and logged failures. The remaining results belong to roots that were
    // deleted in between.
    .for_each(|_| std::future::ready(()))
    .await;
    Ok(())
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which also means to stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Yields all roots first, then those that changes affect and those in newly claimed namespaces,
/// and all roots again after events were lost.
fn requests<R: Reconciler>(
    runner: Arc<Runner<R>>,
    context: Arc<Context>,
    (changes, gained): (broadcast::Receiver<Touched>, broadcast::Receiver<String>),
    store: Store<DynamicObject>,
    reference: impl Fn(&str, &str) -> ObjectRef<DynamicObject> + Clone + Send + 'static,
) -> impl Stream<Item = ReconcileRequest<DynamicObject>> {
    let first = roots(&store, &reference, |_| true);
    let (claimed, of_claimed) = (store.clone(), reference.clone());
    let claims = stream::unfold((gained, of_claimed), move |(mut gained, reference)| {
        let store = claimed.clone();
        async move {
            let requests = match gained.recv().await {
                Ok(namespace) => roots(&store, &reference, |of| of == namespace),
                Err(broadcast::error::RecvError::Lagged(_)) => roots(&store, &reference, |_| true),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((stream::iter(requests), (gained, reference)))
        }
    });
    let later = stream::unfold((changes, reference), move |(mut changes, reference)| {
        let (runner, context, store) = (Arc::clone(&runner), Arc::clone(&context), store.clone());
        async move {
            let requests = match changes.recv().await {
                Ok(touched) => {
                    let roots = runner.roots(&context, &touched);
                    roots
                        .iter()
                        .map(|(namespace, name)| reference(namespace, name).into())
                        .collect()
                }
                Err(broadcast::error::RecvError::Lagged(_)) => roots(&store, &reference, |_| true),
                Err(broadcast::error::RecvError::Closed) => return None,
            };
            Some((stream::iter(requests), (changes, reference)))
        }
    });
    stream::iter(first).chain(stream::select(later.flatten(), claims.flatten()))
}

/// The root objects of the namespaces that `concerned` selects.
fn roots(
    store: &Store<DynamicObject>,
    reference: &impl Fn(&str, &str) -> ObjectRef<DynamicObject>,
    concerned: impl Fn(&str) -> bool,
) -> Vec<ReconcileRequest<DynamicObject>> {
    let request = |object: Arc<DynamicObject>| {
        let namespace = object.namespace().unwrap_or_default();
        concerned(&namespace).then(|| reference(&namespace, &object.name_any()).into())
    };
    store.state().into_iter().filter_map(request).collect()
}

struct Runner<R> {
    reconciler: R,
    backoff: Backoff,
}

impl<R: Reconciler> Runner<R> {
    fn roots(&self, context: &Context, touched: &Touched) -> Vec<(String, String)> {
        if touched.kind == R::Root::kind(&()) && touched.deleted {
            self.backoff.forget(&key(touched.namespace(), touched.name()));
        }
        self.reconciler.roots(context, touched)
    }

    async fn reconcile(&self, context: &Context, object: &DynamicObject) -> Result<Action, Error> {
        let namespace = object.namespace().unwrap_or_default();
        // All objects of a namespace are reconciled when it becomes claimed, so nothing has to be
        // remembered until then.
        let Some(mut claim) = context.claimed.of(&namespace) else {
            return Ok(Action::await_change());
        };
        let started = Instant::now();
        let attempt = tokio::time::timeout(LIMIT, self.attempt(context, object));
        let result = tokio::select! {
            biased;
            () = claim.lost() => return Ok(Action::await_change()),
            result = attempt => result.unwrap_or(Err(Error::Timeout(LIMIT))),
        };
        let outcome = result.as_ref().map_or_else(|error| error.category().as_str(), |_| "ok");
        context.metrics.reconciled(R::NAME, outcome, started.elapsed());
        let again = result?.unwrap_or(RESYNC).min(RESYNC);
        self.backoff.forget(&key_of(object));
        Ok(Action::requeue(again))
    }

    async fn attempt(
        &self,
        context: &Context,
        object: &DynamicObject,
    ) -> Result<Option<Duration>, Error> {
        let kind = R::Root::kind(&());
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        // The object includes the status that was written last, which the store may not have yet.
        match context.observed.get::<R::Root>(&namespace, &name) {
            Ok(Some(root)) if root.meta().deletion_timestamp.is_some() => Ok(None),
            Ok(Some(root)) => self.reconciler.reconcile(context, root).await,
            Ok(None) => Ok(None),
            Err(error) => {
                let about = events::reference(object);
                let reason = format!("Unreadable{kind}");
                context
                    .events
                    .publish(&about, EventType::Warning, &reason, &error.to_string())
                    .await;
                let resource = ApiResource::erase::<R::Root>(&());
                if let Err(failed) = tell_unreadable(context, &resource, object, &error).await {
                    tracing::warn!(error = %failed, "the status does not report that the object cannot be read");
                }
                Err(error)
            }
        }
    }

    /// Decides when a failed object is retried.
    fn failed(&self, object: &DynamicObject, error: &Error) -> Action {
        let key = key_of(object);
        let category = error.category();
        let pause = self.backoff.failed(&key, category);
        let (category, controller) = (category.as_str(), R::NAME);
        match pause {
            Some(pause) => {
                tracing::warn!(controller, object = key, category, %error, ?pause, "will try again");
                Action::requeue(pause)
            }
            None => {
                tracing::warn!(controller, object = key, category, %error, "waits for a change");
                // The object's other aspects are still checked periodically.
                Action::requeue(RESYNC)
            }
        }
    }
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn key_of(object: &DynamicObject) -> String {
    key(&object.namespace().unwrap_or_default(), &object.name_any())
}
