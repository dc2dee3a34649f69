//! One node's view of the cluster: the active map, its tables, and changes to both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opaque_proto::v1;
use opaque_store::UnixMillis;
use tokio::time::{sleep, timeout};

use crate::coordination::{
    Asked, Change, Coordination, CoordinationError, Outcome, ReplicaOrder, Snapshot, alive,
    replica, serving,
};
use crate::error::NodeError;
use crate::map::call::{Replica, Replicas};
use crate::shard::local::LocalShard;
use crate::shard::replica::member_to_proto;
use crate::shard::served::{ServedIndex, ServedTable, Serving};

/// How much longer than the leader's deadline to wait for its decision.
pub(crate) const DECISION: Duration = Duration::from_secs(15);

/// What a change waited for when its time for being proposed ran out.
const TURN: &str = "another change was in progress";
const STATE: &str = "the cluster's state could not be reached";
const UNHEARD: &str = "proposing; an answer was lost, so the change may still be activated";

/// Reads the active state and changes it.
pub struct Cluster {
    coordination: Arc<dyn Coordination>,
    local: Arc<LocalShard>,
    own_name: String,
    shard: u32,
    order: ReplicaOrder,
    member_ttl: Duration,
}

impl Cluster {
    /// A view through `coordination`. `local` holds the tables of `shard`.
    pub fn new(
        coordination: Arc<dyn Coordination>,
        local: Arc<LocalShard>,
        own_name: String,
        shard: u32,
    ) -> Self {
        let member_ttl = coordination.rhythm().member_ttl;
        let order = ReplicaOrder::new(own_name.clone(), member_ttl);
        Self { coordination, local, own_name, shard, order, member_ttl }
    }

    /// The active generation, if it is loaded.
    ///
    /// # Errors
    /// [`NodeError::NotReady`] before the first map, and while this node is loading.
    pub fn active(&self) -> Result<Arc<Serving>, NodeError> {
        let snapshot = self.snapshot();
        let Some(map) = &snapshot.active else {
            return Err(NodeError::NotReady("it has no shard map yet".into()));
        };
        // While the newest generation is loading, the one before it is a valid answer.
        let held = self.local.generations();
        held.into_iter()
            .rev()
            .find(|serving| serving.map.generation <= map.generation)
            .ok_or_else(|| NodeError::NotReady("this node is still loading".into()))
    }

    /// A table of the active generation, whether this node has its shard's part of it or only other
    /// replicas have.
    ///
    /// # Errors
    /// [`NodeError::ShardUnavailable`] for a table whose description is not known here either.
    pub fn table(&self, name: &str) -> Result<(Arc<Serving>, Arc<ServedTable>), NodeError> {
        let serving = self.active()?;
        let table = self.find_table(&serving, name)?;
        Ok((serving, table))
    }

    /// Name and epoch of a table in the active generation, even if this node holds nothing of it.
    pub fn entry(&self, name: &str) -> Result<(String, u64), NodeError> {
        let serving = self.active()?;
        let mut tables = serving.map.tables.iter();
        let found = tables.find(|(table, _)| table.eq_ignore_ascii_case(name));
        let unknown = || NodeError::UnknownTable(name.to_owned());
        found.map(|(table, epoch)| (table.clone(), *epoch)).ok_or_else(unknown)
    }

    /// A table at the epoch that a client requests: in the active generation, or in an earlier one
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
                let table = serving.table(name).ok().cloned()?;
                (table.manifest.epoch == epoch).then_some((serving, table))
            })
            .map_or_else(
                || {
                    self.find_table(&active, name)?;
                    Err(NodeError::StaleEpoch { table: name.to_owned(), epoch })
                },
                Ok,
            )
    }

    /// The replicas that serve a table, by shard.
    pub fn replicas(&self, serving: &Serving, table: &ServedTable) -> Replicas {
        let table = table.manifest.schema.table();
        let asked = Asked { table, here: serving.tables.contains_key(table) };
        let mut replicas =
            self.order.replicas(&self.snapshot(), &serving.map, asked, UnixMillis::now());
        // A node that has left the cluster still finishes the queries that had reached it.
        if let Some(own) = replicas.get_mut(&self.shard).filter(|_| asked.here)
            && own.iter().all(|replica| replica.node != self.own_name)
        {
            let (node, address) = (self.own_name.clone(), String::new());
            own.insert(0, Replica { node, shard: self.shard, address });
        }
        replicas
    }

    /// Checks whether clients may load a table or roll it back, according to this node's present
    /// knowledge. The check is repeated when the change is proposed.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the OpaqueTable that owns the table, and a remedy.
    pub fn check_owner(&self, table: &str) -> Result<(), NodeError> {
        let snapshot = self.snapshot();
        let mut maps = snapshot.active.iter().chain(&snapshot.proposed);
        maps.try_for_each(|map| map.check_owner(table))
            .map_err(|error| NodeError::Refused(error.to_string()))
    }

    /// Checks whether clients may load a table of this name, according to this node's present
    /// knowledge. The check is repeated when the change is proposed.
    ///
    /// # Errors
    /// [`NodeError::Refused`] as for [`check_owner`](Self::check_owner), and if another table's
    /// name differs only by case.
    pub fn check_load(&self, table: &str) -> Result<(), NodeError> {
        self.check_owner(table)?;
        let snapshot = self.snapshot();
        let mut active = snapshot.active.iter();
        active
            .try_for_each(|map| map.check_name(table))
            .map_err(|error| NodeError::Refused(error.to_string()))
    }

    /// Makes the cluster serve another epoch of a table, and waits until it does. The proposal may
    /// wait for `patience`, and the leader's decision for as long again and a little more. A
    /// temporary outage of the cluster's state does not end the wait. A change of the same table
    /// that still waits for the nodes is withdrawn, since the newest change takes precedence.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the leader's reason. The old epoch is then still served.
    /// [`NodeError::Deadline`] if no decision was seen in time. If the change was proposed by then,
    /// it may still become active.
    pub async fn change(&self, change: Change, patience: Duration) -> Result<u64, NodeError> {
        let mut attempts = Attempts { unheard: false, waits: TURN };
        let proposing = timeout(patience, self.propose(&change, &mut attempts)).await;
        let generation = proposing.map_err(|_| NodeError::Deadline(attempts.waits))??;
        timeout(patience + DECISION, self.decided(generation)).await.map_err(|_| {
            NodeError::Deadline("waiting for the leader; the change may still be activated")
        })??;
        Ok(generation)
    }

    /// Proposes until no other proposal is in the way.
    async fn propose(&self, change: &Change, attempts: &mut Attempts) -> Result<u64, NodeError> {
        loop {
            match self.attempt(change, attempts).await {
                Ok(generation) => return Ok(generation),
                Err(CoordinationError::Conflict { .. }) if attempts.unheard => {}
                // This includes a proposal that was decided while this call withdrew it.
                Err(CoordinationError::Conflict { .. } | CoordinationError::NotProposed { .. }) => {
                    attempts.waits = TURN;
                }
                Err(error) if error.is_passing() => {
                    let waits = if attempts.unheard { UNHEARD } else { STATE };
                    if attempts.waits != waits {
                        tracing::warn!(%error, "could not propose a change; retrying");
                    }
                    attempts.waits = waits;
                }
                Err(CoordinationError::NotInitialized) => {
                    return Err(NodeError::NotReady("it has no shard map yet".into()));
                }
                Err(
                    error @ (CoordinationError::NameTaken { .. } | CoordinationError::Owned { .. }),
                ) => {
                    return Err(NodeError::Refused(error.to_string()));
                }
                Err(error) => return Err(NodeError::internal(error)),
            }
            sleep(self.coordination.rhythm().look).await;
        }
    }

    /// Proposes once. If the answer to an earlier attempt was lost, the change may already be
    /// proposed. A second proposal would then be refused, and the client would see an error
    /// although its change is served.
    async fn attempt(
        &self,
        change: &Change,
        attempts: &mut Attempts,
    ) -> Result<u64, CoordinationError> {
        let active = self.coordination.active().await?.ok_or(CoordinationError::NotInitialized)?;
        if attempts.unheard {
            let proposed = self.coordination.proposed().await?;
            let mut maps = [&active].into_iter().chain(&proposed);
            if let Some(map) = maps.find(|map| change.is_in(map)) {
                return Ok(map.generation);
            }
        }
        // The requested epoch is served already. Only a proposal for another epoch is in the way.
        if change.is_in(&active)
            && let Some(other) = self.coordination.proposed().await?
            && !change.is_in(&other)
            && change.replaces(&other, &active)
        {
            if let Change::Table { table, .. } = change {
                other.check_owner(table)?;
            }
            let reason = "withdrawn: a request asked for the epoch that is already served";
            self.coordination.withdraw(other.generation, reason).await?;
            return Ok(active.generation);
        }
        let (change, now) = (change.clone(), UnixMillis::now());
        let proposed = self.coordination.propose(change, active.generation, now).await;
        attempts.unheard |= proposed.as_ref().is_err_and(CoordinationError::is_passing);
        Ok(proposed?.generation)
    }

    /// Waits until a generation is active and loaded on this node.
    async fn decided(&self, generation: u64) -> Result<(), NodeError> {
        let mut failing = false;
        loop {
            let outcome = self.coordination.outcome(generation).await;
            let failed = outcome.is_err();
            match outcome {
                Ok(Outcome::Activated) => {
                    let active = self.active().map(|serving| serving.map.generation);
                    if active.is_ok_and(|active| active >= generation) {
                        return Ok(());
                    }
                }
                Ok(Outcome::Rejected { reason }) => return Err(NodeError::Refused(reason)),
                Ok(Outcome::Pending | Outcome::Unknown) => {}
                // The proposal stands, and the leader decides on it, even if this node cannot read
                // the state.
                Err(error) if !failing => {
                    tracing::warn!(generation, %error, "cannot read the decision; retrying");
                }
                Err(_) => {}
            }
            failing = failed;
            sleep(self.coordination.rhythm().look).await;
        }
    }

    /// The state of the cluster, for people.
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
        let shard = |shard: crate::map::placement::ShardId| v1::ShardStatus {
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

    /// Epochs of a table to which the active or a proposed map refers.
    pub async fn epochs_in_use(&self, table: &str) -> Result<BTreeSet<u64>, NodeError> {
        let active = self.coordination.active().await.map_err(NodeError::internal)?;
        let proposed = self.coordination.proposed().await.map_err(NodeError::internal)?;
        let maps = active.iter().chain(&proposed);
        Ok(maps.filter_map(|map| map.tables.get(table).copied()).collect())
    }

    /// Every node of the active map, including dead ones and this one.
    pub fn nodes(&self) -> Vec<Replica> {
        let snapshot = self.snapshot();
        let Some(map) = &snapshot.active else { return Vec::new() };
        let members = snapshot.members.iter();
        members.filter(|member| map.shards.contains(member.shard)).map(replica).collect()
    }

    /// Like [`Serving::table`]. If not even the description of a table is known, the error names
    /// this node's shard.
    fn find_table(&self, serving: &Serving, name: &str) -> Result<Arc<ServedTable>, NodeError> {
        serving.table(name).cloned().map_err(|error| match error {
            NodeError::TableMissing { .. } => {
                NodeError::ShardUnavailable { shard: self.shard, reason: error.to_string() }
            }
            other => other,
        })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.coordination.watch().borrow().clone()
    }
}

/// State of the attempts to propose a change.
struct Attempts {
    /// Whether the answer to an attempt was lost. The change may then be proposed already.
    unheard: bool,
    /// What the change waits for.
    waits: &'static str,
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

#[cfg(test)]
pub(crate) mod tests;
