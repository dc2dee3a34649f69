//! The link between this machine and a cluster's network.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::command;

/// Name of the link's end on this machine.
pub const HOST_LINK: &str = "opaque-e2e0";
const CLUSTER_LINK: &str = "host0";
const HOST: &str = "10.251.0.1";
const CLUSTER: &str = "10.251.0.2";
/// Networks of node, pods and Services.
const NETWORKS: [&str; 3] = ["10.250.0.0/24", "10.244.0.0/16", "10.96.0.0/16"];
const LIMIT: Duration = Duration::from_secs(20);

/// Makes node, pods and Services of a cluster reachable from this machine. The link and its routes
/// vanish with the cluster.
pub async fn link(init: u32) -> Result<()> {
    let init = init.to_string();
    let (host, cluster) = (format!("{HOST}/30"), format!("{CLUSTER}/30"));
    let inside = ["--target", &init, "--net", "ip"];
    let peer = ["type", "veth", "peer", "name", CLUSTER_LINK, "netns", &init];
    run("ip", &[&["link", "add", HOST_LINK][..], &peer].concat()).await?;
    run("nsenter", &[&inside[..], &["address", "add", &cluster, "dev", CLUSTER_LINK]].concat())
        .await?;
    run("nsenter", &[&inside[..], &["link", "set", CLUSTER_LINK, "up"]].concat()).await?;
    run("ip", &["address", "add", &host, "dev", HOST_LINK]).await?;
    run("ip", &["link", "set", HOST_LINK, "up"]).await?;
    for network in NETWORKS {
        run("ip", &["route", "add", network, "via", CLUSTER]).await.with_context(|| {
            format!("this machine uses {network} already; give a cluster instead: --existing")
        })?;
    }
    Ok(())
}

async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    command::run(program, arguments, LIMIT).await
}
