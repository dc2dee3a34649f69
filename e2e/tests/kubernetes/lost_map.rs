//! A shard map that is deleted, restored from an older copy or has lost its status interrupts no
//! query, and the served map is written again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use opaque_crds::OpaqueShardMap;
use opaque_e2e::harness::{self, Containers, Faults, QueryLoop, Question, measured, product};
use opaque_e2e::poll;
use tokio::time::Instant;

use crate::support::{ANSWER, queries};
use crate::tables::same_weather;

const MORE: &str = "SELECT country, temperature FROM more WHERE city = 'Santiago'";
/// How long a map may take to come back: five times as long as an idle machine needs.
const BACK: Duration = Duration::from_secs(50);
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_map_that_is_lost_or_older_costs_no_answer_and_comes_back() -> Result<()> {
    harness::run("lost-map", async |namespace| {
        // Only in our own cluster, since queries must continue through every pod.
        Faults::new()?;
        product::serve(namespace, 2, 2, &["replicas=1"]).await?;
        let maps = namespace.api::<OpaqueShardMap>();
        let older = maps.get("demo").await?;
        namespace.apply(&same_weather("more")).await?;
        product::condition(namespace, "opaquetable/more", "Available", "True", LIMIT).await?;

        let containers = Containers::of(namespace, product::NODES).await?;
        let (more, _more) = product::question(namespace, MORE, &[ANSWER]).await?;
        product::ask(&more).await?;
        let (mut queries, _folder) = queries(namespace).await?;

        let before = Served::now(&maps).await?;
        maps.delete("demo", &DeleteParams::default()).await?;
        before.back(&maps, "map deleted", |now| before.is_replaced_by(now)).await?;
        goes_on(&mut queries, &more).await?;

        let before = Served::now(&maps).await?;
        restore(&maps, &older).await?;
        before.back(&maps, "older map restored", |now| before.is_replaced_by(now)).await?;
        goes_on(&mut queries, &more).await?;

        let before = Served::now(&maps).await?;
        forget_status(&maps).await?;
        let after = before.back(&maps, "status emptied", |_| true).await?;
        ensure!(after.generation >= before.generation, "{after:?} follows {before:?}");
        goes_on(&mut queries, &more).await?;

        // The nodes also agree on the next change.
        namespace.apply(&same_weather("later")).await?;
        for object in ["opaquetable/later", "opaquetable/more", "opaquetable/weather"] {
            product::condition(namespace, object, "Available", "True", LIMIT).await?;
        }
        product::condition(namespace, "opaquecluster/demo", "Available", "True", LIMIT).await?;
        product::condition(namespace, "opaquecluster/demo", "Degraded", "False", LIMIT).await?;
        queries.finish(5, LIMIT).await?;
        containers.check(namespace).await
    })
    .await
}

/// The served state according to a map's object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Served {
    uid: String,
    generation: i64,
    tables: BTreeMap<String, i64>,
}

impl Served {
    /// Fails while no map is active.
    async fn now(maps: &Api<OpaqueShardMap>) -> Result<Self> {
        let map = maps.get("demo").await?;
        let active = map.status.and_then(|status| status.active).context("nothing is active")?;
        let tables = active.tables.into_iter().map(|entry| (entry.table, entry.epoch)).collect();
        let uid = map.metadata.uid.unwrap_or_default();
        Ok(Self { uid, generation: active.generation, tables })
    }

    /// Whether another object states that a later generation is served.
    fn is_replaced_by(&self, now: &Self) -> bool {
        now.uid != self.uid && now.generation > self.generation
    }

    /// Waits until the object states again that these tables are served, at these epochs.
    async fn back(
        &self,
        maps: &Api<OpaqueShardMap>,
        what: &str,
        wanted: impl Fn(&Self) -> bool,
    ) -> Result<Self> {
        let start = Instant::now();
        let look = || async {
            let now = Self::now(maps).await?;
            ensure!(now.tables == self.tables && wanted(&now), "{now:?}");
            Ok(Some(now))
        };
        let name = format!("{what}: the map is as it was");
        let (now, _) = poll::until(&name, BACK, look).await?;
        measured(&format!("{what} to all tables in the active map"), start.elapsed());
        Ok(now)
    }
}

/// Both tables are answered.
async fn goes_on(queries: &mut QueryLoop, more: &Question) -> Result<()> {
    queries.answers(10, LIMIT).await?;
    product::ask(more).await
}

/// Replaces the map by an older copy with its status, like restoring a backup.
async fn restore(maps: &Api<OpaqueShardMap>, older: &OpaqueShardMap) -> Result<()> {
    let mut copy = older.clone();
    copy.metadata.uid = None;
    copy.metadata.resource_version = None;
    copy.metadata.creation_timestamp = None;
    copy.metadata.generation = None;
    copy.metadata.managed_fields = None;
    let create = || async {
        // The operator creates a missing map at once. The restore must be faster.
        match maps.delete("demo", &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            deleted => drop(deleted?),
        }
        match maps.create(&PostParams::default(), &copy).await {
            Ok(created) => Ok(Some(created)),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let (mut restored, _) = poll::until("the older map is created", LIMIT, create).await?;
    restored.status = older.status.clone();
    match maps.replace_status("demo", &PostParams::default(), &restored).await {
        Ok(_) => Ok(()),
        // A leader has already written a status.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Empties the status, like a restore without the subresource.
async fn forget_status(maps: &Api<OpaqueShardMap>) -> Result<()> {
    let forget = || async {
        let mut map = maps.get("demo").await?;
        map.status = None;
        match maps.replace_status("demo", &PostParams::default(), &map).await {
            Ok(map) => {
                ensure!(map.status.is_none_or(|status| status.active.is_none()), "it is kept");
                Ok(Some(()))
            }
            // Leaders write the status from time to time.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    poll::until("the status is emptied", LIMIT, forget).await.map(drop)
}
