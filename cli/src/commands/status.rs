//! `opaque status`.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use opaque_client::{Client, Error, session::CallError, terminal::escaped};
use opaque_proto::v1::{ReplicaStatus, StatusResponse};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use super::{Connection, tables::As};
use crate::{
    failure::Failure,
    listing::{
        Cell, Listing,
        Side::{Left, Right},
    },
    present::Format,
    text::{duration, size},
};

#[derive(Args)]
#[command(after_help = "\
Examples:
  opaque status
  opaque status --wait 60s     wait until every shard serves, at most a minute
  opaque status --format json  for programs")]
pub(crate) struct Arguments {
    /// Wait at most this long until every shard serves
    #[arg(long, value_name = "TIME", value_parser = duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    list: As,
}

/// Pause between two checks.
const POLL: Duration = Duration::from_millis(250);

pub(crate) async fn run(connection: &Connection, arguments: &Arguments) -> Result<(), Failure> {
    let Some(wait) = arguments.wait.filter(|wait| !wait.is_zero()) else {
        return tell(&look(connection, None).await?, arguments.list.format);
    };
    let end = Instant::now() + wait;
    let mut last = None;
    loop {
        let outcome = match (last, look(connection, Some(end)).await) {
            // A check that the deadline cut short knows less than the one before it.
            (Some(before), Err(error)) if is_late(&error) && Instant::now() >= end => before,
            (_, outcome) => outcome,
        };
        let done = match &outcome {
            Ok(status) => status.serving,
            Err(error) => !may_mend(error),
        };
        if done || timeout_at(end, sleep(POLL)).await.is_err() {
            return tell(&outcome?, arguments.list.format);
        }
        last = Some(outcome);
    }
}

/// Checks once, and ends by `end`. The profile is read again each time, because `opaque dev` may be
/// about to write it.
async fn look(connection: &Connection, end: Option<Instant>) -> Result<StatusResponse, Failure> {
    let mut config = connection.config()?;
    if let Some(end) = end {
        config.deadline = config.deadline.min(end.saturating_duration_since(Instant::now()));
    }
    Ok(Client::connect(config)?.status().await?)
}

fn tell(status: &StatusResponse, format: Format) -> Result<(), Failure> {
    show(&mut io::stdout().lock(), status, format)?;
    if status.serving {
        Ok(())
    } else {
        Err(Failure::NotServing("not every shard serves".to_owned()))
    }
}

fn is_late(failure: &Failure) -> bool {
    matches!(failure, Failure::Client(Error::Call(CallError::Deadline { .. })))
}

/// Whether the same command may succeed later without a change by its user. This includes a profile
/// of an earlier `opaque dev`, whose addresses now belong to no process or to an unrelated one.
fn may_mend(failure: &Failure) -> bool {
    match failure {
        Failure::Client(Error::NoCluster { .. }) => true,
        Failure::Client(Error::Call(CallError::Refused { code, .. })) => {
            !matches!(code, Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented)
        }
        Failure::Client(Error::Call(error)) => !matches!(error, CallError::Setup { .. }),
        // Wrong files and arguments, and errors that a check cannot have.
        Failure::Client(_)
        | Failure::Dev(_)
        | Failure::Fetch(_)
        | Failure::Rows { .. }
        | Failure::BenchMoved
        | Failure::Io(_)
        | Failure::UnexpectedAnswer
        | Failure::Statements { .. }
        | Failure::TooHeavy { .. }
        | Failure::Schema(_)
        | Failure::NotServing(_) => false,
        #[cfg(feature = "shell")]
        Failure::NoTerminal | Failure::Prompt(_) => false,
    }
}

fn show(out: &mut impl Write, status: &StatusResponse, format: Format) -> io::Result<()> {
    let shards = status.shards.iter();
    let rows = shards.flat_map(|shard| {
        shard.replicas.iter().map(|replica| row(shard.shard, replica, status.generation))
    });
    let columns = &[
        ("shard", "SHARD", Left),
        ("node", "NODE", Left),
        ("address", "ADDRESS", Left),
        ("state", "STATE", Left),
        ("generation", "GENERATION", Right),
        ("memory_bytes", "MEMORY", Right),
        ("message", "MESSAGE", Left),
    ];
    Listing { columns, rows: rows.collect() }.write(format, out)?;
    if format != Format::Table {
        return Ok(());
    }
    let leader = if status.leader.is_empty() { "none" } else { &escaped(&status.leader) };
    let state = if status.serving { "serving" } else { "NOT serving" };
    writeln!(
        out,
        "\n{state}: generation {}, leader {leader}, {} tables",
        status.generation, status.tables
    )
}

fn row(shard: u32, replica: &ReplicaStatus, generation: u64) -> Vec<Cell> {
    let state = match replica {
        ReplicaStatus { alive: false, .. } => "gone",
        // The same condition as the node's own `serving`: a node answers from its prepared map as
        // soon as that map is active.
        ReplicaStatus { active_generation, prepared_generation, .. }
            if *active_generation >= generation || *prepared_generation == generation =>
        {
            "serving"
        }
        _ => "preparing",
    };
    vec![
        Cell::number(shard.into(), shard.to_string()),
        Cell::text(replica.node.clone()),
        Cell::text(replica.address.clone()),
        Cell::text(state),
        Cell::number(replica.active_generation, replica.active_generation.to_string()),
        Cell::number(replica.resident_bytes, size(replica.resident_bytes)),
        Cell::text(replica.message.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use opaque_proto::v1::ShardStatus;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
        #[command(flatten)]
        arguments: Arguments,
    }

    async fn status(line: &[&str]) -> (Result<(), Failure>, Duration) {
        let Line { connection, arguments } = Line::parse_from([&["status"], line].concat());
        let begun = Instant::now();
        (run(&connection, &arguments).await, begun.elapsed())
    }

    #[tokio::test]
    async fn errors_that_waiting_cannot_fix_are_reported_at_once() {
        let line = ["--cluster", "https://127.0.0.1:1", "--ca", "/no/ca.crt", "--wait", "60s"];
        let (outcome, took) = status(&line).await;
        assert!(outcome.unwrap_err().to_string().contains("/no/ca.crt"));
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test]
    async fn it_waits_no_longer_than_requested() {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let file = dir.path().join("ca.crt");
        std::fs::write(&file, ca.pem()).unwrap();
        // One address without a server, and one server that accepts connections and never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("https://{}", silent.local_addr().unwrap());
        for url in ["https://127.0.0.1:1", &silent] {
            let line = ["--cluster", url, "--ca", file.to_str().unwrap(), "--wait", "500ms"];
            let (outcome, took) = status(&line).await;
            assert!(outcome.is_err());
            assert!(took >= Duration::from_millis(500), "{took:?}");
            assert!(took < Duration::from_secs(4), "{took:?}");
        }
    }

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
        show(&mut out, &status, Format::Table).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\u{1b}') && text.lines().count() == 4, "{text:?}");
    }
}
