//! Helpers for the tests of several modules.

#[path = "../../store/src/tests/disk.rs"]
pub(crate) mod disk;

use async_trait::async_trait;
use opaque_store::UnixMillis;

use crate::coordination::{Map, MemberRecord};
use crate::map::call::{
    CallError, Description, EvaluateCall, EvaluateReply, Greeter, Hello, NumberedRow, Replica,
    RowsCall, ShardCaller,
};
use crate::map::placement::{self, ShardId, Shards};
use crate::shard::served::Serving;

/// A shard map with equal shards.
pub(crate) fn map(generation: u64, shards: u32, tables: &[(&str, u64)]) -> Map {
    Map {
        generation,
        placement: placement::VERSION,
        shards: Shards::equal(shards).unwrap(),
        tables: tables.iter().map(|(name, epoch)| ((*name).to_owned(), *epoch)).collect(),
        owners: [].into(),
        proposed_at: UnixMillis(0),
    }
}

/// A generation of one shard without tables.
pub(crate) fn serving(generation: u64) -> Serving {
    let map = map(generation, 1, &[]);
    Serving { map, tables: [].into(), missing: [].into(), described: [].into() }
}

/// The record of a node that has just started.
pub(crate) fn member(node: &str, shard: u32, heartbeat: UnixMillis) -> MemberRecord {
    MemberRecord {
        node: node.to_owned(),
        shard: ShardId(shard),
        client_address: String::new(),
        peer_address: String::new(),
        active_generation: 0,
        prepared_generation: 0,
        preparing: None,
        failed: None,
        message: String::new(),
        resident_bytes: 0,
        heartbeat,
        trust: None,
        certificate: None,
        map: None,
        tables: [].into(),
        missing: [].into(),
        unreachable: Vec::new(),
        store: None,
        probes: [].into(),
    }
}

/// Peers that never answer.
pub(crate) struct Nobody;

#[async_trait]
impl ShardCaller for Nobody {
    async fn evaluate(&self, _: &Replica, _: &EvaluateCall) -> Result<EvaluateReply, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }

    async fn read_rows(&self, _: &Replica, _: &RowsCall) -> Result<Vec<NumberedRow>, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }

    async fn describe(&self, _: &Replica, _: &str, _: u64) -> Result<Description, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }
}

#[async_trait]
impl Greeter for Nobody {
    async fn hello(&self, _: &Replica, _: u64) -> Result<Hello, CallError> {
        Err(CallError::TryAnother("no peer answers".into()))
    }
}
