//! The first object of an epoch. It reserves the epoch's number and names the writer.

use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::names::claim_path;
use crate::store::Store;
use crate::time::UnixMillis;

/// Largest claim that is read.
const MAX_CLAIM_BYTES: u64 = 4096;

/// The writer of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// The node's name. Only one process at a time has it.
    pub node: String,
    /// Drawn at random when the process starts.
    pub incarnation: String,
}

/// The first object of an epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claim {
    format: String,
    version: u32,
    writer: Writer,
    created: UnixMillis,
}

impl Claim {
    pub(crate) fn new(writer: Writer, created: UnixMillis) -> Self {
        Self { format: "opaque-claim".to_owned(), version: 1, writer, created }
    }
}

impl Store {
    /// The writer of an epoch; `None` if its claim is gone.
    pub async fn writer(&self, table: &str, epoch: u64) -> Result<Option<Writer>, StoreError> {
        match self.read(&claim_path(table, epoch), MAX_CLAIM_BYTES).await {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|Claim { writer, .. }| writer)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
