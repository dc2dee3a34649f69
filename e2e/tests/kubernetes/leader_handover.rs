//! A leader that receives SIGTERM hands over the lead before it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use opaque_e2e::harness::{self, Faults, Lead, lead, measured, product};

use crate::support::queries;

const LIMIT: Duration = Duration::from_secs(90);
/// How long the handover of the lead may take.
const HANDOVER: Duration = Duration::from_secs(3);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_lead_passes_on_at_once_when_its_node_is_stopped() -> Result<()> {
    harness::run("handover", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 1, 2, &["replicas=1"]).await?;
        let (queries, _folder) = queries(namespace).await?;

        let before = Lead::of(namespace, lead::NODES).await?;
        let uid = namespace.api::<Pod>().get(&before.pod).await?.metadata.uid;
        // The signal itself, without a deletion, since the API server and the kubelet would take
        // additional time.
        faults.signal(namespace, &before.pod, "node", "TERM").await?;
        let other = |lead: &Lead| lead.pod != before.pod && lead.token > before.token;
        let (after, time) = Lead::until(namespace, lead::NODES, LIMIT, other).await?;
        measured("leader stopped to the next leader", time);
        ensure!(time < HANDOVER, "{} led {time:?} after {} was stopped", after.pod, before.pod);
        // The container restarts in the same pod, once its queries have drained.
        let again = |pod: &Pod| harness::namespace::restarts(pod) > 0 && pod.metadata.uid == uid;
        let time = namespace.ready_as(&before.pod, LIMIT, again).await?;
        measured("the former leader ended to Ready again", time);

        // The same with a deletion, as a person does it.
        let uid = namespace.api::<Pod>().get(&after.pod).await?.metadata.uid;
        let delete = ["delete", "pod", &after.pod, "--wait=false"];
        let deleted = namespace.kubectl(&delete);
        let other = |lead: &Lead| lead.pod != after.pod && lead.token > after.token;
        let next = Lead::until(namespace, lead::NODES, LIMIT, other);
        let (_, (last, time)) = tokio::try_join!(deleted, next)?;
        measured("leader's pod deleted to the next leader", time);
        ensure!(time < HANDOVER, "{} led {time:?} after {} was deleted", last.pod, after.pod);
        namespace.ready_as(&after.pod, LIMIT, |pod| pod.metadata.uid != uid).await?;
        queries.finish(3, LIMIT).await
    })
    .await
}
