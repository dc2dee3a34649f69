//! Two releases of the operator watch one namespace: one acts, the other reports that it waits, and
//! takes over when the first is uninstalled. No pod of a cluster is replaced.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use opaque_crds::OpaqueCluster;
use opaque_e2e::harness::{self, Lead, lead, measured, product};
use opaque_e2e::poll;

use crate::support::{ANSWER, SQL};

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn one_of_two_releases_acts_and_the_other_takes_over() -> Result<()> {
    harness::run("releases", async |namespace| {
        product::serve(namespace, 1, 1, &["replicas=1"]).await?;
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        let first = Lead::of(namespace, lead::OPERATOR).await?;
        let pods = product::nodes(namespace).await?;

        let chart = product::root().join("charts/opaque");
        let chart = chart.to_str().context("the clone's path is not text")?;
        let one = ["--set", "replicas=1", "--set", "nodePolicy.enabled=false"];
        namespace.helm(&[&["install", "second", chart], &one[..]].concat()).await?;
        let second = format!("{}/second-opaque-operator", namespace.name());
        let contested = ("Contested", "True");
        let time =
            product::condition_says(namespace, "opaquecluster/demo", contested, &[&second], LIMIT)
                .await?;
        measured("second release installed to the status that names it", time);
        product::condition(namespace, "opaquecluster/demo", "Ready", "True", LIMIT).await?;
        let told = || async {
            let events = namespace.api::<Event>().list(&ListParams::default()).await?;
            let of = |event: &&Event| event.reason.as_deref() == Some("AnotherOperatorActs");
            let note = events.iter().find(of).and_then(|event| event.note.clone());
            Ok(note.filter(|note| note.contains(&second)))
        };
        poll::until("an event says that it waits", LIMIT, told).await?;
        ensure!(Lead::of(namespace, lead::OPERATOR).await?.pod == first.pod, "another acts");

        namespace.helm(&["uninstall", "opaque"]).await?;
        let other = |lead: &Lead| lead.pod.starts_with("second-") && lead.token > first.token;
        let (_, time) = Lead::until(namespace, lead::OPERATOR, LIMIT, other).await?;
        measured("first release uninstalled to the second active", time);
        let quiet = || async {
            let cluster = namespace.api::<OpaqueCluster>().get("demo").await?;
            let conditions = cluster.status.context("no status")?.conditions;
            Ok((!conditions.iter().any(|it| it.type_ == "Contested")).then_some(()))
        };
        poll::until("the status names no waiting release", LIMIT, quiet).await?;
        ensure!(product::nodes(namespace).await? == pods, "pods were replaced");
        product::ask(&question).await
    })
    .await
}
