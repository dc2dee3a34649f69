//! Certificates with a lifetime of two minutes are renewed while queries run. No query fails, and
//! no pod is restarted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use serde_json::Value;

use crate::support::queries;
use crate::tls::{CLIENTS, Node, PEERS, serial};

/// The shortest lifetimes that a spec may have. A certificate is renewed half a minute after it was
/// issued.
const LIVES: (&str, &str) =
    ("  clientAuth:", "  tls: {duration: 2m, renewBefore: 90s}\n  clientAuth:");
const SECRETS: [&str; 3] = ["demo-shard-0-tls", "demo-shard-1-tls", "demo-server-tls"];
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn certificates_are_renewed_without_a_failed_query_or_a_restart() -> Result<()> {
    harness::run("renewal", async |namespace| {
        // Only in our own cluster, where the test reaches every pod.
        Faults::new()?;
        product::install(namespace, &[]).await?;
        // With one replica, no other could answer in place of a node that is refused.
        product::apply_cluster_with(namespace, 2, 1, &[LIVES]).await?;
        product::serves_weather(namespace).await?;
        let nodes = Node::all(namespace).await?;
        let (queries, _folder) = queries(namespace).await?;

        let before = serials(namespace).await?;
        let renewed = || async {
            let now = serials(namespace).await?;
            Ok(before.iter().all(|(secret, serial)| now.get(secret) != Some(serial)).then_some(()))
        };
        let (_, time) = poll::until("all certificates are renewed", LIMIT, renewed).await?;
        measured("until every certificate of 2 minutes is renewed", time);
        let shown = || async {
            let now = serials(namespace).await?;
            for node in &nodes {
                let peers = node.shows(PEERS).await?;
                let known = now.get(&node.secret()) == Some(&peers);
                let server = now.get("demo-server-tls") == Some(&node.shows(CLIENTS).await?);
                let reported = reported(namespace, &node.pod).await? == Some(peers);
                if !(known && server && reported) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        let (_, time) = poll::until("all nodes show and report the new ones", LIMIT, shown).await?;
        measured("from then until every node shows and reports the new ones", time);

        queries.finish(3, LIMIT).await?;
        ensure!(Node::all(namespace).await? == nodes, "restarted: {nodes:#?}");
        Ok(())
    })
    .await
}

async fn serials(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    let mut serials = BTreeMap::new();
    for secret in SECRETS {
        serials.insert(secret.into(), serial(namespace, secret).await?);
    }
    Ok(serials)
}

/// The certificate that a node reports presenting to its peers.
async fn reported(namespace: &Namespace, pod: &str) -> Result<Option<String>> {
    let lease = namespace.api::<Lease>().get(pod).await?;
    let record = lease.annotations().get("opaque.dev/member").map(String::as_str);
    let record: Value = serde_json::from_str(record.unwrap_or_default())?;
    Ok(record.get("certificate").and_then(Value::as_str).map(str::to_owned))
}
