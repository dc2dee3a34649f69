//! Decides which namespaces to claim, and whom to report.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use opaque_election::{Holder, Policy};

use crate::kube::{fraction, is_renewed};
use crate::labels::{CLUSTER, RELEASE};
use crate::release::Release;

/// The namespaces to start standing for, and those to give up. `kept` maps the namespaces in
/// progress to whether they are being given up. A namespace that is being given up can start again
/// only after that has finished.
pub(super) fn changes(
    wanted: &BTreeSet<String>,
    kept: &BTreeMap<String, bool>,
) -> (Vec<String>, Vec<String>) {
    let begin = wanted.iter().filter(|namespace| !kept.contains_key(*namespace));
    let end = kept.iter().filter(|(namespace, ends)| !**ends && !wanted.contains(*namespace));
    (begin.cloned().collect(), end.map(|(namespace, _)| namespace.clone()).collect())
}

/// The times of one namespace's claim, varied by namespace, so that claims that start together are
/// renewed at different times.
pub(super) fn spread(policy: Policy, namespace: &str) -> Policy {
    let factor = 0.75 + 0.5 * fraction(namespace, 0);
    let retry = policy.retry().mul_f64(factor);
    Policy::new(policy.lease_duration(), policy.renew_deadline(), retry).unwrap_or(policy)
}

/// The other release that holds a claim. Operators of an earlier version do not state their
/// release.
pub(super) fn rival(own: &Release, holder: Option<&Holder>) -> Option<String> {
    let release = holder?.annotations.get(RELEASE)?;
    (*release != own.to_string()).then(|| release.clone())
}

/// The other releases that report, by these Leases, that they wait. Leases of a cluster are
/// ignored, because its nodes write them.
pub(super) fn waiting(own: &Release, leases: &[Lease], now: Timestamp) -> Vec<String> {
    let waits = |lease: &Lease| {
        lease.spec.as_ref().is_some_and(|spec| {
            let holder = spec.holder_identity.as_ref();
            holder.is_some_and(|holder| !holder.is_empty()) && is_renewed(spec, now)
        })
    };
    let of_operators = leases.iter().filter(|lease| !lease.labels().contains_key(CLUSTER));
    let releases = of_operators.filter(|lease| waits(lease));
    let releases = releases.filter_map(|lease| lease.annotations().get(RELEASE)?.parse().ok());
    let others: BTreeSet<Release> = releases.filter(|release| release != own).collect();
    others.iter().map(ToString::to_string).collect()
}

/// The active operator's message about the waiting releases.
pub(crate) fn words_of_waiting(others: &[String]) -> Option<String> {
    match others {
        [] => None,
        [other] => Some(format!(
            "another release of the operator, {other}, watches this namespace too and waits: uninstall it, or give it other namespaces (watch.namespaces)"
        )),
        others => Some(format!(
            "other releases of the operator, {}, watch this namespace too and wait: uninstall them, or give them other namespaces (watch.namespaces)",
            others.join(", ")
        )),
    }
}

/// The waiting operator's message about the active release.
pub(super) fn words_of_acting(own: &Release, other: &str) -> String {
    format!(
        "release {other} of the operator acts on this namespace; release {own} watches it too and waits: uninstall one of them, or give it other namespaces (watch.namespaces)"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::Times;
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    proptest! {
        /// For every order of object changes: a namespace never has two keepers, and in the end it
        /// has one exactly if it contains an object.
        #[test]
        fn each_namespace_with_an_object_has_one_keeper(
            steps in prop::collection::vec((prop::collection::btree_set("[a-d]", 0..4), any::<bool>()), 1..40),
        ) {
            let mut kept = BTreeMap::new();
            let settle = |kept: &mut BTreeMap<String, bool>, wanted: &BTreeSet<String>| {
                let (begin, end) = changes(wanted, kept);
                for namespace in begin {
                    assert_eq!(kept.insert(namespace, false), None, "a second keeper");
                }
                for namespace in end {
                    assert_eq!(kept.insert(namespace, true), Some(false), "ended twice");
                }
            };
            let mut last = BTreeSet::new();
            for (wanted, ended) in steps {
                settle(&mut kept, &wanted);
                if ended {
                    kept.retain(|_, ends| !*ends);
                }
                last = wanted;
            }
            kept.retain(|_, ends| !*ends);
            settle(&mut kept, &last);
            prop_assert!(kept.values().all(|ends| !ends));
            prop_assert_eq!(kept.into_keys().collect::<BTreeSet<_>>(), last);
        }

        #[test]
        fn each_claim_has_its_own_rhythm_and_the_same_end(namespace in "[a-z]{1,20}") {
            let claim = Times::default().claim;
            let own = spread(claim, &namespace);
            prop_assert_eq!(own.lease_duration(), claim.lease_duration());
            prop_assert_eq!(own.renew_deadline(), claim.renew_deadline());
            prop_assert!(own.retry() >= claim.retry().mul_f64(0.74));
            prop_assert!(own.retry() <= claim.retry().mul_f64(1.26));
        }
    }

    #[test]
    fn claims_that_begin_together_are_not_renewed_together() {
        let claim = Times::default().claim;
        let rhythms: BTreeSet<Duration> =
            (0..100).map(|number| spread(claim, &format!("ns-{number}")).retry()).collect();
        assert!(rhythms.len() > 50, "{rhythms:?}");
    }

    #[test]
    fn a_replica_of_the_same_release_is_no_rival() {
        let own = release("opaque/opaque-operator");
        let holder = |release: Option<&str>| Holder {
            identity: "pod_1".into(),
            annotations: release
                .map(|it| (RELEASE.to_owned(), it.to_owned()))
                .into_iter()
                .collect(),
        };
        assert_eq!(rival(&own, None), None);
        assert_eq!(rival(&own, Some(&holder(None))), None);
        assert_eq!(rival(&own, Some(&holder(Some("opaque/opaque-operator")))), None);
        assert_eq!(
            rival(&own, Some(&holder(Some("all/operator")))).as_deref(),
            Some("all/operator")
        );
    }

    #[test]
    fn who_has_stopped_to_say_so_waits_no_more() {
        let own = release("opaque/opaque-operator");
        let lease = |release: &str, holder: &str| -> Lease {
            object!({
                "metadata": {"annotations": {"opaque.dev/release": release}},
                "spec": {
                    "holderIdentity": holder, "leaseDurationSeconds": 300,
                    "renewTime": "2026-01-01T00:00:00.000000Z",
                },
            })
        };
        let mut of_a_node = lease("e/operator", "pod_3");
        of_a_node.labels_mut().insert(CLUSTER.into(), "demo".into());
        let leases = [
            of_a_node,
            lease("no release", "pod_4"),
            lease("c/operator", "pod_1"),
            lease("b/operator", "b/operator"),
            lease("d/operator", ""),
            lease("opaque/opaque-operator", "pod_2"),
        ];
        let at = |seconds: i64| Timestamp::from_second(1_767_225_600 + seconds).unwrap();
        assert_eq!(waiting(&own, &leases, at(10)), ["b/operator", "c/operator"]);
        // Clocks differ by some seconds.
        assert_eq!(waiting(&own, &leases, at(320)).len(), 2);
        assert_eq!(waiting(&own, &leases, at(340)), Vec::<String>::new());
    }

    #[test]
    fn both_sides_are_named_with_what_to_do() {
        let words = words_of_waiting(&["a/x".into(), "b/y".into()]).unwrap();
        assert_eq!(
            words,
            "other releases of the operator, a/x, b/y, watch this namespace too and wait: uninstall them, or give them other namespaces (watch.namespaces)"
        );
        assert_eq!(words_of_waiting(&[]), None);
        assert_eq!(
            words_of_acting(&release("a/x"), "b/y"),
            "release b/y of the operator acts on this namespace; release a/x watches it too and waits: uninstall one of them, or give it other namespaces (watch.namespaces)"
        );
    }
}
