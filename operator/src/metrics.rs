//! The operator's metrics. Labels are closed sets; no object name is a label.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Buckets of a reconcile's duration, in seconds.
const SECONDS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Labels of a reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    controller: &'static str,
    /// `ok`, or the error's category.
    outcome: &'static str,
}

/// Label of a controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

/// Label of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// Labels of a request to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    /// `get`, `watch`, `create`, `update`, `patch` or `delete`.
    verb: &'static str,
    /// The HTTP status; 0 if there was no answer.
    code: u16,
}

/// Label of a namespace's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    /// `held` or `waiting`.
    state: &'static str,
}

/// Counts a namespace until it is dropped.
#[derive(Debug)]
pub struct Tally(Gauge);

impl Drop for Tally {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Label of an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ending {
    /// `certificates` or `revocation_lists`.
    kind: &'static str,
}

/// Expiry times of a cluster's certificates and revocation lists, in seconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Earliest expiry of a certificate.
    pub certificates: Option<i64>,
    /// Earliest expiry of a revocation list.
    pub revocation_lists: Option<i64>,
}

/// The expiry times of each cluster, by namespace and name.
type Clusters = BTreeMap<(String, String), Ends>;

/// The operator's metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    reconciles: Family<Outcome, Counter>,
    durations: Family<Controller, Histogram, fn() -> Histogram>,
    writes: Family<Kind, Counter>,
    watch_errors: Family<Kind, Counter>,
    unreadable: Family<Kind, Counter>,
    requests: Family<Request, Counter>,
    leading: Gauge,
    namespaces: Family<State, Gauge>,
    not_after: Family<Ending, Gauge>,
    clusters: Arc<Mutex<Clusters>>,
    totals: Arc<Totals>,
}

/// The totals of the same counters, for tests and the log.
#[derive(Debug, Default)]
struct Totals {
    reads: AtomicU64,
    writes: AtomicU64,
    reconciles: AtomicU64,
}

impl Metrics {
    /// Creates and registers the metrics, all at zero.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            writes: Family::default(),
            watch_errors: Family::default(),
            unreadable: Family::default(),
            requests: Family::default(),
            leading: Gauge::default(),
            namespaces: Family::default(),
            not_after: Family::default(),
            clusters: Arc::default(),
            totals: Arc::default(),
        };
        let registry = registry.sub_registry_with_prefix("opaque_operator");
        registry.register("reconciles", "Reconciles by outcome", metrics.reconciles.clone());
        registry.register(
            "reconcile_seconds",
            "Duration of a reconcile",
            metrics.durations.clone(),
        );
        registry.register("writes", "Objects written, by kind", metrics.writes.clone());
        registry.register("watch_errors", "Failures of watches", metrics.watch_errors.clone());
        registry.register(
            "unreadable_objects",
            "Times a stored object could not be read as its kind",
            metrics.unreadable.clone(),
        );
        registry.register("api_requests", "Requests to the API server", metrics.requests.clone());
        registry.register(
            "leading",
            "Whether this operator is the active one",
            metrics.leading.clone(),
        );
        registry.register(
            "namespaces",
            "Namespaces on which this operator acts (held), and those for which it waits while another release acts (waiting)",
            metrics.namespaces.clone(),
        );
        registry.register(
            "not_after_seconds",
            "Earliest expiry in all clusters, in seconds since 1970; absent while not leading",
            metrics.not_after.clone(),
        );
        metrics
    }

    /// Counts a reconcile; `outcome` is `ok` or the error's category.
    pub fn reconciled(&self, controller: &'static str, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { controller, outcome }).inc();
        self.durations.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
        self.totals.reconciles.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an object that was written.
    pub fn wrote(&self, kind: &str) {
        self.writes.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Counts a failure of a watch.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_errors.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Counts an object that could not be read.
    pub fn unreadable(&self, kind: &str) {
        self.unreadable.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Records whether this operator is the active one.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
        if !leads {
            self.change(Clusters::clear);
        }
    }

    /// Counts a namespace on which this operator acts.
    pub fn holds(&self) -> Tally {
        self.counted("held")
    }

    /// Counts a namespace on which another release acts.
    pub fn waits(&self) -> Tally {
        self.counted("waiting")
    }

    fn counted(&self, state: &'static str) -> Tally {
        let gauge = self.namespaces.get_or_create(&State { state }).clone();
        gauge.inc();
        Tally(gauge)
    }

    /// Drops the expiry times of a namespace, because another operator reports them now.
    pub fn leaves(&self, namespace: &str) {
        self.change(|clusters| clusters.retain(|(of, _), _| of != namespace));
    }

    /// Records when a cluster's certificates and lists expire; `None` for a deleted cluster.
    pub fn ends(&self, namespace: &str, cluster: &str, ends: Option<Ends>) {
        let key = (namespace.to_owned(), cluster.to_owned());
        self.change(|clusters| match ends {
            Some(ends) => drop(clusters.insert(key, ends)),
            None => drop(clusters.remove(&key)),
        });
    }

    fn change(&self, change: impl FnOnce(&mut Clusters)) {
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut clusters);
        let first = |end: fn(&Ends) -> Option<i64>| clusters.values().filter_map(end).min();
        let kinds = [
            ("certificates", first(|ends| ends.certificates)),
            ("revocation_lists", first(|ends| ends.revocation_lists)),
        ];
        for (kind, end) in kinds {
            let ending = Ending { kind };
            match end {
                Some(end) => drop(self.not_after.get_or_create(&ending).set(end)),
                None => drop(self.not_after.remove(&ending)),
            }
        }
    }

    /// Reconciles so far.
    pub fn reconciles(&self) -> u64 {
        self.totals.reconciles.load(Ordering::Relaxed)
    }

    /// Read requests and write requests so far.
    pub fn requests(&self) -> (u64, u64) {
        (self.totals.reads.load(Ordering::Relaxed), self.totals.writes.load(Ordering::Relaxed))
    }

    pub(crate) fn requested(&self, verb: &'static str, code: u16) {
        self.requests.get_or_create(&Request { verb, code }).inc();
        let total = match verb {
            "get" | "watch" => &self.totals.reads,
            _ => &self.totals.writes,
        };
        total.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_leader_reports_the_earliest_expiry_in_all_clusters() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let text = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let ends = |certificates, revocation_lists| Some(Ends { certificates, revocation_lists });
        metrics.leads(true);
        metrics.ends("a", "demo", ends(Some(20), Some(30)));
        metrics.ends("b", "demo", ends(Some(10), None));
        let of = |kind: &str| format!("opaque_operator_not_after_seconds{{kind=\"{kind}\"}}");
        let (certificates, lists) = (of("certificates"), of("revocation_lists"));
        assert!(text().contains(&format!("{certificates} 10")), "{}", text());
        assert!(text().contains(&format!("{lists} 30")), "{}", text());
        metrics.ends("b", "demo", None);
        assert!(text().contains(&format!("{certificates} 20")), "{}", text());
        metrics.leads(false);
        assert!(!text().contains(&certificates) && !text().contains(&lists), "{}", text());
    }
}
