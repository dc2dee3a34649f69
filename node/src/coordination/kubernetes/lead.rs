//! The leader's Lease: how it is read, and how this node acquires it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use opaque_crds::{OpaqueShardMap, names};
use opaque_election::{Election, Held, Policy};
use tokio::time::{sleep, timeout};

use super::map::{Maps, Verdict};
use super::{
    HEARTBEAT, KubernetesCoordination, LABEL_CLUSTER, LABEL_LEASE, LEADER, bounded, cluster,
};
use crate::coordination::{CoordinationError, Hold, Leader, Leadership};

/// How long one call waits for the lead.
const PATIENCE: Duration = Duration::from_secs(30);
/// Separates a node's name from its process in the holder's identity. Names do not contain it.
const SEPARATOR: char = '_';

/// The identity of one process of `node`. A restarted container is a different candidate.
fn identity(node: &str, process: u64) -> String {
    format!("{node}{SEPARATOR}{process:016x}")
}

/// The holder of the Lease.
pub(super) fn leader(lease: &Lease) -> Option<Leader> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let node = holder.split(SEPARATOR).next().unwrap_or(holder).to_owned();
    Some(Leader { node, token: token(lease) })
}

/// The fencing token of the last holder of the Lease.
pub(super) fn token(lease: &Lease) -> u64 {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
    u64::try_from(transitions).unwrap_or(0)
}

/// This node as a candidate in an election.
pub(super) struct Candidate {
    pub(super) node: String,
    /// Owner of a Lease that the candidate creates.
    owner: Option<OwnerReference>,
    election: Arc<Election>,
}

impl KubernetesCoordination {
    /// The leader's Lease at present; `None` before the first election.
    pub(super) async fn lead(&self) -> Result<Option<Lease>, CoordinationError> {
        let lease = names::leader_lease(&self.cluster);
        bounded(|| format!("Lease {}/{lease}", self.namespace), self.leases.get_opt(&lease)).await
    }

    /// Waits for the lead for [`PATIENCE`], and announces it.
    pub(super) async fn campaign(
        &self,
        node: &str,
    ) -> Result<Option<Leadership>, CoordinationError> {
        let Some(map) = self.object().await? else {
            // There is nothing to lead yet.
            sleep(HEARTBEAT).await;
            return Ok(None);
        };
        let fence = Maps::read(&map)?.fence;
        let election = self.candidate(node, &map).await;
        let Ok(held) = timeout(PATIENCE, election.acquire_above(fence)).await else {
            return Ok(None);
        };
        self.token.store(held.token(), Ordering::Relaxed);
        let lead = Leadership::new(node.to_owned(), held.token(), Box::new(held));
        // From here on, pending writes of the former leader are refused. Nothing else depends on
        // this, since every verdict contains the token.
        match self.judge(&lead, Verdict::Leads, |_| Ok(false)).await {
            Ok(_) => {}
            Err(error @ CoordinationError::Fenced { .. }) => {
                tracing::warn!(%error, "the Lease was deleted and created again, and another node has this token");
                lead.release().await;
                return Ok(None);
            }
            Err(error) => tracing::debug!(%error, "could not announce the lead"),
        }
        Ok(Some(lead))
    }

    /// This node as a candidate. It is kept between attempts together with what it has seen of the
    /// Lease.
    async fn candidate(&self, node: &str, map: &OpaqueShardMap) -> Arc<Election> {
        let owner = cluster::owner(&map.metadata);
        let mut election = self.election.lock().await;
        if let Some(known) = election.as_ref()
            && (known.node == node && known.owner == owner)
        {
            return Arc::clone(&known.election);
        }
        let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let labels = [
            ("app.kubernetes.io/name", "opaque"),
            ("app.kubernetes.io/managed-by", "opaque-node"),
            (LABEL_CLUSTER, &self.cluster),
            (LABEL_LEASE, LEADER),
        ];
        let made = Election::new(
            self.electors.clone(),
            &self.namespace,
            &names::leader_lease(&self.cluster),
            identity(node, self.process),
            labels.map(label).into(),
            policy(),
        );
        // The Lease is removed with the cluster, but not with its map, which may be created again.
        let made = Arc::new(match &owner {
            Some(owner) => made.owned_by(owner.clone()),
            None => made,
        });
        *election = Some(Candidate { node: node.to_owned(), owner, election: Arc::clone(&made) });
        made
    }
}

/// 8 s, 5 s, 1 s: a leader that dies is replaced within 9 s.
fn policy() -> Policy {
    let seconds = Duration::from_secs;
    Policy::new(seconds(8), seconds(5), seconds(1)).unwrap_or_default()
}

#[async_trait]
impl Hold for Held {
    async fn lost(&self) {
        Held::lost(self).await;
    }

    async fn release(self: Box<Self>) {
        if let Err(error) = Held::release(*self).await {
            tracing::warn!(%error, "could not release the lead; it will expire");
        }
    }
}
