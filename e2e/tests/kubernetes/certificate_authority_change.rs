//! Another authority takes over while queries run, step by step: first both are trusted, then the
//! new one signs, then only the new one is trusted. No query fails, and no pod is restarted.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use opaque_crds::OpaqueCluster;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use rustls::AlertDescription;

use crate::support::{ANSWER, SQL, queries};
use crate::tls::{Node, PEERS, Pair, Reception, serial, text};

const LIMIT: Duration = Duration::from_secs(180);
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_authority_changes_without_a_failed_query_or_a_restart() -> Result<()> {
    harness::run("authority", async |namespace| {
        // Only in our own cluster, where the test reaches every pod.
        Faults::new()?;
        // With one replica, no other could answer in place of a node that is refused.
        product::serve(namespace, 2, 1, &[]).await?;
        let nodes = Node::all(namespace).await?;
        let (queries, _folder) = queries(namespace).await?;
        let old = trusted(namespace, "peer-ca.crt").await?;
        ensure!(old.matches(CERTIFICATE).count() == 1, "one authority is trusted: {old}");
        let former = Pair::of(namespace, "demo-shard-0-tls").await?;
        for node in &nodes {
            ensure!(node.receives(&former).await? == Reception::Accepted, "{} refuses", node.pod);
        }

        let rotate = ["annotate", "opaquecluster/demo", "opaque.dev/rotate-ca=1"];
        namespace.kubectl(&rotate).await?;
        let seen = Seen::default();
        let changed = || async {
            let bundle = trusted(namespace, "peer-ca.crt").await?;
            let step = seen.note(namespace, &bundle).await?;
            Ok((!bundle.contains(&old) && step.is_none()).then_some(bundle))
        };
        let (new, time) = poll::until("only the new authority is left", LIMIT, changed).await?;
        measured("opaque.dev/rotate-ca set to the old authority gone", time);
        let Seen { steps, waits, reasons, authorities } = seen;
        let (steps, waits, reasons) =
            (steps.into_inner(), waits.into_inner(), reasons.into_inner());
        ensure!(steps == ["TrustBoth", "Reissue"], "status.operations showed {steps:?}");
        ensure!(waits.iter().any(|wait| wait.contains("demo-shard-")), "blockedBy was {waits:?}");
        ensure!(reasons.contains(&"AuthorityChanging".to_owned()), "reasons were {reasons:?}");
        let authorities = authorities.into_inner();
        ensure!(authorities == [1, 2, 1], "of so many authorities at a time: {authorities:?}");

        // The remaining authority has signed the certificates in use, and the old ones are no
        // longer accepted.
        ensure!(new == text(namespace, "demo-peer-ca", "tls.crt").await?, "trusted is the new one");
        let stranger = || async {
            for node in &nodes {
                let own = node.secret();
                ensure!(text(namespace, &own, "ca.crt").await? == new, "{own} is of the new one");
                ensure!(node.shows(PEERS).await? == serial(namespace, &own).await?);
                let alert = AlertDescription::UnknownCA;
                if node.receives(&former).await? != Reception::Refused(alert) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        let (_, time) = poll::until("the old authority is unknown to all", LIMIT, stranger).await?;
        measured("from then until every node refuses its certificates", time);

        queries.finish(3, LIMIT).await?;
        ensure!(Node::all(namespace).await? == nodes, "restarted: {nodes:#?}");
        // The loop trusts the former server authority. A new client gets both.
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        product::ask(&question).await
    })
    .await
}

/// The steps that status and trust have shown so far, without repetitions.
#[derive(Default)]
struct Seen {
    steps: RefCell<Vec<String>>,
    waits: RefCell<Vec<String>>,
    reasons: RefCell<Vec<String>>,
    authorities: RefCell<Vec<usize>>,
}

impl Seen {
    /// Reads the status. Returns the step of the change.
    async fn note(&self, namespace: &Namespace, bundle: &str) -> Result<Option<String>> {
        let cluster = namespace.api::<OpaqueCluster>().get("demo").await?;
        let status = cluster.status.context("a cluster without status")?;
        let mut operations = status.operations.into_iter();
        let change = operations.find(|operation| operation.name == "CertificateAuthority");
        let (step, wait) = change.map(|change| (change.step, change.blocked_by)).unzip();
        append(&self.steps, step.clone());
        append(&self.waits, wait.flatten());
        let condition = status.conditions.into_iter().find(|c| c.type_ == "CertificatesReady");
        append(&self.reasons, condition.map(|condition| condition.reason));
        append(&self.authorities, Some(bundle.matches(CERTIFICATE).count()));
        Ok(step)
    }
}

fn append<T: PartialEq>(seen: &RefCell<Vec<T>>, next: Option<T>) {
    let mut seen = seen.borrow_mut();
    if let Some(next) = next
        && seen.last() != Some(&next)
    {
        seen.push(next);
    }
}

async fn trusted(namespace: &Namespace, key: &str) -> Result<String> {
    let data = namespace.api::<ConfigMap>().get("demo-trust").await?.data;
    let value = data.and_then(|mut data| data.remove(key));
    value.with_context(|| format!("ConfigMap demo-trust has no {key}"))
}
