//! Calls to other nodes over mutual TLS, and to this one without the detour.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opaque_proto::v1::shard_client::ShardClient;
use opaque_proto::v1::{
    EvaluateHeader, EvaluateRequest, PartialHeader, ReadRowsRequest, RegisterPeerKeysRequest,
    evaluate_request, evaluate_response,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::call::{
    CallError, EvaluateCall, EvaluateReply, NumberedRow, Replica, RowsCall, ShardCaller,
};
use crate::chunks::{Collector, cut};
use crate::error::{NodeError, reason};
use crate::local::LocalShard;
use crate::tls::PeerTls;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// The other replicas of the cluster, and this node itself.
pub struct Peers {
    own_name: String,
    local: Arc<LocalShard>,
    tls: PeerTls,
    /// Largest partial that a peer may announce; a partial is a few MiB at most.
    largest_reply: usize,
    channels: Mutex<HashMap<(u32, String), Channel>>,
}

impl Peers {
    /// Calls to `own_name` are answered by `local` in this process.
    pub fn new(own_name: String, local: Arc<LocalShard>, tls: PeerTls) -> Self {
        let largest_reply = 64 << 20;
        Self { own_name, local, tls, largest_reply, channels: Mutex::default() }
    }

    /// Tells one replica of keys that this node has just stored. Best effort: a replica that
    /// misses this fetches them by digest.
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
        self.client(replica)?.register_keys(request).await.map_err(call_error)?;
        Ok(())
    }

    /// A connection to a replica; opened at the first call and again after it broke.
    fn client(&self, replica: &Replica) -> Result<ShardClient<Channel>, CallError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (replica.shard, replica.address.clone());
        if let Some(channel) = channels.get(&key) {
            return Ok(ShardClient::new(channel.clone()));
        }
        let channel = Endpoint::from_shared(format!("https://{}", replica.address))
            .and_then(|endpoint| endpoint.tls_config(self.tls.dialer(replica.shard)))
            .map_err(|error| CallError::TryAnother(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .tcp_nodelay(true)
            .connect_lazy();
        channels.insert(key, channel.clone());
        Ok(ShardClient::new(channel))
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
        let response = self.client(replica)?.evaluate(requests).await.map_err(call_error)?;
        let mut stream = response.into_inner();
        let bad = || CallError::TryAnother("a malformed partial".into());
        let first = stream.message().await.map_err(call_error)?.and_then(|reply| reply.part);
        let Some(evaluate_response::Part::Header(header)) = first else { return Err(bad()) };
        let PartialHeader { generation, epoch, total_bytes, scan_us, hint_us } = header;
        let total = usize::try_from(total_bytes).map_err(|_| bad())?;
        if generation != call.generation || epoch != call.epoch || total > self.largest_reply {
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
        let response = self.client(replica)?.read_rows(request).await.map_err(call_error)?;
        let mut stream = response.into_inner();
        let mut rows = Vec::new();
        while let Some(reply) = stream.message().await.map_err(call_error)? {
            rows.extend(reply.rows.into_iter().map(|row| (row.number, row.row.to_vec())));
        }
        Ok(rows)
    }
}

/// What a peer's status means for the query that asked it.
fn call_error(status: Status) -> CallError {
    match (reason(&status), status.code()) {
        (Some("unknown-keys"), _) => CallError::UnknownKeys,
        (Some("malformed"), _) => CallError::Malformed,
        (Some(reason), _) => CallError::TryAnother(reason.to_owned()),
        (None, Code::Unavailable) => CallError::TryAnother("unreachable".into()),
        (None, code) => CallError::TryAnother(format!("{code:?}")),
    }
}

fn local_error(error: NodeError) -> CallError {
    match error {
        NodeError::UnknownKeys => CallError::UnknownKeys,
        NodeError::Malformed(_) => CallError::Malformed,
        other => CallError::TryAnother(other.class().1.to_owned()),
    }
}
