//! Describes why something is stuck, from pods, members and the shard map.

use std::collections::BTreeMap;

use opaque_crds::cluster::MissingTable;

use crate::cluster::facts::Facts;
use crate::cluster::findings::Findings;
use crate::cluster::missing_tables::words;
use crate::kube::{is_ready, trouble};

/// Maximum pods or nodes that a message names.
const NAMED: usize = 3;

/// Pods that do not start, with reasons.
pub(super) fn troubles(found: &Findings<'_>) -> Vec<String> {
    let pods = found.facts.pods.iter().filter(|(_, pod)| !is_ready(pod));
    let pods = pods.filter_map(|(name, pod)| Some(format!("pod {name} {}", trouble(pod)?)));
    found.absent.iter().cloned().chain(pods).collect()
}

/// The tables that pods lack, restricted to those that `shown` selects.
pub(super) fn lacks(facts: &Facts, shown: impl Fn(&&MissingTable) -> bool) -> String {
    let entries = facts.missing.iter().filter(shown);
    some(&entries.map(words).collect::<Vec<_>>())
}

/// The proposed generation that is not active yet.
pub(super) fn proposal(facts: &Facts) -> Option<i64> {
    let map = facts.map.as_ref()?;
    let generation = map.spec.map.generation;
    let active = map.active().map_or(0, |map| map.generation);
    (generation > active && !map.has_given_up(generation)).then_some(generation)
}

/// What nodes could not prepare.
pub(super) fn node_failure(facts: &Facts) -> Option<String> {
    let proposed = proposal(facts);
    let fails: Vec<_> = facts
        .members
        .iter()
        .filter_map(|member| {
            let failure = member.failed.as_ref()?;
            (Some(failure.generation) == proposed)
                .then(|| format!("pod {}: {}", member.node, failure.reason))
        })
        .collect();
    (!fails.is_empty()).then(|| some(&fails))
}

/// Which pods cannot read the store, and why. Tables that are served remain available, because they
/// are in memory.
pub(super) fn store_trouble(found: &Findings<'_>) -> Option<String> {
    let mut pods = BTreeMap::<&str, Vec<&str>>::new();
    for member in &found.facts.members {
        if let Some(trouble) = &member.store {
            pods.entry(trouble).or_default().push(&member.node);
        }
    }
    let (trouble, of) = pods.iter().max_by_key(|(_, of)| of.len())?;
    let of = some(&of.iter().map(|pod| format!("pod {pod}")).collect::<Vec<_>>());
    let secret = found.cluster.spec.storage.secret_ref.as_ref();
    let place = secret.map_or_else(String::new, |secret| {
        let name = &secret.name;
        format!(" and Secret {name}, which pods read again within two minutes of its change")
    });
    Some(format!(
        "{of}: {trouble}. Served tables remain available, but there are no new epochs: check spec.storage{place}"
    ))
}

/// Messages of nodes that are not ready.
pub(super) fn node_words(facts: &Facts) -> Option<String> {
    node_failure(facts).or_else(|| {
        let waiting: Vec<_> = facts
            .members
            .iter()
            .filter(|member| !member.message.is_empty())
            .filter(|member| !facts.pods.get(&member.node).is_some_and(is_ready))
            .map(|member| format!("pod {}: {}", member.node, member.message))
            .collect();
        (!waiting.is_empty()).then(|| some(&waiting))
    })
}

/// Nodes that admit no client, with the reason. The nodes' messages begin with these words
/// (`access` of `opaque-node`).
pub(super) fn closed(facts: &Facts) -> Option<String> {
    let closed =
        facts.members.iter().filter(|member| member.message.starts_with("no client may ask"));
    let closed: Vec<_> =
        closed.map(|member| format!("pod {}: {}", member.node, member.message)).collect();
    (!closed.is_empty()).then(|| some(&closed))
}

/// The first few items, and the number of the remaining ones.
pub(super) fn some(items: &[String]) -> String {
    let shown: Vec<_> = items.iter().take(NAMED).map(String::as_str).collect();
    let more = items.len().saturating_sub(NAMED);
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
