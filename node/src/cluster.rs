//! The cluster as one node sees it: the active map, its tables, and changes to both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opaque_proto::v1;
use tokio::time::{sleep, timeout};

use crate::coordination::{
    Change, Coordination, CoordinationError, Outcome, Snapshot, UnixMillis, alive, serving,
};
use crate::coordinator::Replicas;
use crate::error::NodeError;
use crate::local::LocalShard;
use crate::replica::{Directory, member_to_proto};
use crate::served::{ServedIndex, ServedTable, Serving};

/// How much longer than the leader's own deadline to wait for its decision.
const DECISION: Duration = Duration::from_secs(15);

/// Reads the active state and changes it.
pub struct Cluster {
    coordination: Arc<dyn Coordination>,
    local: Arc<LocalShard>,
    directory: Directory,
    member_ttl: Duration,
}

impl Cluster {
    /// A view through `coordination`, with tables as `local` holds them.
    pub fn new(
        coordination: Arc<dyn Coordination>,
        local: Arc<LocalShard>,
        own_name: String,
    ) -> Self {
        let member_ttl = coordination.rhythm().member_ttl;
        let directory = Directory::new(own_name, member_ttl);
        Self { coordination, local, directory, member_ttl }
    }

    /// The active generation, loaded.
    ///
    /// # Errors
    /// [`NodeError::NotReady`] before the first map, and while this node still loads.
    pub fn active(&self) -> Result<Arc<Serving>, NodeError> {
        let snapshot = self.snapshot();
        let Some(map) = &snapshot.active else {
            return Err(NodeError::NotReady("it has no shard map yet".into()));
        };
        // While the newest generation loads, the one before it is as good an answer.
        let held = self.local.generations();
        held.into_iter()
            .rev()
            .find(|serving| serving.map.generation <= map.generation)
            .ok_or_else(|| NodeError::NotReady("this node is still loading".into()))
    }

    /// A table in the active generation.
    pub fn table(&self, name: &str) -> Result<(Arc<Serving>, Arc<ServedTable>), NodeError> {
        let serving = self.active()?;
        let table = find_table(&serving, name)?;
        Ok((serving, table))
    }

    /// A table at the epoch that a client asks for: in the active generation, or in an earlier one
    /// that is still held for queries that began under it.
    pub fn table_at(
        &self,
        name: &str,
        epoch: u64,
    ) -> Result<(Arc<Serving>, Arc<ServedTable>), NodeError> {
        let active = self.active()?;
        let newest = active.map.generation;
        let held = self.local.generations();
        held.into_iter()
            .rev()
            .filter(|serving| serving.map.generation <= newest)
            .find_map(|serving| {
                let table = find_table(&serving, name).ok()?;
                (table.manifest.epoch == epoch).then_some((serving, table))
            })
            .map_or_else(
                || {
                    find_table(&active, name)?;
                    Err(NodeError::StaleEpoch { table: name.to_owned(), epoch })
                },
                Ok,
            )
    }

    /// The replicas to ask, by shard.
    pub fn replicas(&self, serving: &Serving) -> Replicas {
        self.directory.replicas(&self.snapshot(), &serving.map, UnixMillis::now())
    }

    /// Has the cluster serve another epoch of a table, and waits until it does: `patience` for its
    /// turn, and as long again and a little more for the leader's decision, which falls by then.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the leader's reason; the old epoch is then still served.
    /// [`NodeError::Deadline`] when there is no leader to decide; the change may still come.
    pub async fn change(&self, change: Change, patience: Duration) -> Result<u64, NodeError> {
        let generation = timeout(patience, self.propose(change))
            .await
            .map_err(|_| NodeError::Deadline("another change was in progress"))??;
        timeout(patience + DECISION, self.decided(generation)).await.map_err(|_| {
            NodeError::Deadline("waiting for the leader; the change may still come")
        })??;
        Ok(generation)
    }

    /// Proposes until no other proposal is in the way.
    async fn propose(&self, change: Change) -> Result<u64, NodeError> {
        loop {
            let active = self.coordination.active().await.map_err(NodeError::internal)?;
            let expected = active
                .ok_or_else(|| NodeError::NotReady("it has no shard map yet".into()))?
                .generation;
            match self.coordination.propose(change.clone(), expected, UnixMillis::now()).await {
                Ok(map) => return Ok(map.generation),
                Err(CoordinationError::Conflict { .. }) => {
                    sleep(self.coordination.rhythm().look).await;
                }
                Err(error @ CoordinationError::NameTaken { .. }) => {
                    return Err(NodeError::Refused(error.to_string()));
                }
                Err(error) => return Err(NodeError::internal(error)),
            }
        }
    }

    /// Waits until a generation is active and loaded here.
    async fn decided(&self, generation: u64) -> Result<(), NodeError> {
        loop {
            match self.coordination.outcome(generation).await.map_err(NodeError::internal)? {
                Outcome::Activated => {
                    let active = self.active().map(|serving| serving.map.generation);
                    if active.is_ok_and(|active| active >= generation) {
                        return Ok(());
                    }
                }
                Outcome::Rejected { reason } => return Err(NodeError::Refused(reason)),
                Outcome::Pending | Outcome::Unknown => {}
            }
            sleep(self.coordination.rhythm().look).await;
        }
    }

    /// Who serves what, for people.
    pub fn status(&self) -> v1::StatusResponse {
        let (snapshot, now) = (self.snapshot(), UnixMillis::now());
        let leader = snapshot.leader.as_ref().map(|leader| leader.node.clone());
        let Some(map) = &snapshot.active else {
            return v1::StatusResponse {
                leader: leader.unwrap_or_default(),
                ..v1::StatusResponse::default()
            };
        };
        let fresh: Vec<&str> = alive(&snapshot.members, now, self.member_ttl)
            .map(|member| member.node.as_str())
            .collect();
        let shard = |shard: crate::placement::ShardId| v1::ShardStatus {
            shard: shard.0,
            replicas: snapshot
                .members
                .iter()
                .filter(|member| member.shard == shard)
                .map(|member| member_to_proto(member, fresh.contains(&member.node.as_str())))
                .collect(),
        };
        v1::StatusResponse {
            generation: map.generation,
            leader: leader.unwrap_or_default(),
            shards: map.shards.ids().map(shard).collect(),
            tables: u32::try_from(map.tables.len()).unwrap_or(u32::MAX),
            serving: serving(map, &snapshot.members, now, self.member_ttl),
        }
    }

    /// Epochs of a table that the active or a proposed map refers to.
    pub async fn epochs_in_use(&self, table: &str) -> Result<BTreeSet<u64>, NodeError> {
        let active = self.coordination.active().await.map_err(NodeError::internal)?;
        let proposed = self.coordination.proposed().await.map_err(NodeError::internal)?;
        let maps = active.iter().chain(&proposed);
        Ok(maps.filter_map(|map| map.tables.get(table).copied()).collect())
    }

    /// Every node of the active map, dead ones and this one included.
    pub fn nodes(&self) -> Vec<crate::call::Replica> {
        let snapshot = self.snapshot();
        let Some(map) = &snapshot.active else { return Vec::new() };
        let replicas = self.directory.replicas(&snapshot, map, UnixMillis::now());
        replicas.into_values().flatten().collect()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.coordination.watch().borrow().clone()
    }
}

/// A searchable column of a table.
pub fn index_of(table: &ServedTable, column: u32) -> Result<Arc<ServedIndex>, NodeError> {
    let name = || table.manifest.schema.table().to_owned();
    table
        .indexes
        .get(&column)
        .cloned()
        .ok_or_else(|| NodeError::UnknownColumn { table: name(), column })
}

/// SQL folds case; names of tables differ in more than that, because a proposal checks it.
fn find_table(serving: &Serving, name: &str) -> Result<Arc<ServedTable>, NodeError> {
    let mut tables = serving.tables.iter();
    if let Some((_, table)) = tables.find(|(table, _)| table.eq_ignore_ascii_case(name)) {
        return Ok(Arc::clone(table));
    }
    let mut missing = serving.missing.iter();
    match missing.find(|(table, _)| table.eq_ignore_ascii_case(name)) {
        Some((table, reason)) => {
            Err(NodeError::NotReady(format!("table {table:?} cannot be loaded: {reason}")))
        }
        None => Err(NodeError::UnknownTable(name.to_owned())),
    }
}
