//! Calls to other nodes over mutual TLS, and to this node directly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use opaque_identity::Identity;
use opaque_pir::geometry::Geometry;
use opaque_proto::v1::shard_client::ShardClient;
use opaque_proto::v1::{
    DescribeRequest, EvaluateHeader, EvaluateRequest, HelloRequest, HelloResponse, PartialHeader,
    ReadRowsRequest, RegisterPeerKeysRequest, ScannedRow, evaluate_request, evaluate_response,
};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::error::{NodeError, reason};
use crate::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, Greeter, Hello, NumberedRow, Replica,
    RowsCall, RowsLimit, ShardCaller,
};
use crate::map::placement::{Key, Kind, position};
use crate::shard::describe;
use crate::shard::local::LocalShard;
use crate::stream::chunks::{Collector, cut};
use crate::tls::{Line, PeerError, Tls};

/// Longest text of a peer about a table that it could not load, in characters.
const SAID: usize = 300;

/// The other replicas of the cluster, and this node.
pub struct Peers {
    own_name: String,
    local: Arc<LocalShard>,
    tls: Arc<Tls>,
    lines: Mutex<Lines>,
}

/// By purpose, shard and address.
type Lines = HashMap<(Purpose, u32, String), Line>;

/// Purpose of a connection. Greetings have a separate one, so that they do not wait behind the
/// bytes of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    Calls,
    Greetings,
}

impl Peers {
    /// Calls to `own_name` are answered by `local` in this process.
    pub fn new(own_name: String, local: Arc<LocalShard>, tls: Arc<Tls>) -> Self {
        Self { own_name, local, tls, lines: Mutex::default() }
    }

    /// Sends keys that this node has just stored to one replica. Best effort: a replica that misses
    /// this fetches the keys by digest.
    pub async fn register_keys(
        &self,
        replica: &Replica,
        digest: Bytes,
        keys: Bytes,
    ) -> Result<(), CallError> {
        if replica.node == self.own_name {
            return Ok(());
        }
        let request = RegisterPeerKeysRequest { digest, keys };
        let line = self.line(replica, Purpose::Calls)?;
        client(&line).register_keys(request).await.map_err(call_error)?;
        self.check(replica, &line, |_| true)
    }

    /// A connection to a replica. It is kept until the TLS material changes or the connection is
    /// old. Calls in progress then end on the old one.
    fn line(&self, replica: &Replica, purpose: Purpose) -> Result<Line, CallError> {
        let mut lines = self.lines();
        let key = (purpose, replica.shard, replica.address.clone());
        if let Some(line) = lines.get(&key).filter(|line| line.is_current(&self.tls)) {
            return Ok(line.clone());
        }
        // This also drops connections to members that have left. Nothing else would.
        lines.retain(|_, line| line.is_current(&self.tls));
        let line = Line::new(&self.tls, replica.shard, &replica.address)
            .map_err(|error| CallError::TryAnother(error.to_string()))?;
        lines.insert(key, line.clone());
        Ok(line)
    }

    /// Checks that the certificate of the peer on a connection is still valid, belongs to the
    /// replica's shard, allows evaluation, and satisfies `covers`. Otherwise all connections to the
    /// replica are dropped.
    fn check(
        &self,
        replica: &Replica,
        line: &Line,
        covers: impl FnOnce(&Identity) -> bool,
    ) -> Result<(), CallError> {
        let answering = line.answering(&self.tls);
        let checked = answering
            .and_then(|identity| if covers(&identity) { Ok(()) } else { Err(PeerError::Range) });
        checked.map_err(|error| {
            tracing::warn!(node = %replica.node, shard = replica.shard, %error, "peer refused");
            let (shard, address) = (replica.shard, &replica.address);
            self.lines().retain(|key, _| (key.1, &key.2) != (shard, address));
            CallError::TryAnother(error.to_string())
        })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ShardCaller for Peers {
    async fn evaluate(
        &self,
        replica: &Replica,
        call: &EvaluateCall,
    ) -> Result<EvaluateReply, CallError> {
        if replica.node == self.own_name {
            return self.local.evaluate(call).await.map_err(local_error);
        }
        let header = EvaluateHeader {
            generation: call.generation,
            table: call.table.to_string(),
            column: call.column,
            epoch: call.epoch,
            lookups: u32::from(call.lookups),
            total_bytes: call.body.len() as u64,
        };
        let parts = std::iter::once(evaluate_request::Part::Header(header))
            .chain(cut(call.body.clone()).map(evaluate_request::Part::Chunk))
            .map(|part| EvaluateRequest { part: Some(part) });
        let requests = tokio_stream::iter(parts.collect::<Vec<_>>());
        let line = self.line(replica, Purpose::Calls)?;
        let response = client(&line).evaluate(requests).await.map_err(call_error)?;
        self.check(replica, &line, |identity| covers_slice(identity, call))?;
        let mut stream = response.into_inner();
        let bad = || CallError::TryAnother("a malformed partial".into());
        let first = stream.message().await.map_err(call_error)?.and_then(|reply| reply.part);
        let Some(evaluate_response::Part::Header(header)) = first else { return Err(bad()) };
        let PartialHeader { generation, epoch, total_bytes, scan_us, hint_us } = header;
        let total = usize::try_from(total_bytes).map_err(|_| bad())?;
        if generation != call.generation || epoch != call.epoch || total > call.reply_bytes {
            return Err(bad());
        }
        let mut collector = Collector::new(total);
        while let Some(reply) = stream.message().await.map_err(call_error)? {
            let Some(evaluate_response::Part::Chunk(chunk)) = reply.part else { return Err(bad()) };
            collector.push(&chunk).map_err(|_| bad())?;
        }
        Ok(EvaluateReply {
            body: collector.finish().map_err(|_| bad())?,
            scan: Duration::from_micros(scan_us.into()),
            hint: Duration::from_micros(hint_us.into()),
        })
    }

    async fn read_rows(
        &self,
        replica: &Replica,
        call: &RowsCall,
    ) -> Result<Vec<NumberedRow>, CallError> {
        if replica.node == self.own_name {
            return self.local.read_rows(call).await.map_err(local_error);
        }
        let request = ReadRowsRequest {
            generation: call.generation,
            table: call.table.to_string(),
            epoch: call.epoch,
            column: call.column,
            first_bucket: call.first,
            end_bucket: call.end,
            rows_below: call.below,
        };
        let line = self.line(replica, Purpose::Calls)?;
        let response = client(&line).read_rows(request).await.map_err(call_error)?;
        self.check(replica, &line, |identity| {
            let partition = Geometry::partition_of(call.first);
            covers(identity, &call.table, call.column, Kind::Partitions, [partition])
        })?;
        let mut stream = response.into_inner();
        let (mut rows, mut most) = (Vec::new(), call.most);
        while let Some(reply) = stream.message().await.map_err(call_error)? {
            for ScannedRow { number, row } in reply.rows {
                if !most.take(row.len()) {
                    return Err(too_many_rows(replica, call));
                }
                rows.push((number, row.to_vec()));
            }
        }
        Ok(rows)
    }

    async fn describe(
        &self,
        replica: &Replica,
        table: &str,
        epoch: u64,
    ) -> Result<Description, CallError> {
        if replica.node == self.own_name {
            return Err(CallError::TryAnother("this node must call another replica".into()));
        }
        let request = DescribeRequest { table: table.to_owned(), epoch };
        let line = self.line(replica, Purpose::Calls)?;
        let response = client(&line).describe(request).await.map_err(call_error)?;
        self.check(replica, &line, |_| true)?;
        describe::receive(response.into_inner().map_err(call_error), table, epoch).await
    }
}

#[async_trait]
impl Greeter for Peers {
    async fn hello(&self, replica: &Replica, generation: u64) -> Result<Hello, CallError> {
        if replica.node == self.own_name {
            let holds = self.local.generation(generation).is_some();
            return Ok(Hello { active_generation: 0, holds });
        }
        let line = self.line(replica, Purpose::Greetings)?;
        let answer = client(&line).hello(HelloRequest { generation }).await;
        let hello = heard(answer.map(tonic::Response::into_inner))?;
        self.check(replica, &line, |_| true)?;
        Ok(hello)
    }
}

/// Interprets the answer to a greeting. A node of an older version does not know the call. It is
/// assumed to hold the requested generation: it did respond, and a rolling upgrade must not be
/// blocked.
fn heard(answer: Result<HelloResponse, Status>) -> Result<Hello, CallError> {
    match answer {
        Ok(HelloResponse { active_generation, holds }) => Ok(Hello { active_generation, holds }),
        Err(status) if status.code() == Code::Unimplemented => {
            Ok(Hello { active_generation: 0, holds: true })
        }
        Err(status) => Err(call_error(status)),
    }
}

/// A peer that sends more rows than a partition has is faulty or malicious. Its stream is dropped.
fn too_many_rows(replica: &Replica, call: &RowsCall) -> CallError {
    let Replica { node, shard, .. } = replica;
    let RowsLimit { rows, bytes } = call.most;
    tracing::warn!(node, shard, rows, bytes, "a peer sent more rows than a partition holds");
    CallError::TryAnother(format!(
        "node {node} sent more than the {rows} rows or {bytes} bytes that a partition of the table holds"
    ))
}

/// Text for clients if a replica refuses a slice for lack of memory. Only registered keys make a
/// node need more memory.
const NO_MEMORY: &str = "too little memory for registered keys, query with --keys inline";

fn client(line: &Line) -> ShardClient<Channel> {
    ShardClient::new(line.channel())
}

/// Whether a certificate covers every partition and plane of a slice.
fn covers_slice(identity: &Identity, call: &EvaluateCall) -> bool {
    let EvaluateCall { table, column, partitions, planes, .. } = call;
    let planes = planes.iter().map(|plane| u32::from(*plane));
    covers(identity, table, *column, Kind::Partitions, partitions.iter().copied())
        && covers(identity, table, *column, Kind::Planes, planes)
}

/// Whether a certificate covers some partitions or planes, by their positions on the ring.
fn covers(
    identity: &Identity,
    table: &str,
    column: u32,
    kind: Kind,
    numbers: impl IntoIterator<Item = u32>,
) -> bool {
    let key = Key { table, column, kind };
    identity.ranges.is_whole()
        || numbers.into_iter().all(|number| identity.ranges.covers(position(&key, number)))
}

/// Interprets the error status of a peer for the query that called it.
fn call_error(status: Status) -> CallError {
    match (reason(&status), status.code()) {
        (Some("unknown-keys"), _) => CallError::UnknownKeys,
        (Some("malformed"), _) => CallError::Malformed,
        (Some("memory"), _) => CallError::TryAnother(NO_MEMORY.into()),
        // Users need to know which object of the store is damaged, or which setting is too low.
        (Some("table-missing" | "too-large"), _) => {
            CallError::TryAnother(status.message().chars().take(SAID).collect())
        }
        (Some(reason), _) => CallError::TryAnother(reason.to_owned()),
        (None, Code::Unavailable) => CallError::TryAnother("unreachable".into()),
        (None, code) => CallError::TryAnother(format!("{code:?}")),
    }
}

fn local_error(error: NodeError) -> CallError {
    match error {
        NodeError::UnknownKeys => CallError::UnknownKeys,
        NodeError::Malformed(_) => CallError::Malformed,
        NodeError::Memory(_) => CallError::TryAnother(NO_MEMORY.into()),
        error @ (NodeError::TableMissing { .. } | NodeError::TooLarge(_)) => {
            CallError::TryAnother(error.to_string())
        }
        other => CallError::TryAnother(other.class().1.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_does_not_know_the_greeting_is_reached_and_one_that_refuses_it_is_not() {
        let older = heard(Err(Status::unimplemented("unknown method")));
        assert_eq!(older, Ok(Hello { active_generation: 0, holds: true }));
        assert!(heard(Err(Status::unavailable("connection refused"))).is_err());
        assert!(heard(Err(NodeError::Forbidden("revoked".into()).into())).is_err());
        let answer = HelloResponse { active_generation: 7, holds: false };
        assert_eq!(heard(Ok(answer)), Ok(Hello { active_generation: 7, holds: false }));
    }

    #[test]
    fn a_replica_with_too_little_memory_for_a_slice_leaves_it_to_another() {
        let too_large = || NodeError::TooLarge("raise --request-memory-mib".into());
        let another = CallError::TryAnother("raise --request-memory-mib".into());
        assert_eq!(call_error(too_large().into()), another);
        assert_eq!(local_error(too_large()), another);
        assert_eq!(local_error(NodeError::Malformed("no slice".into())), CallError::Malformed);
    }
}
