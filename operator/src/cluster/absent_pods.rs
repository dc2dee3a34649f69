//! Finds pods that are missing although their sets require them, and the reasons.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opaque_crds::names;

use super::facts::Facts;
use super::objects::Blueprint;
use crate::error::Error;
use crate::kube::{ASK_AGAIN, Context, refusal};

/// Times since which pods of clusters are missing. A pod that is being replaced is missing for a
/// moment.
#[derive(Debug, Default)]
pub(super) struct Absences {
    /// Keys: namespace and name of the cluster, and name of the pod.
    since: Mutex<HashMap<(String, String), BTreeMap<String, Instant>>>,
}

impl Absences {
    /// The reasons for missing pods in words, and when to check again.
    ///
    /// # Errors
    /// The API server cannot be reached or refuses.
    pub(super) async fn explain(
        &self,
        context: &Context,
        blueprint: &Blueprint<'_>,
        facts: &Facts,
    ) -> Result<(Vec<String>, Option<Duration>), Error> {
        let (namespace, cluster) = (blueprint.namespace(), blueprint.name());
        let mut missing = BTreeMap::new();
        for shard in (0..blueprint.size.shards).filter(|shard| facts.set(*shard).is_some()) {
            let pods =
                (0..blueprint.size.replicas).map(|replica| names::pod(&cluster, shard, replica));
            let pods = pods.filter(|pod| !facts.pods.contains_key(pod));
            missing.extend(pods.map(|pod| (pod, shard)));
        }
        let again = (!missing.is_empty()).then_some(ASK_AGAIN);
        let lasting = self.lasting(&namespace, &cluster, missing.keys(), Instant::now());
        let mut words = Vec::new();
        // One pod per set is enough: its other pods would be refused for the same reason.
        let mut asked = None;
        for pod in lasting {
            let Some(shard) = missing.get(&pod).filter(|shard| asked != Some(**shard)) else {
                continue;
            };
            asked = Some(*shard);
            let set = names::shard(&cluster, *shard);
            if let Some(said) = refusal(context, &namespace, "StatefulSet", &set).await? {
                words.push(format!("pod {pod} cannot be created: {said}"));
            }
        }
        Ok((words, again))
    }

    /// The pods of `missing` that have been missing for a while. All others are forgotten.
    fn lasting<'a>(
        &self,
        namespace: &str,
        cluster: &str,
        missing: impl Iterator<Item = &'a String>,
        now: Instant,
    ) -> Vec<String> {
        let mut all = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), cluster.to_owned());
        let before = all.remove(&key).unwrap_or_default();
        let since = |pod: &String| before.get(pod).copied().unwrap_or(now);
        let known: BTreeMap<String, Instant> =
            missing.map(|pod| (pod.clone(), since(pod))).collect();
        let lasts = |since: &Instant| now.saturating_duration_since(*since) >= ASK_AGAIN;
        let lasting = known.iter().filter(|(_, since)| lasts(since)).map(|(pod, _)| pod.clone());
        let lasting = lasting.collect();
        if !known.is_empty() {
            all.insert(key, known);
        }
        lasting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_once_it_has_been_missing_for_a_while() {
        let (absences, start) = (Absences::default(), Instant::now());
        let look = |seconds: u64, missing: &[&str]| {
            let missing: Vec<String> = missing.iter().map(|pod| (*pod).to_owned()).collect();
            absences.lasting("n", "c", missing.iter(), start + Duration::from_secs(seconds))
        };
        assert!(look(0, &["a", "b"]).is_empty());
        assert!(look(4, &["a"]).is_empty());
        assert_eq!(look(5, &["a", "b"]), ["a"], "the other was there in between");
        assert_eq!(look(9, &["a", "b"]), ["a"]);
        assert_eq!(look(10, &["a", "b"]), ["a", "b"]);
        assert!(look(11, &[]).is_empty() && absences.since.lock().unwrap().is_empty());
    }
}
