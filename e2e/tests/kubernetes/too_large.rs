//! A table that does not fit into the memory of its pods is rejected, with numbers, before it is
//! loaded. The other tables are still answered, and no container dies. Deleting a table withdraws
//! its waiting proposal.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use opaque_crds::{OpaqueShardMap, OpaqueTable};
use opaque_e2e::cluster::BUCKET;
use opaque_e2e::harness::{self, Containers, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::support::queries;
use crate::tables::{cities_table, same_weather};

const LIMIT: Duration = Duration::from_secs(240);
/// How long a withdrawal may take: five times as long as an idle machine needs.
const WITHDRAWN: Duration = Duration::from_secs(25);
const PODS: [&str; 2] = ["demo-shard-0-0", "demo-shard-0-1"];
/// Memory limit of a pod: enough for `weather`, but not for 135,233 cities with three searchable
/// columns.
const MEMORY: &str = "192Mi";
const SEARCHABLE: [&str; 2] = ["name", "country"];

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_table_that_is_too_large_is_rejected_and_costs_no_answer() -> Result<()> {
    harness::run("too-large", async |namespace| {
        let faults = Faults::new()?;
        let source = cities(namespace).await?;
        product::install(namespace, &["replicas=1"]).await?;
        let memory = product::memory(MEMORY, &[("OPAQUE_REQUEST_MEMORY_MIB", "32")]);
        let changes = [(product::MEMORY, memory.as_str())];
        product::apply_cluster_with(namespace, 1, 2, &changes).await?;
        product::serves_weather(namespace).await?;
        let containers = Containers::of(namespace, product::NODES).await?;
        let (mut queries, _folder) = queries(namespace).await?;

        let start = Instant::now();
        namespace.apply(&cities_table("cities", &source, &SEARCHABLE)).await?;
        let reason = rejected(namespace, "cities").await?;
        measured("table applied to its rejection", start.elapsed());
        println!("measured: rejected: {reason}");
        ensure!(numbers_of_mib(&reason) >= 2, "no required and available MiB: {reason}");
        queries.answers(5, LIMIT).await?;
        containers.check(namespace).await?;

        // A proposal that waits for the nodes: they cannot read it, and continue with what they
        // hold.
        let mut cuts = Vec::new();
        for pod in PODS {
            cuts.push(faults.cut_from_store(namespace, pod).await?);
        }
        namespace.apply(&cities_table("waits", &source, &SEARCHABLE)).await?;
        let proposed = || async { Ok(waiting(namespace, "waits").await?.then_some(())) };
        poll::until("the table is proposed", LIMIT, proposed).await?;
        queries.answers(5, LIMIT).await?;
        ensure!(waiting(namespace, "waits").await?, "the proposal did not wait");
        namespace.kubectl(&["delete", "opaquetable/waits", "--wait=false"]).await?;
        let withdrawn = || async { Ok((!waiting(namespace, "waits").await?).then_some(())) };
        let (_, time) = poll::until("the proposal is withdrawn", WITHDRAWN, withdrawn).await?;
        measured("table deleted to its waiting proposal withdrawn", time);
        drop(cuts);

        // Tables that fit are still served.
        namespace.kubectl(&["delete", "opaquetable/cities"]).await?;
        namespace.apply(&same_weather("more")).await?;
        product::condition(namespace, "opaquetable/more", "Available", "True", LIMIT).await?;
        queries.finish(5, LIMIT).await?;
        containers.check(namespace).await
    })
    .await
}

/// Puts the cities into the bucket. Returns the source of a table.
async fn cities(namespace: &Namespace) -> Result<Value> {
    let file = product::root().join("examples/cities/cities.csv.zst");
    let path = format!("{}-files/cities.csv.zst", namespace.name());
    Bucket::new()?.put(&path, std::fs::read(file)?).await?;
    product::storage_secret(namespace, "files").await?;
    Ok(json!({
        "url": format!("s3://{BUCKET}/{path}"), "secretRef": {"name": "files"},
        "format": "csv", "compression": "zstd",
    }))
}

/// Waits until the status of a table has the nodes' reason for not serving its epoch.
async fn rejected(namespace: &Namespace, table: &str) -> Result<String> {
    let look = || async {
        let table = namespace.api::<OpaqueTable>().get(table).await?;
        let epochs = table.status.map(|status| status.epochs).unwrap_or_default();
        Ok(epochs.into_iter().find_map(|epoch| epoch.rejected).map(|rejected| rejected.reason))
    };
    let what = format!("the nodes reject table {table}");
    let (reason, _) = poll::until(&what, LIMIT, look).await?;
    let object = format!("opaquetable/{table}");
    product::condition_says(namespace, &object, ("Degraded", "True"), &["MiB"], LIMIT).await?;
    Ok(reason)
}

/// Whether a map with this table is proposed, and neither active nor rejected yet.
async fn waiting(namespace: &Namespace, table: &str) -> Result<bool> {
    let map = namespace.api::<OpaqueShardMap>().get("demo").await?;
    let status = map.status.context("the map has no status")?;
    let active = status.active.context("no map is active")?.generation;
    let mut given_up = status.rejected.iter().chain(&map.spec.withdrawn);
    let given_up = given_up.any(|one| one.generation == map.spec.map.generation);
    let proposed = map.spec.map;
    let has = proposed.tables.iter().any(|entry| entry.table == table);
    Ok(has && proposed.generation > active && !given_up)
}

/// Number of figures in MiB in a text.
fn numbers_of_mib(text: &str) -> usize {
    let words: Vec<_> = text.split_whitespace().collect();
    let number = |word: &str| word.trim_start_matches('(').parse::<u64>().is_ok();
    let pairs = words
        .windows(2)
        .filter(|pair| matches!(pair, [n, unit] if number(n) && unit.starts_with("MiB")));
    pairs.count()
}
