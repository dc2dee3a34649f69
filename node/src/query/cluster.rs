//! The cluster as one node sees it: the active map, its tables, and changes to both.

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
use crate::map::call::Replica;
use crate::map::call::Replicas;
use crate::shard::local::LocalShard;
use crate::shard::replica::member_to_proto;
use crate::shard::served::{ServedIndex, ServedTable, Serving};

/// How much longer than the leader's own deadline to wait for its decision.
pub(crate) const DECISION: Duration = Duration::from_secs(15);

/// What a change waited for when its time to be proposed ran out.
const TURN: &str = "another change was in progress";
const STATE: &str = "the cluster's state could not be reached";
const UNHEARD: &str = "proposing, with an answer lost; the change may still come";

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
    /// A view through `coordination`, with tables as `local` holds them for `shard`.
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

    /// A table in the active generation, whether this node has its shard's part of it or other
    /// replicas only.
    ///
    /// # Errors
    /// [`NodeError::ShardUnavailable`] for a table of which not even its description is known here.
    pub fn table(&self, name: &str) -> Result<(Arc<Serving>, Arc<ServedTable>), NodeError> {
        let serving = self.active()?;
        let table = self.find_table(&serving, name)?;
        Ok((serving, table))
    }

    /// Name and epoch of a table in the active generation, whatever this node has of it.
    pub fn entry(&self, name: &str) -> Result<(String, u64), NodeError> {
        let serving = self.active()?;
        let mut tables = serving.map.tables.iter();
        let found = tables.find(|(table, _)| table.eq_ignore_ascii_case(name));
        let unknown = || NodeError::UnknownTable(name.to_owned());
        found.map(|(table, epoch)| (table.clone(), *epoch)).ok_or_else(unknown)
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

    /// The replicas to ask about a table, by shard.
    pub fn replicas(&self, serving: &Serving, table: &ServedTable) -> Replicas {
        let table = table.manifest.schema.table();
        let asked = Asked { table, here: serving.tables.contains_key(table) };
        let mut replicas =
            self.order.replicas(&self.snapshot(), &serving.map, asked, UnixMillis::now());
        // A node that has left the cluster goes on with the queries that had reached it.
        if let Some(own) = replicas.get_mut(&self.shard).filter(|_| asked.here)
            && own.iter().all(|replica| replica.node != self.own_name)
        {
            let (node, address) = (self.own_name.clone(), String::new());
            own.insert(0, Replica { node, shard: self.shard, address });
        }
        replicas
    }

    /// Whether clients may load a table, or roll it back, as far as this node knows now. It is checked
    /// again when the change is proposed.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the OpaqueTable that owns the table, and what to do instead.
    pub fn check_owner(&self, table: &str) -> Result<(), NodeError> {
        let snapshot = self.snapshot();
        let mut maps = snapshot.active.iter().chain(&snapshot.proposed);
        maps.try_for_each(|map| map.check_owner(table))
            .map_err(|error| NodeError::Refused(error.to_string()))
    }

    /// Whether clients may load a table of this name, as far as this node knows now. It is checked again when
    /// the change is proposed.
    ///
    /// # Errors
    /// [`NodeError::Refused`] as of [`check_owner`](Self::check_owner), and where another table's name differs
    /// by case alone.
    pub fn check_load(&self, table: &str) -> Result<(), NodeError> {
        self.check_owner(table)?;
        let snapshot = self.snapshot();
        let mut active = snapshot.active.iter();
        active
            .try_for_each(|map| map.check_name(table))
            .map_err(|error| NodeError::Refused(error.to_string()))
    }

    /// Has the cluster serve another epoch of a table, and waits until it does: `patience` for its
    /// turn, and as long again and a little more for the leader's decision. Neither ends because the
    /// cluster's state is out of reach for a while. A change of the same table that still waits for
    /// the nodes is withdrawn: the newest wish counts.
    ///
    /// # Errors
    /// [`NodeError::Refused`] with the leader's reason; the old epoch is then still served.
    /// [`NodeError::Deadline`] when the time is over before a decision was heard of; once the change
    /// was proposed it may still come.
    pub async fn change(&self, change: Change, patience: Duration) -> Result<u64, NodeError> {
        let mut attempts = Attempts { unheard: false, waits: TURN };
        let proposing = timeout(patience, self.propose(&change, &mut attempts)).await;
        let generation = proposing.map_err(|_| NodeError::Deadline(attempts.waits))??;
        timeout(patience + DECISION, self.decided(generation)).await.map_err(|_| {
            NodeError::Deadline("waiting for the leader; the change may still come")
        })??;
        Ok(generation)
    }

    /// Proposes until no other proposal is in the way.
    async fn propose(&self, change: &Change, attempts: &mut Attempts) -> Result<u64, NodeError> {
        loop {
            match self.attempt(change, attempts).await {
                Ok(generation) => return Ok(generation),
                Err(CoordinationError::Conflict { .. }) if attempts.unheard => {}
                // Also a proposal that was decided while this withdrew it.
                Err(CoordinationError::Conflict { .. } | CoordinationError::NotProposed { .. }) => {
                    attempts.waits = TURN;
                }
                Err(error) if error.is_passing() => {
                    let waits = if attempts.unheard { UNHEARD } else { STATE };
                    if attempts.waits != waits {
                        tracing::warn!(%error, "could not propose a change; trying on");
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

    /// Proposes once. After an attempt whose answer was lost the change may be there already: proposed
    /// again, and refused the second time, it would be told as refused while it is served.
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
        // What is served is asked for again: a proposal for something else is all that is in the
        // way.
        if change.is_in(&active)
            && let Some(other) = self.coordination.proposed().await?
            && !change.is_in(&other)
            && change.replaces(&other, &active)
        {
            if let Change::Table { table, .. } = change {
                other.check_owner(table)?;
            }
            let reason = "withdrawn: what was served already was asked for again";
            self.coordination.withdraw(other.generation, reason).await?;
            return Ok(active.generation);
        }
        let (change, now) = (change.clone(), UnixMillis::now());
        let proposed = self.coordination.propose(change, active.generation, now).await;
        attempts.unheard |= proposed.as_ref().is_err_and(CoordinationError::is_passing);
        Ok(proposed?.generation)
    }

    /// Waits until a generation is active and loaded here.
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
                // The proposal stands, and the leader decides on it, whether or not it can be read here.
                Err(error) if !failing => {
                    tracing::warn!(generation, %error, "cannot see what was decided; looking on");
                }
                Err(_) => {}
            }
            failing = failed;
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

    /// Epochs of a table that the active or a proposed map refers to.
    pub async fn epochs_in_use(&self, table: &str) -> Result<BTreeSet<u64>, NodeError> {
        let active = self.coordination.active().await.map_err(NodeError::internal)?;
        let proposed = self.coordination.proposed().await.map_err(NodeError::internal)?;
        let maps = active.iter().chain(&proposed);
        Ok(maps.filter_map(|map| map.tables.get(table).copied()).collect())
    }

    /// Every node of the active map, dead ones and this one included.
    pub fn nodes(&self) -> Vec<Replica> {
        let snapshot = self.snapshot();
        let Some(map) = &snapshot.active else { return Vec::new() };
        let members = snapshot.members.iter();
        members.filter(|member| map.shards.contains(member.shard)).map(replica).collect()
    }

    /// As [`Serving::table`]; a table that cannot even be described is told as this node's shard's.
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

/// How proposing a change went so far.
struct Attempts {
    /// Whether the answer to an attempt was lost, so that the change may be proposed already.
    unheard: bool,
    /// What it waits for.
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
