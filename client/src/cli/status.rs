//! `opaque status`.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use opaque_client::present::escaped;
use opaque_proto::v1::{ReplicaStatus, StatusResponse};
use tokio::time::{Instant, sleep};

use super::{
    Connection,
    failure::Failure,
    text::{columns, duration, size},
};

#[derive(Args)]
#[command(after_help = "\
Examples:
  opaque status
  opaque status --wait 60s     wait until every shard serves, at most a minute")]
pub(crate) struct Arguments {
    /// Wait at most this long until every shard serves
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
}

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(250);

pub(crate) async fn run(connection: &Connection, arguments: &Arguments) -> Result<(), Failure> {
    let end = Instant::now() + arguments.wait.unwrap_or(Duration::ZERO);
    loop {
        // The profile is read anew: `opaque dev` may be about to write it.
        let status = match connection.client() {
            Ok(client) => client.status().await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        let serving = matches!(&status, Ok(status) if status.serving);
        if !serving && Instant::now() < end {
            sleep(POLL).await;
            continue;
        }
        let status = status?;
        show(&mut io::stdout().lock(), &status)?;
        return if serving {
            Ok(())
        } else {
            Err(Failure::NotServing("not every shard serves".to_owned()))
        };
    }
}

fn show(out: &mut impl Write, status: &StatusResponse) -> io::Result<()> {
    let shards = status.shards.iter();
    let rows = shards.flat_map(|shard| {
        shard.replicas.iter().map(|replica| row(shard.shard, replica, status.generation))
    });
    let header = ["SHARD", "NODE", "ADDRESS", "STATE", "GENERATION", "MEMORY", "MESSAGE"];
    columns(out, &header, &[4, 5], rows)?;
    let leader = if status.leader.is_empty() { "none" } else { &escaped(&status.leader) };
    let state = if status.serving { "serving" } else { "NOT serving" };
    writeln!(
        out,
        "\n{state}: generation {}, leader {leader}, {} tables",
        status.generation, status.tables
    )
}

fn row(shard: u32, replica: &ReplicaStatus, generation: u64) -> Vec<String> {
    let state = match replica {
        ReplicaStatus { alive: false, .. } => "gone",
        ReplicaStatus { active_generation, .. } if *active_generation == generation => "serving",
        _ => "preparing",
    };
    vec![
        shard.to_string(),
        replica.node.clone(),
        replica.address.clone(),
        state.to_owned(),
        replica.active_generation.to_string(),
        size(replica.resident_bytes),
        replica.message.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use opaque_proto::v1::ShardStatus;

    use super::*;

    #[test]
    fn a_status_cannot_steer_the_terminal() {
        let evil = || "\u{1b}[2J\n".to_owned();
        let replica = ReplicaStatus {
            node: evil(),
            address: evil(),
            message: evil(),
            ..ReplicaStatus::default()
        };
        let shards = vec![ShardStatus { replicas: vec![replica], ..ShardStatus::default() }];
        let status = StatusResponse { leader: evil(), shards, ..StatusResponse::default() };
        let mut out = Vec::new();
        show(&mut out, &status).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\u{1b}') && text.lines().count() == 4, "{text:?}");
    }
}
