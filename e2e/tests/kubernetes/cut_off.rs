//! A pod that is cut off from the API server while a new epoch is activated turns clients away
//! before the others drop the old epoch: no answer fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use opaque_e2e::harness::namespace::is_ready;
use opaque_e2e::harness::{self, Containers, Faults, Lead, QueryLoop, lead, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::epochs;

const LIMIT: Duration = Duration::from_secs(240);
/// How long the others keep the old epoch: twice the longest duration of a query, which is 30 s by
/// default.
const KEPT: Duration = Duration::from_secs(60);
/// How long queries continue after that.
const AFTERWARDS: Duration = Duration::from_secs(15);
const PODS: [&str; 4] = ["demo-shard-0-0", "demo-shard-0-1", "demo-shard-1-0", "demo-shard-1-1"];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_pod_that_misses_an_activation_turns_clients_away_in_time() -> Result<()> {
    harness::run("cut-off", async |namespace| {
        let faults = Faults::new()?;
        product::serve(namespace, 2, 2, &["replicas=1"]).await?;
        let (old, new) = (epochs::answer(0), epochs::answer(100));
        let (question, _folder) = product::question(namespace, epochs::SQL, &[&old, &new]).await?;
        let mut queries = QueryLoop::start(question).await?;
        let containers = Containers::of(namespace, product::NODES).await?;

        // Not the leader, whose lead would have to pass on first.
        let leader = Lead::of(namespace, lead::NODES).await?.pod;
        let pod = PODS.into_iter().find(|pod| *pod != leader).context("only one pod")?;
        let cut = faults.cut_from_api(namespace, pod).await?;
        epochs::change(namespace, 100).await?;
        queries.until_answer(1, LIMIT).await?;
        // Measured before the activation completes, so that the time below is not too short.
        let activated = Instant::now();

        let pods = namespace.api::<Pod>();
        let turns_away = || async { Ok((!is_ready(&pods.get(pod).await?)).then_some(())) };
        poll::until("the pod that was cut off is not Ready", LIMIT, turns_away).await?;
        let time = activated.elapsed();
        measured("new epoch served to the pod that was cut off not Ready", time);
        ensure!(time < KEPT, "{pod} was Ready for {time:?}; the old epoch goes after {KEPT:?}");
        while activated.elapsed() < KEPT + AFTERWARDS {
            queries.answers(1, LIMIT).await?;
        }
        for other in PODS.into_iter().filter(|other| *other != pod) {
            ensure!(is_ready(&pods.get(other).await?), "{other} is not Ready either");
        }

        cut.heal();
        let time = namespace.ready(pod, LIMIT).await?;
        measured("API server in reach again to the pod Ready", time);
        queries.finish(10, LIMIT).await?;
        containers.check(namespace).await
    })
    .await
}
