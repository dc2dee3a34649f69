//! Builds and publishes an epoch from a source.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::table::report::Stage;
use opaque_crds::table::{self as crd, Epoch, IndexGeometry, QueryCost};
use opaque_fetch::{Request, Source};
use opaque_pir::index::Weight;
use opaque_pir::table::{Column, ColumnType, Role, Schema};
use opaque_source::{ColumnSource, Encoded, Reader};
use opaque_store::prepare::{self, Load};
use opaque_store::{Credentials, Manifest, Settings, Store, StoreError, UnixMillis, Writer};
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};

use crate::config::{Compression, Config, Format};
use crate::failure::Failure;
use crate::report::{Done, Progress};

/// Memory that a row needs in addition to its bytes.
const ROW_OVERHEAD: usize = 64;
/// Number of rows between two reports of progress.
const REPORT_ROWS: usize = 1024;

/// Name of this program as the writer of an epoch.
pub(crate) const WRITER: &str = "opaque-prepare";

/// Publishes the epoch of this run, unless an earlier attempt already did.
pub(crate) async fn publish(
    config: &Config,
    credentials: &Credentials,
    writer: &Writer,
    progress: Progress,
) -> Result<Done, Failure> {
    let (schema, columns) = schema(&config.table, &config.schema)?;
    // The store is opened first, so that wrong credentials are found before a large source is read.
    let store = Store::open_with(&config.store, credentials.clone())?;
    if let Some(done) = earlier(&store, &config.table, &config.run).await? {
        tracing::info!(
            epoch = done.epoch,
            "an earlier attempt of this run has published its epoch"
        );
        return Ok(done);
    }
    let created = UnixMillis::now();
    let settings = credentials.settings().map_err(|error| StoreError::Url {
        url: config.store.clone(),
        reason: format!("its credentials cannot be read: {error}"),
    })?;
    let rows = read(config, &settings, &schema, columns, progress.clone()).await?;
    tracing::info!(table = config.table, rows = rows.len(), "the source has been read");
    let rng = StdRng::try_from_rng(&mut SysRng).map_err(internal)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(config.threads());
    let pool = threads.build().map_err(internal)?;
    let load = Load { schema, rows, link: config.link, created, writer: writer.clone() };
    let report = |step| match step {
        prepare::Progress::Planning { rows } => progress.at(Stage::Planning, 0, rows),
        prepare::Progress::Building { done, total } => progress.at(Stage::Building, done, total),
    };
    let manifest = prepare::prepare(&store, load, rng, report, &pool).await?;
    tracing::info!(table = config.table, epoch = manifest.epoch, rows = manifest.rows, "published");
    let mut keep: BTreeSet<u64> = config.keep.clone();
    keep.insert(manifest.epoch);
    // The epoch is published. Old epochs that could not be removed only cost space, and the next
    // run tries again.
    match store.retain(&config.table, config.retain, &keep).await {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => tracing::info!(table = config.table, ?removed, "old epochs were removed"),
        Err(error) => tracing::warn!(%error, table = config.table, "cannot remove old epochs"),
    }
    done(&store, &manifest).await
}

/// The epoch of this run, if an earlier attempt published it and it is the newest of the table. An
/// older epoch with the run's name is ignored: the source has changed twice since, and the epoch is
/// built again.
pub(crate) async fn earlier(
    store: &Store,
    table: &str,
    run: &str,
) -> Result<Option<Done>, Failure> {
    let Some(&newest) = store.epochs(table).await?.last() else { return Ok(None) };
    let writer = store.writer(table, newest).await?;
    let ours = writer.is_some_and(|writer| {
        let incarnation = writer.incarnation.rsplit_once('/');
        writer.node == WRITER && incarnation.is_some_and(|(of, _)| of == run)
    });
    if !ours {
        return Ok(None);
    }
    match store.manifest(table, newest).await {
        // An incompatible version of Opaque made the epoch, and no node can serve it. It is built
        // again.
        Err(StoreError::OtherParameters { .. }) => Ok(None),
        manifest => done(store, &manifest?).await.map(Some),
    }
}

/// Reads, checks and encodes the whole source.
async fn read(
    config: &Config,
    settings: &Settings,
    schema: &Schema,
    columns: Vec<ColumnSource>,
    progress: Progress,
) -> Result<Vec<Vec<u8>>, Failure> {
    let request = Request {
        url: config.source.clone(),
        allow_local: config.allow_local_sources,
        share_store_credentials: config.share_store_credentials,
        max_bytes: config.max_source,
        timeout: config.source_timeout,
        agent: concat!("opaque-prepare/", env!("CARGO_PKG_VERSION")),
    };
    let source = Source::connect(&request, settings).await?;
    let (name, fault) = (source.name().to_owned(), source.fault());
    let format = match config.format {
        Format::Csv => opaque_source::Format::Csv,
        Format::Json => opaque_source::Format::Json,
        Format::Parquet => opaque_source::Format::Parquet,
    };
    let compression = match config.compression {
        Compression::None => opaque_source::Compression::None,
        Compression::Gzip => opaque_source::Compression::Gzip,
        Compression::Zstd => opaque_source::Compression::Zstd,
    };
    let (dialect, ignore_extra) = (config.dialect.clone(), config.ignore_extra);
    let reading = opaque_source::Settings { dialect, ignore_extra, columns, ..Default::default() };
    // Set when this future is dropped, which does not cancel a blocking task.
    let gone = Gone(Arc::default());
    let (schema, is_gone, memory) = (schema.clone(), Arc::clone(&gone.0), config.row_memory());
    let reading = tokio::task::spawn_blocking(move || {
        let refused = |error| {
            // The fault that broke the stream is more precise than its reader's error.
            let fault = opaque_fetch::take(&fault).map(Failure::Source);
            let source = Box::new(error);
            fault.unwrap_or(Failure::Rows { source_name: name.clone(), source })
        };
        let input = source.into_input(compression).map_err(refused)?;
        let reader = Reader::new(input, Some(format), &schema, &reading).map_err(refused)?;
        if let Some(dialect) = reader.dialect() {
            tracing::info!(%dialect, "the source's dialect");
        }
        let mut encoded = Encoded::new(reader);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = encoded.next() {
            let row = row.map_err(refused)?;
            bytes += (row.len() + ROW_OVERHEAD) as u64;
            if bytes > memory {
                return Err(Failure::Memory { limit_mib: memory >> 20 });
            }
            rows.push(row);
            if rows.len() % REPORT_ROWS == 0 {
                let reader = encoded.reader();
                let total = reader.total_bytes().unwrap_or(0);
                progress.at(Stage::Reading, reader.bytes_read(), total);
                if is_gone.load(Ordering::Relaxed) {
                    return Err(Failure::Stopped);
                }
            }
        }
        Ok(rows)
    });
    let rows = reading.await.map_err(internal)?;
    drop(gone);
    rows
}

struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn done(store: &Store, manifest: &Manifest) -> Result<Done, Failure> {
    let table = manifest.schema.table();
    let mut epochs = Vec::new();
    for epoch in store.epochs(table).await?.into_iter().rev() {
        match store.manifest(table, epoch).await {
            Ok(manifest) => epochs.push(entry(&manifest)?),
            // An old epoch that is damaged, incompatible, or has just been removed cannot be
            // served.
            Err(
                error @ (StoreError::Corrupt { .. }
                | StoreError::OtherParameters { .. }
                | StoreError::NotFound { .. }),
            ) => {
                tracing::warn!(%error, table, epoch, "the report omits an epoch that cannot be served");
            }
            Err(StoreError::Abandoned { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let columns = manifest.schema.columns();
    let geometry = manifest.indexes.iter().map(|index| {
        let (geometry, cost) = (&index.geometry, index.geometry.cost(manifest.link));
        let column = columns.get(index.column as usize).map(|column| column.name.clone());
        IndexGeometry {
            column: column.unwrap_or_default(),
            buckets: geometry.buckets().into(),
            bucket_bytes: signed(geometry.bucket_bytes() as u64),
            cost: QueryCost {
                upload_bytes: signed(cost.upload_bytes),
                download_bytes: signed(cost.download_bytes),
                scan_bytes: signed(cost.matrix_bytes),
            },
        }
    });
    let geometry = geometry.collect();
    Ok(Done { epoch: manifest.epoch, epochs, geometry, warning: warning(manifest) })
}

/// A warning if the nodes need memory out of proportion to the rows. It names the row that causes
/// this.
fn warning(manifest: &Manifest) -> Option<String> {
    let figures = manifest.figures().filter(|figures| figures.weight() > Weight::Usual)?;
    let longest = format!("row {} of {}", figures.sizes.longest_row + 1, manifest.rows);
    Some(figures.summary(&longest))
}

fn entry(manifest: &Manifest) -> Result<Epoch, Failure> {
    let created = i64::try_from(manifest.created.0).unwrap_or(i64::MAX);
    Ok(Epoch {
        epoch: signed(manifest.epoch),
        digest: manifest.digest().map_err(internal)?.to_string(),
        rows: signed(manifest.rows),
        bytes: signed(manifest.stored_bytes()),
        published: Time(Timestamp::from_millisecond(created).unwrap_or(Timestamp::MAX)),
        rejected: None,
    })
}

/// Converts the schema of a custom resource to one of the engine, and to where the source has each
/// column.
fn schema(table: &str, schema: &crd::Schema) -> Result<(Schema, Vec<ColumnSource>), Failure> {
    let column = |column: &crd::Column| {
        let crd::Column { name, from: _, column_type, role, nullable } = column;
        Column {
            name: name.clone(),
            column_type: match column_type {
                crd::ColumnType::Int => ColumnType::Int,
                crd::ColumnType::Real => ColumnType::Real,
                crd::ColumnType::Text => ColumnType::Text,
                crd::ColumnType::Json => ColumnType::Json,
                crd::ColumnType::Bool => ColumnType::Bool,
                crd::ColumnType::Timestamp => ColumnType::Timestamp,
            },
            role: match role {
                crd::Role::Key => Role::Key,
                crd::Role::Index => Role::Index,
                crd::Role::Payload => Role::Payload,
            },
            nullable: *nullable,
        }
    };
    let from = |column: &crd::Column| ColumnSource { from: column.from.clone(), limit: None };
    let sources: Vec<_> = schema.columns.iter().map(from).collect();
    let names = schema.columns.iter().map(|column| column.name.as_str());
    if ColumnSource::first_ambiguous(names, &sources).is_some() {
        return Err(Failure::SameSource);
    }
    let columns = schema.columns.iter().map(column).collect();
    Ok((Schema::new(table.to_owned(), columns)?, sources))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// An earlier version did this run, and no node can serve the epoch that it made.
    #[tokio::test]
    async fn an_epoch_of_other_parameters_is_made_again() {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path().to_str().unwrap()).unwrap();
        let (node, incarnation) = (WRITER.to_owned(), "run/1".to_owned());
        let writer = Writer { node, incarnation };
        std::mem::forget(store.claim("t", &writer, UnixMillis::now()).await.unwrap());
        let path = directory.path().join("tables/t/epochs/00000000000000000001/manifest.json");
        let manifest = include_str!("../../store/src/tests/manifest-128-v2.json");
        std::fs::write(&path, manifest).unwrap();
        assert!(earlier(&store, "t", "run").await.unwrap().is_none());
        // Damage is an error that this Job must report.
        std::fs::write(&path, manifest.replacen("\"rows\":3", "\"rows\":4", 1)).unwrap();
        assert!(earlier(&store, "t", "run").await.is_err());
    }
}
