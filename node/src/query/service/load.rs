//! Loads a table: receives rows and activates a new epoch. Until the new epoch is proposed, any
//! failure changes nothing. After that, the leader decides, and the answer states if the outcome is
//! unknown.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use opaque_pir::cost::Link;
use opaque_pir::table::{Schema, decode_row};
use opaque_proto::v1::{
    LoadHeader, LoadProgress, LoadRequest, LoadResponse, LoadStage, Loaded, load_request,
    load_response,
};
use opaque_store::prepare::{self, Progress};
use opaque_store::{Store, UnixMillis, Writer};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rayon::ThreadPool;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::QueryService;
use crate::config::Config;
use crate::coordination::Change;
use crate::error::NodeError;
use crate::query::cluster::Cluster;
use crate::query::description::description;
use crate::shard::local::LocalShard;
use crate::shard::memory::Reservation;
use crate::shard::registry::store_error;
use crate::stream::pace::{Pace, Reading};

/// Memory that a row needs in addition to its bytes.
const ROW_OVERHEAD: usize = 64;
/// Step in bytes in which memory for rows is reserved.
const RESERVED_STEP: u64 = 16 << 20;
/// Rows between two messages of progress while receiving.
const REPORT_ROWS: u64 = 20_000;

type LoadStream = Pin<Box<dyn Stream<Item = Result<LoadResponse, Status>> + Send>>;

impl QueryService {
    /// Runs a load concurrently with its stream of progress. If the client disconnects, the load is
    /// cancelled, but a change that is already proposed is still decided.
    pub(super) fn start_load(&self, requests: Streaming<LoadRequest>) -> LoadStream {
        let (responses, receiver) = mpsc::channel(64);
        let load = Load {
            config: self.config.clone(),
            cluster: Arc::clone(&self.cluster),
            local: Arc::clone(&self.local),
            store: self.store.clone(),
            builders: Arc::clone(&self.builders),
            writer: self.writer.clone(),
            responses: responses.clone(),
        };
        let place = Arc::clone(&self.loads).try_acquire_owned();
        let observed = self.metrics.load();
        tokio::spawn(async move {
            let Ok(_place) = place else {
                let busy = NodeError::Refused(
                    "other loads are in progress on this node: try again, or use another node"
                        .into(),
                );
                let refused = Err(busy.into());
                observed.end(&refused);
                // If this fails, there is no receiver left.
                let _ = responses.send(refused).await;
                return;
            };
            tokio::select! {
                outcome = load.run(requests) => {
                    observed.end(&outcome);
                    let last = outcome.map(|loaded| LoadResponse {
                        part: Some(load_response::Part::Loaded(loaded)),
                    });
                    if responses.send(last).await.is_err() {
                        tracing::info!("the client of a load disconnected before the result was sent");
                    }
                }
                () = responses.closed() => tracing::info!("the client of a load disconnected"),
            }
        });
        Box::pin(ReceiverStream::new(receiver))
    }
}

/// The first message of a load.
struct LoadHead {
    schema: Schema,
    /// The clients' link that geometries are chosen for.
    link: Link,
}

struct Load {
    config: Config,
    cluster: Arc<Cluster>,
    local: Arc<LocalShard>,
    store: Store,
    builders: Arc<ThreadPool>,
    writer: Writer,
    responses: mpsc::Sender<Result<LoadResponse, Status>>,
}

impl Load {
    async fn run(&self, requests: Streaming<LoadRequest>) -> Result<Loaded, Status> {
        let (LoadHead { schema, link }, rows, reserved) = self.receive(requests).await?;
        let name = schema.table().to_owned();
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(NodeError::internal)?;
        let created = UnixMillis::now();
        let load = prepare::Load { schema, rows, link, created, writer: self.writer.clone() };
        let progress = |progress: Progress| match progress {
            Progress::Planning { rows } => self.report(LoadStage::Planning, 0, rows),
            Progress::Building { done, total } => self.report(LoadStage::Building, done, total),
        };
        let manifest = prepare::prepare(&self.store, load, rng, progress, &self.builders)
            .await
            .map_err(|error| NodeError::Refused(error.to_string()))?;
        // The rows have been dropped, and this node is about to load the epoch built from them.
        drop(reserved);
        self.report(LoadStage::Activating, 0, 0);
        let epoch = manifest.epoch;
        let change = Change::Table { table: name.clone(), epoch: Some(epoch) };
        // The epoch that is served now stays whatever its age, since a rollback would need it.
        let before = self.cluster.epochs_in_use(&name).await?;
        let changed = self.cluster.change(change, self.config.activation_deadline).await;
        let generation = match changed {
            Ok(generation) => generation,
            Err(error) => {
                // A change that may still be decided keeps its epoch. A refused one never needs it.
                if matches!(error, NodeError::Refused(_)) {
                    self.delete(&name, epoch).await;
                }
                return Err(error.into());
            }
        };
        self.retain(&name, before).await;
        tracing::info!(table = name, epoch, rows = manifest.rows, "loaded");
        Ok(Loaded {
            table: Some(description(&manifest, generation)),
            matrix_bytes: manifest.matrix_bytes(),
        })
    }

    /// Deletes old epochs, except those in use and those that were in use before this load.
    async fn retain(&self, table: &str, mut in_use: BTreeSet<u64>) {
        // The status of the table's OpaqueTable lists its epochs.
        if self.cluster.check_owner(table).is_err() {
            return;
        }
        match self.cluster.epochs_in_use(table).await {
            Ok(now) => in_use.extend(now),
            Err(error) => return tracing::warn!(table, %error, "old epochs are kept"),
        }
        if let Err(error) = self.store.retain(table, self.config.retain_epochs, &in_use).await {
            tracing::warn!(table, %error, "could not delete old epochs");
        }
    }

    /// Reads the whole stream and checks that every row fits the schema. Memory for the rows is
    /// reserved as they arrive.
    async fn receive(
        &self,
        mut requests: Streaming<LoadRequest>,
    ) -> Result<(LoadHead, Vec<Vec<u8>>, Vec<Reservation>), Status> {
        let malformed = |what: &str| NodeError::Malformed(format!("malformed load: {what}"));
        const DOING: &str = "waiting for rows";
        let mut reading = Reading::at(Pace::STREAM);
        let first = reading.next(requests.message(), DOING).await??;
        let first = first.and_then(|request| request.part);
        let Some(load_request::Part::Header(LoadHeader { schema: Some(schema), link_mbits })) =
            first
        else {
            return Err(malformed("no schema").into());
        };
        let schema = Schema::try_from(schema).map_err(|error| malformed(&error.to_string()))?;
        let link = match link_mbits {
            0 => Link::default(),
            mbits => Link::new(mbits).map_err(|error| malformed(&error.to_string()))?,
        };
        // This check comes before any row is sent or any object is written.
        self.cluster.check_load(schema.table())?;
        let (mut rows, mut reserved) = (Vec::new(), Vec::new());
        let (mut bytes, mut reported) = (0u64, 0u64);
        while let Some(request) = reading.next(requests.message(), DOING).await?? {
            match request.part {
                Some(load_request::Part::Rows(batch)) => {
                    for row in batch.rows {
                        bytes += (row.len() + ROW_OVERHEAD) as u64;
                        reading.came(row.len());
                        decode_row(&schema, &row).map_err(|error| {
                            malformed(&format!("row {}: {error}", rows.len() + 1))
                        })?;
                        rows.push(row.to_vec());
                    }
                    while bytes > reserved.len() as u64 * RESERVED_STEP {
                        reserved.push(self.local.reserve_rows(RESERVED_STEP)?);
                    }
                    if bytes > self.config.load_memory {
                        let limit = self.config.load_memory >> 20;
                        return Err(NodeError::Refused(format!(
                            "the table has more than {limit} MiB of rows: start the nodes with a larger --load-memory-mib (OPAQUE_LOAD_MEMORY_MIB)"
                        ))
                        .into());
                    }
                    if rows.len() as u64 >= reported + REPORT_ROWS {
                        reported = rows.len() as u64;
                        self.report(LoadStage::Receiving, reported, 0);
                    }
                }
                Some(load_request::Part::Commit(commit)) => {
                    if commit.rows != rows.len() as u64 {
                        let counts = format!("{} rows sent, {} committed", rows.len(), commit.rows);
                        return Err(malformed(&counts).into());
                    }
                    return Ok((LoadHead { schema, link }, rows, reserved));
                }
                Some(load_request::Part::Header(_)) | None => {
                    return Err(malformed("a second schema, or an unknown message").into());
                }
            }
        }
        Err(malformed("the stream ended before its commit; nothing was loaded").into())
    }

    async fn delete(&self, table: &str, epoch: u64) {
        if let Err(error) = self.store.delete_epoch(table, epoch).await.map_err(store_error) {
            tracing::warn!(table, epoch, %error, "could not delete a refused epoch");
        }
    }

    fn report(&self, stage: LoadStage, done: u64, total: u64) {
        send_progress(&self.responses, stage, done, total);
    }
}

/// Progress is optional: if the client reads slowly, some of it is skipped.
fn send_progress(
    responses: &mpsc::Sender<Result<LoadResponse, Status>>,
    stage: LoadStage,
    done: u64,
    total: u64,
) {
    let progress = LoadProgress { stage: stage.into(), done, total };
    let part = Some(load_response::Part::Progress(progress));
    if responses.try_send(Ok(LoadResponse { part })).is_err() {
        tracing::trace!("progress skipped");
    }
}
