//! Calls that consist of several messages: keys, lookups, rows.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream;
use opaque_pir::table::Value;
use opaque_proto::v1::{
    AnswerHeader, KeyChunk, LookupHeader, LookupRequest, LookupResponse, PublicPartsRequest,
    ScanRequest, ScannedRow, lookup_request, lookup_response,
};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{CallError, NodeClient, Session, retry::Progress};
use crate::description::Table;

/// Maximum payload of one message of a stream.
const CHUNK_BYTES: usize = 256 << 10;

/// One encoded lookup request.
pub struct Lookup<'a> {
    /// Table, column, epoch and sizes.
    pub header: LookupHeader,
    /// The encoded query.
    pub query: Bytes,
    /// The size that the answer must have.
    pub answer_bytes: usize,
    /// The client's evaluation keys, if it has registered keys. They are sent only to a cluster
    /// that does not know them.
    pub keys: Option<&'a Bytes>,
}

/// One answer and its costs.
pub struct Answered {
    /// The encoded answer.
    pub answer: Bytes,
    /// The coordinator's header, with its timings.
    pub header: AnswerHeader,
    /// Duration of the successful call, from the first byte sent to the last byte received.
    pub wall: Duration,
    /// Bytes of evaluation keys that had to be sent before the lookup.
    pub keys_bytes: u64,
}

/// Limits on the result of one call of a public scan.
#[derive(Debug, Clone, Copy)]
pub struct ScanBound {
    /// Maximum number of rows, according to the table's public description.
    pub rows: u64,
    /// Maximum bytes of the buckets that hold them, according to the same description.
    pub bytes: u64,
    /// Number of cells of a row.
    pub cells: usize,
    /// Memory that the caller grants.
    pub memory: ScanMemory,
}

/// Memory for the rows of one or several public scans. Every row that a node sends is counted, and
/// the client keeps all of them. The point at which a scan ends therefore cannot depend on the
/// statement's literals.
#[derive(Debug, Clone, Copy)]
pub struct ScanMemory {
    left: u64,
}

impl ScanMemory {
    /// Overhead of a row in addition to its cells: its number, and its entries in a set and in a
    /// map.
    const ROW: u64 = 96;

    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self { left: bytes }
    }

    /// Subtracts the maximum memory that these rows of `cells` cells need. Returns false if the
    /// budget is exceeded.
    pub fn take(&mut self, rows: &[ScannedRow], cells: usize) -> bool {
        let row = (cells * size_of::<Value>()) as u64 + Self::ROW;
        let bytes = rows.iter().map(|scanned| scanned.row.len() as u64 + row).sum();
        let left = self.left.checked_sub(bytes);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

impl ScanBound {
    /// Minimum overhead of a row in a bucket: its number and its length.
    const ROW_OVERHEAD: u64 = 2;

    /// Subtracts these rows from the remaining limits. Returns false if a limit is exceeded.
    fn take(&mut self, rows: &[ScannedRow]) -> bool {
        let bytes = rows.iter().map(|row| row.row.len() as u64 + Self::ROW_OVERHEAD).sum();
        let left = self.rows.checked_sub(rows.len() as u64).zip(self.bytes.checked_sub(bytes));
        if let Some((rows, bytes)) = left {
            (self.rows, self.bytes) = (rows, bytes);
        }
        left.is_some()
    }
}

impl Session {
    /// Sends one lookup request. If the cluster does not know the client's keys, it registers them
    /// first. Everything ends `within` the given time.
    pub async fn lookup(
        &self,
        within: Duration,
        lookup: Lookup<'_>,
    ) -> Result<Answered, CallError> {
        let Lookup { header, query, answer_bytes, keys } = lookup;
        let deadline = Instant::now() + within;
        let mut progress = Progress::default();
        let mut keys_bytes = 0;
        loop {
            let send =
                |client: NodeClient| ask(client, header.clone(), query.clone(), answer_bytes);
            match self.resume(deadline, within, &mut progress, send).await {
                Ok((answer, header, wall)) => {
                    return Ok(Answered { answer, header, wall, keys_bytes });
                }
                Err(CallError::UnknownKeys) if !progress.registered => {
                    let keys = keys.ok_or(CallError::UnknownKeys)?;
                    progress.registered = true;
                    self.register(deadline, within, keys).await?;
                    keys_bytes += keys.len() as u64;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Stores evaluation keys in the cluster, and checks that the cluster stored them under the
    /// right digest.
    async fn register(
        &self,
        deadline: Instant,
        within: Duration,
        keys: &Bytes,
    ) -> Result<(), CallError> {
        let total_bytes = keys.len() as u64;
        let mut progress = Progress::default();
        let stored = self.resume(deadline, within, &mut progress, |mut client: NodeClient| {
            let chunks: Vec<_> = chunks(keys).map(|data| KeyChunk { total_bytes, data }).collect();
            async move { client.register_keys(stream::iter(chunks)).await }
        });
        let digest = stored.await?.into_inner().digest;
        let expected = opaque_pir::codec::KeyDigest::of(keys);
        if digest.as_ref() != expected.as_bytes() {
            return Err(CallError::Answer("the keys were stored under another digest"));
        }
        Ok(())
    }

    /// Fetches the public parts of one index, unchecked.
    pub async fn public_parts(
        &self,
        within: Duration,
        table: &Table,
        column: u32,
    ) -> Result<Vec<Bytes>, CallError> {
        let request = PublicPartsRequest {
            table: table.schema.table().to_owned(),
            epoch: table.epoch,
            column,
        };
        let fetched = self.call(within, |mut client: NodeClient| {
            let request = request.clone();
            async move { client.public_parts(request).await }
        });
        Ok(fetched.await?.into_inner().parts)
    }

    /// Fetches the rows of some buckets in the clear. This is public: the cluster learns which
    /// buckets. A call to a node that sends more than `most` allows is aborted. Returns `None` if
    /// the memory is insufficient.
    pub async fn scan(
        &self,
        within: Duration,
        request: ScanRequest,
        most: ScanBound,
    ) -> Result<Option<Vec<ScannedRow>>, CallError> {
        let end = request.end_bucket;
        let read = self.call(within, |mut client: NodeClient| {
            let request = request.clone();
            async move {
                let mut stream = client.scan(request).await?.into_inner();
                let (mut rows, mut next) = (Vec::new(), 0);
                let mut left = most;
                while let Some(part) = stream.message().await? {
                    if !left.take(&part.rows) {
                        return Err(malformed("it has more rows than can be there"));
                    }
                    if !left.memory.take(&part.rows, left.cells) {
                        return Ok(None);
                    }
                    rows.extend(part.rows);
                    next = part.next_bucket;
                }
                Ok(Some((rows, next)))
            }
        });
        match read.await? {
            Some((_, next)) if next != end => {
                Err(CallError::Answer("the scan ended before its last bucket"))
            }
            read => Ok(read.map(|(rows, _)| rows)),
        }
    }
}

fn chunks(bytes: &Bytes) -> impl Iterator<Item = Bytes> + Send + use<> {
    let bytes = bytes.clone();
    (0..bytes.len()).step_by(CHUNK_BYTES).map(move |start| {
        let end = bytes.len().min(start + CHUNK_BYTES);
        bytes.slice(start..end)
    })
}

/// Sends a lookup to one node, once.
async fn ask(
    mut client: NodeClient,
    header: LookupHeader,
    query: Bytes,
    answer_bytes: usize,
) -> Result<(Bytes, AnswerHeader, Duration), Status> {
    let begun = Instant::now();
    let first = lookup_request::Part::Header(header);
    let parts = std::iter::once(first).chain(chunks(&query).map(lookup_request::Part::Chunk));
    let requests = parts.map(|part| LookupRequest { part: Some(part) });
    let mut stream = client.lookup(stream::iter(requests)).await?.into_inner();
    let header = match next(&mut stream).await? {
        Some(lookup_response::Part::Header(header)) => header,
        Some(lookup_response::Part::Chunk(_)) | None => return Err(malformed("it has no header")),
    };
    if header.total_bytes != Some(answer_bytes as u64) {
        return Err(malformed("its size does not match the query"));
    }
    let mut answer = BytesMut::with_capacity(answer_bytes);
    while let Some(part) = next(&mut stream).await? {
        let lookup_response::Part::Chunk(chunk) = part else {
            return Err(malformed("it has two headers"));
        };
        if chunk.len() > answer_bytes - answer.len() {
            return Err(malformed("it goes on after its end"));
        }
        answer.extend_from_slice(&chunk);
    }
    if answer.len() != answer_bytes {
        return Err(malformed("it ends too early"));
    }
    Ok((answer.freeze(), header, begun.elapsed()))
}

async fn next(
    stream: &mut Streaming<LookupResponse>,
) -> Result<Option<lookup_response::Part>, Status> {
    match stream.message().await? {
        Some(LookupResponse { part: Some(part) }) => Ok(Some(part)),
        Some(LookupResponse { part: None }) => Err(malformed("a message of it is empty")),
        None => Ok(None),
    }
}

/// An error for malformed framing of an answer. It depends only on the node, never on the query.
fn malformed(what: &str) -> Status {
    Status::data_loss(format!("the answer failed its check: {what}"))
}
