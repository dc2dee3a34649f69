//! Network faults: pods that no longer reach the API server, the object store or each other.
//!
//! **What.** Each fault is a method of [`Faults`] that returns a [`Cut`]. The fault heals when the
//! cut is dropped, whether the test passes, fails or panics. If the test's process is killed, the
//! cluster's network ends with the cluster.
//!
//! **Flow.** A fault is a separate nftables table in the cluster's network, with the present
//! addresses of its pods. Packets are dropped silently, as by a broken switch or a wrong firewall.
//! [`Block::Reject`] answers with a reset instead. Established connections are cut too.
//!
//! **Limits.** A pod that is replaced gets another address, which is not cut. Kubelet and clients
//! outside of pods still reach every pod, so probes continue. After a fault has healed, TCP may
//! need some seconds for connections that it did not give up.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;

use super::{Faults, Namespace};
use crate::command;

/// How long `nft` may take.
const TOOL: Duration = Duration::from_secs(30);
/// Port of the API server, also behind its Service.
const API_PORT: u16 = 6443;
/// Port of the object store, also behind its Service.
const STORE_PORT: u16 = 9000;
/// Number of the next table.
static TABLES: AtomicU32 = AtomicU32::new(0);

/// Treatment of packets to a blocked port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Packets are dropped: a call ends at its deadline.
    Drop,
    /// Packets are answered with a reset: a call fails immediately.
    Reject,
}

/// A network fault. It heals when this value is dropped.
#[derive(Debug)]
#[must_use = "the fault heals when this is dropped"]
pub struct Cut {
    faults: Faults,
    table: String,
}

impl Faults {
    /// Cuts one pod off from the API server: its connections stay open, but nothing answers. Its
    /// kubelet still reports the results of probes.
    pub async fn cut_from_api(&self, namespace: &Namespace, pod: &str) -> Result<Cut> {
        self.cut(to_node(&[address(namespace, pod).await?], API_PORT)).await
    }

    /// Cuts all present pods of a namespace off from the API server, as
    /// [`cut_from_api`](Self::cut_from_api) does with one.
    pub async fn cut_all_from_api(&self, namespace: &Namespace) -> Result<Cut> {
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
        let addresses: Vec<_> = pods.iter().filter_map(pod_ip).map(str::to_owned).collect();
        if addresses.is_empty() {
            bail!("no pod has an address yet");
        }
        self.cut(to_node(&addresses, API_PORT)).await
    }

    /// Cuts one pod off from the object store: its reads wait until they time out.
    pub async fn cut_from_store(&self, namespace: &Namespace, pod: &str) -> Result<Cut> {
        self.cut(to_node(&[address(namespace, pod).await?], STORE_PORT)).await
    }

    /// Cuts two pods off from each other in both directions. Both still reach all others.
    pub async fn partition(&self, namespace: &Namespace, one: &str, other: &str) -> Result<Cut> {
        let (one, other) = (address(namespace, one).await?, address(namespace, other).await?);
        self.cut(between(&one, &other)).await
    }

    /// Blocks a port of a pod for all other pods. The pod's outgoing connections still work.
    pub async fn block_port(
        &self,
        namespace: &Namespace,
        pod: &str,
        port: u16,
        block: Block,
    ) -> Result<Cut> {
        self.cut(to_port(&address(namespace, pod).await?, port, block)).await
    }

    async fn cut(&self, chains: Chains) -> Result<Cut> {
        let table = format!("cut{}", TABLES.fetch_add(1, Ordering::Relaxed));
        let rules = chains.tables(&table);
        // If nft fails, dropping this removes a half-made fault.
        let cut = Cut { faults: self.clone(), table };
        let mut nft = self.inside(Path::new("nft"));
        nft.arg(rules);
        command::success(nft, TOOL).await?;
        Ok(cut)
    }
}

impl Cut {
    /// Ends the fault now.
    pub fn heal(self) {}
}

impl Drop for Cut {
    fn drop(&mut self) {
        // The table is created first if it does not exist, so that its deletion cannot fail.
        let gone = |family| {
            let table = &self.table;
            format!("add table {family} {table}; delete table {family} {table}; ")
        };
        let mut nft = self.faults.inside(Path::new("nft")).into_std();
        let status = nft.arg(["bridge", "inet"].map(gone).concat()).status();
        if !status.as_ref().is_ok_and(ExitStatus::success) {
            eprintln!("the network fault {} is not healed: {status:?}", self.table);
        }
    }
}

/// Rules by family and hook.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chains {
    /// Rules between pods: their bridge sees packets to addresses of pods, and `inet` also those to
    /// Services.
    bridge_forward: String,
    inet_forward: String,
    /// Rules from pods to servers of the node.
    inet_input: String,
}

impl Chains {
    /// The input of `nft`.
    fn tables(&self, name: &str) -> String {
        let Self { bridge_forward, inet_forward, inet_input } = self;
        let mut text = String::new();
        for (family, hook, rules) in [
            ("bridge", "forward", bridge_forward),
            ("inet", "forward", inet_forward),
            ("inet", "input", inet_input),
        ] {
            if !rules.is_empty() {
                let _ = write!(
                    text,
                    "table {family} {name} {{ chain {hook} {{ \
                     type filter hook {hook} priority -10; {rules}}}; }}; "
                );
            }
        }
        text
    }
}

/// Drops packets from these addresses to a port of the node.
fn to_node(addresses: &[String], port: u16) -> Chains {
    let inet_input = format!("ip saddr {{ {} }} tcp dport {port} drop; ", addresses.join(", "));
    Chains { inet_input, ..Chains::default() }
}

/// Drops packets between two addresses.
fn between(one: &str, other: &str) -> Chains {
    let rules =
        format!("ip saddr {one} ip daddr {other} drop; ip saddr {other} ip daddr {one} drop; ");
    Chains { bridge_forward: rules.clone(), inet_forward: rules, ..Chains::default() }
}

/// Blocks packets to a port of an address.
fn to_port(address: &str, port: u16, block: Block) -> Chains {
    let to = format!("ip daddr {address} tcp dport {port}");
    match block {
        Block::Drop => {
            let rules = format!("{to} drop; ");
            Chains { bridge_forward: rules.clone(), inet_forward: rules, ..Chains::default() }
        }
        // Not every kernel can reject in the bridge family. `inet` sees the packets of bridges too.
        Block::Reject => {
            Chains { inet_forward: format!("{to} reject with tcp reset; "), ..Chains::default() }
        }
    }
}

async fn address(namespace: &Namespace, pod: &str) -> Result<String> {
    let found = namespace.api::<Pod>().get(pod).await?;
    let address = pod_ip(&found).with_context(|| format!("pod {pod} has no address yet"))?;
    Ok(address.to_owned())
}

fn pod_ip(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_drops_both_directions_between_two_pods() {
        let rules = "ip saddr 10.0.0.1 ip daddr 10.0.0.2 drop; \
                     ip saddr 10.0.0.2 ip daddr 10.0.0.1 drop; ";
        let expected = format!(
            "table bridge cut {{ chain forward {{ type filter hook forward priority -10; {rules}}}; }}; \
             table inet cut {{ chain forward {{ type filter hook forward priority -10; {rules}}}; }}; "
        );
        assert_eq!(between("10.0.0.1", "10.0.0.2").tables("cut"), expected);
    }

    #[test]
    fn a_pod_is_cut_only_from_a_server_of_the_node() {
        assert_eq!(
            to_node(&["10.0.0.1".to_owned(), "10.0.0.2".to_owned()], 6443).tables("cut"),
            "table inet cut { chain input { type filter hook input priority -10; \
             ip saddr { 10.0.0.1, 10.0.0.2 } tcp dport 6443 drop; }; }; "
        );
    }

    #[test]
    fn a_rejected_port_is_left_to_the_family_that_can_reject() {
        let chains = to_port("10.0.0.1", 7200, Block::Reject);
        assert_eq!(chains.bridge_forward, "");
        assert_eq!(chains.inet_forward, "ip daddr 10.0.0.1 tcp dport 7200 reject with tcp reset; ");
        let chains = to_port("10.0.0.1", 7200, Block::Drop);
        assert_eq!(chains.bridge_forward, "ip daddr 10.0.0.1 tcp dport 7200 drop; ");
        assert_eq!(chains.bridge_forward, chains.inet_forward);
    }
}
