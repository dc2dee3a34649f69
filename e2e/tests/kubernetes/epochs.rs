//! A changed source becomes a new epoch while queries run, and a pin rolls back: no answer mixes
//! two epochs. Old epochs are removed, and those in use stay.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use opaque_crds::OpaqueTable;
use opaque_e2e::harness::{self, Namespace, QueryLoop, measured, product};
use opaque_e2e::poll;
use serde_json::json;
use tokio::time::Instant;

use crate::bucket::Bucket;

/// Four rows of four buckets. All of them differ between any two epochs.
pub(crate) const SQL: &str = "SELECT city, temperature FROM weather \
                   WHERE city IN ('Cairo', 'London', 'Santiago', 'Tokyo') ORDER BY city";
const LIMIT: Duration = Duration::from_secs(240);

/// The right answer when all temperatures are `warmer` than in the example.
pub(crate) fn answer(warmer: i32) -> String {
    let rows = [("Cairo", 33), ("London", 11), ("Santiago", 21), ("Tokyo", 27)];
    let lines = rows.map(|(city, temperature)| format!("{city},{}\n", temperature + warmer));
    format!("city,temperature\n{}", lines.concat())
}

/// Changes the source: the example's rows, with all temperatures `warmer`.
pub(crate) async fn change(namespace: &Namespace, warmer: i32) -> Result<()> {
    let file = std::fs::read_to_string(product::root().join("examples/weather/weather.csv"))?;
    let mut changed = String::new();
    for (number, line) in file.lines().enumerate() {
        let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        let temperature = fields.get_mut(4).context("a row without temperature")?;
        if number > 0 {
            *temperature = (temperature.parse::<i32>()? + warmer).to_string();
        }
        changed.push_str(&fields.join(","));
        changed.push('\n');
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "weather"},
        "data": {"weather.csv": changed},
    });
    namespace.apply(&map.to_string()).await.map(drop)
}

/// Changes the spec of the table.
async fn patch(namespace: &Namespace, spec: serde_json::Value) -> Result<()> {
    let patch = json!({ "spec": spec }).to_string();
    namespace
        .kubectl(&["patch", "opaquetable/weather", "--type=merge", "--patch", &patch])
        .await
        .map(drop)
}

/// Waits until `kubectl get` shows that an epoch is served.
async fn shows(namespace: &Namespace, epoch: &str) -> Result<()> {
    let look = || async {
        let line = namespace.kubectl(&["get", "opaquetable/weather", "--no-headers"]).await?;
        let columns: Vec<&str> = line.split_whitespace().collect();
        let shown = columns.get(..6) == Some(&["weather", "demo", epoch, "9", "True", "Serving"]);
        ensure!(shown, "{line}");
        Ok(Some(()))
    };
    poll::until(&format!("kubectl shows epoch {epoch}"), LIMIT, look).await.map(drop)
}

/// Waits until these are the epochs in the status, newest first, and in the store.
async fn retained(namespace: &Namespace, epochs: &[i64]) -> Result<()> {
    let bucket = Bucket::new()?;
    let look = || async {
        let table = namespace.api::<OpaqueTable>().get("weather").await?;
        let entries = table.status.map(|status| status.epochs).unwrap_or_default();
        let mut listed: Vec<i64> = entries.iter().map(|entry| entry.epoch).collect();
        listed.reverse();
        let stored = bucket.epochs(namespace.name(), "weather").await?;
        ensure!(listed == epochs && stored == epochs, "status {listed:?}, store {stored:?}");
        Ok(Some(()))
    };
    poll::until(&format!("epochs {epochs:?} are retained"), LIMIT, look).await.map(drop)
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn every_answer_is_of_one_epoch() -> Result<()> {
    harness::run("epochs", async |namespace| {
        product::serve(namespace, 3, 1, &[]).await?;
        let (old, new) = (answer(0), answer(100));
        let (question, _folder) = product::question(namespace, SQL, &[&old, &new]).await?;
        let mut answers = QueryLoop::start(question.clone()).await?;
        let start = Instant::now();
        change(namespace, 100).await?;
        answers.until_answer(1, LIMIT).await?;
        measured("ConfigMap changed to the first answer of the new epoch", start.elapsed());
        shows(namespace, "2").await?;

        let start = Instant::now();
        patch(namespace, json!({"epoch": 1})).await?;
        answers.until_answer(0, LIMIT).await?;
        measured("epoch pinned to the first answer of the old epoch", start.elapsed());
        shows(namespace, "1").await?;

        let start = Instant::now();
        patch(namespace, json!({"epoch": null})).await?;
        answers.until_answer(1, LIMIT).await?;
        measured("pin removed to the first answer of the new epoch", start.elapsed());
        // A node that still answered from the old epoch would have been noticed by now.
        answers.answers(10, LIMIT).await?;
        let summary = answers.stop().await?;
        summary.check()?;
        ensure!(summary.order == [0, 1, 0, 1], "epochs came in the order {:?}", summary.order);

        retention(namespace).await
    })
    .await
}

/// Starts with epochs 1 and 2, of which 2 is served.
async fn retention(namespace: &Namespace) -> Result<()> {
    retained(namespace, &[1, 2]).await?;
    patch(namespace, json!({"epoch": 1, "retainEpochs": 1})).await?;
    shows(namespace, "1").await?;
    // Three epochs are kept: the newest, the one before, which could be pinned until the newest was
    // built, and the pinned one, which is served.
    change(namespace, 200).await?;
    retained(namespace, &[1, 2, 3]).await?;
    let old = answer(0);
    let (question, _folder) = product::question(namespace, SQL, &[&old]).await?;
    product::ask(&question).await?;

    patch(namespace, json!({"epoch": null})).await?;
    shows(namespace, "3").await?;
    // Three epochs are kept: the newest, the one that was served when it was built, and the one
    // before, which queries in progress may still use.
    change(namespace, 300).await?;
    shows(namespace, "4").await?;
    retained(namespace, &[2, 3, 4]).await?;
    change(namespace, 400).await?;
    shows(namespace, "5").await?;
    retained(namespace, &[3, 4, 5]).await?;
    let new = answer(400);
    let (question, _folder) = product::question(namespace, SQL, &[&new]).await?;
    product::ask(&question).await
}
