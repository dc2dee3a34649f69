//! A query from SQL to answer: describe, plan, fetch, finish.
//!
//! **Guarantees.** What is sent depends on the statement's text and on public metadata: table,
//! searched column, its shape and numbers of rows ([`crate::sql::plan()`]). Failures are repeated by
//! kind alone ([`crate::session`]). Nothing is decrypted before the last request of a statement is answered: neither whether a
//! request comes nor when can depend on what an answer holds. An answer that fails its check then
//! ends the query.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use opaque_pir::{
    codec::answer_bytes,
    table::{Value, decode_row},
};
use opaque_proto::v1::{LookupHeader, ScanRequest};
use tokio::{task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use crate::{
    client::{Client, Event, OnEvent},
    description::Table,
    error::Error,
    index_keys::IndexKeys,
    lookup::{Asker, LOOKUPS_PER_REQUEST, LookupError, Sealed},
    session::{
        CallError,
        calls::{Lookup, ScanBound},
        retry::replan,
    },
    sql::{
        self, Fetched, Found, IndexMeta, Options, Parameters, Plan, ResultSet, Source, SqlError,
    },
};

/// Buckets that one call of a public scan reads: a partition.
const PAGE_BUCKETS: u32 = 1024;

/// What the caller chose for one query.
#[derive(Clone, Default)]
pub struct QueryOptions {
    /// Pages, and whether a public scan may answer.
    pub plan: Options,
    /// Values of `:name` placeholders.
    pub parameters: Parameters,
    /// Told about a public scan's progress.
    pub on_event: Option<OnEvent>,
}

/// What a query cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Encrypted lookups sent.
    pub lookups: u64,
    /// Requests that carried them, or pages of a public scan.
    pub requests: u64,
    /// Bytes of queries.
    pub bytes_up: u64,
    /// Bytes of answers, or of scanned rows.
    pub bytes_down: u64,
    /// Bytes that were exchanged first, once: public parts of inline keys, or evaluation keys of
    /// registered ones; 0 when they were known.
    pub keys_bytes: u64,
    /// Description of the table, plan, connection and keys.
    pub setup: Duration,
    /// Encryption here.
    pub encrypt: Duration,
    /// Slowest shard's scan, over all requests.
    pub scan: Duration,
    /// Slowest shard's hint product, over all requests.
    pub hint: Duration,
    /// The coordinator's whole work, over all requests.
    pub server: Duration,
    /// Calls' duration less the coordinator's work.
    pub network: Duration,
    /// Decryption and checks here.
    pub decrypt: Duration,
    /// From the statement to the answer.
    pub total: Duration,
}

impl Timing {
    /// What is measured one by one. The parts follow one another, so the rest is [`Timing::setup`].
    fn parts(&self) -> Duration {
        self.encrypt + self.server + self.network + self.decrypt
    }
}

impl Client {
    /// Answers one statement.
    pub async fn query(
        &self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<(ResultSet, Timing), Error> {
        let begun = Instant::now();
        let statement = sql::parse(sql, &options.parameters)?;
        let mut kept = self.kept(statement.table());
        let mut plans = 0;
        let mut asked: Option<Arc<Table>> = None;
        loop {
            let fresh = kept.is_none();
            let table = match kept.take() {
                Some(table) => table,
                None => self.describe(statement.table()).await?,
            };
            // Sent again under other columns, a statement would show how they change its plan.
            if asked.as_ref().is_some_and(|asked| asked.schema != table.schema) {
                return Err(Error::Changed);
            }
            let plan = sql::plan(&statement, &table.meta(), &options.plan);
            // A kept description may be old: neither an error nor a count may come from it. Nor a
            // public scan, whose answers do not tell, as those of lookups do, of a newer epoch.
            let sure = |plan: &Plan| matches!(plan.source(), Source::Lookups { .. });
            if !fresh && !plan.as_ref().is_ok_and(sure) {
                continue;
            }
            let plan = plan?;
            let mut timing = Timing::default();
            match self.fetch(&table, plan.source(), options, &mut timing).await {
                Ok(fetched) => {
                    let answer =
                        plan.finish(fetched).map_err(|error| self.blamed(&table, error))?;
                    timing.total = begun.elapsed();
                    timing.setup = timing.total.saturating_sub(timing.parts());
                    return Ok((answer, timing));
                }
                Err(Error::Call(CallError::Stale)) => {
                    plans += 1;
                    let pause = replan(plans).ok_or(CallError::Stale)?;
                    asked = Some(table);
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The error to report where the answers make no result. If they told of a newer epoch, the
    /// description was old, and the statement may fit the table as it is now. It is not planned
    /// anew: a server would see in the further requests that there was an error.
    fn blamed(&self, table: &Table, error: SqlError) -> Error {
        let of_answers = matches!(error, SqlError::MorePages { .. } | SqlError::Fetched);
        let kept = self.kept(table.schema.table());
        if of_answers || kept.is_some_and(|kept| kept.epoch == table.epoch) {
            return Error::Sql(error);
        }
        Error::Changed
    }

    async fn fetch(
        &self,
        table: &Arc<Table>,
        source: &Source,
        options: &QueryOptions,
        timing: &mut Timing,
    ) -> Result<Fetched, Error> {
        match source {
            Source::Count(_) => Ok(Fetched::Nothing),
            Source::Lookups { column, values, pages } => {
                let found = self.look_up(table, *column, values, *pages, timing).await?;
                Ok(Fetched::Lookups(found))
            }
            Source::PublicScan { rows_below } => {
                let rows = self.scan(table, *rows_below, options, timing).await?;
                Ok(Fetched::Rows(rows))
            }
        }
    }

    async fn look_up(
        &self,
        table: &Arc<Table>,
        column: usize,
        values: &[Value],
        pages: u32,
        timing: &mut Timing,
    ) -> Result<Vec<Found>, Error> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let index = *table.index(column).ok_or(LookupError::NoIndex)?;
        let lookups = (values.len() as u64).saturating_mul(pages.into());
        let (keys, fetched) = self.index_keys(table, column, lookups).await?;
        timing.keys_bytes += fetched;
        let work = Arc::new(Work { keys, table: Arc::clone(table), index });
        let asked: Arc<[Value]> = values.into();
        let looked_up = Arc::clone(&asked);
        let buckets = work.run(move |asker| asker.buckets(&looked_up, pages)).await?;
        // No answer is opened before the last one is here: a server that spoils an answer must not
        // see in the requests that follow whether the client noticed.
        let mut answers = Vec::new();
        for batch in buckets.chunks(LOOKUPS_PER_REQUEST) {
            answers.push(self.ask(&work, Zeroizing::new(batch.to_vec()), timing).await?);
        }
        let begun = Instant::now();
        let found = work.run(move |asker| asker.open_all(&asked, pages, answers)).await?;
        timing.decrypt += begun.elapsed();
        Ok(found)
    }

    /// Encrypts and sends one request, and brings its answer, unopened.
    async fn ask(
        &self,
        work: &Arc<Work>,
        buckets: Zeroizing<Vec<u32>>,
        timing: &mut Timing,
    ) -> Result<Sealed, Error> {
        let lookups = u16::try_from(buckets.len()).map_err(|_| LookupError::TooMany)?;
        let begun = Instant::now();
        let seeds = self.seeds(buckets.len())?;
        let request = work.run(move |asker| asker.request(&buckets, seeds)).await?;
        timing.encrypt += begun.elapsed();
        let query = request.bytes;
        let header = LookupHeader {
            table: work.table.schema.table().to_owned(),
            column: u32::try_from(work.index.column).map_err(|_| LookupError::TooMany)?,
            epoch: Some(work.table.epoch),
            lookups: Some(u32::from(lookups)),
            total_bytes: Some(query.len() as u64),
        };
        timing.requests += 1;
        timing.lookups += u64::from(lookups);
        timing.bytes_up += query.len() as u64;
        let lookup = Lookup {
            header,
            query,
            answer_bytes: answer_bytes(&work.index.geometry, work.keys.kind(), lookups),
            keys: work.keys.evaluation(),
        };
        let answered = self.session().lookup(self.deadline(), lookup).await?;
        let micros = |micros: Option<u32>| Duration::from_micros(micros.unwrap_or(0).into());
        let server = micros(answered.header.total_us);
        timing.bytes_down += answered.answer.len() as u64;
        timing.keys_bytes += answered.keys_bytes;
        timing.scan += micros(answered.header.scan_us);
        timing.hint += micros(answered.header.hint_us);
        timing.server += server;
        timing.network += answered.wall.saturating_sub(server);
        if answered.header.active_epoch.is_some_and(|epoch| epoch != work.table.epoch) {
            // This answer is right for its epoch; the next query asks the newer one.
            self.forget(work.table.schema.table());
        }
        Ok(Sealed { secrets: request.secrets, answer: answered.answer })
    }

    /// Reads the rows numbered below `rows_below`, or all, in the clear; in row order. Rows are
    /// numbered without gaps, so that it is known when the last one is there.
    async fn scan(
        &self,
        table: &Arc<Table>,
        rows_below: Option<u64>,
        options: &QueryOptions,
        timing: &mut Timing,
    ) -> Result<Vec<(u64, Vec<Value>)>, Error> {
        let first = table.indexes.first().ok_or(LookupError::NoIndex)?;
        let total = first.geometry.buckets();
        let wanted = rows_below.unwrap_or(u64::MAX).min(table.rows);
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        let mut next = 0;
        while next < total && (rows.len() as u64) < wanted {
            let end = total.min(next.saturating_add(PAGE_BUCKETS));
            let request = ScanRequest {
                table: table.schema.table().to_owned(),
                epoch: table.epoch,
                first_bucket: next,
                end_bucket: end,
                rows_below,
            };
            let begun = Instant::now();
            let bytes = u64::from(end - next) * first.geometry.bucket_bytes() as u64;
            let most = ScanBound { rows: wanted, bytes };
            for row in self.session().scan(self.deadline(), request, most).await? {
                timing.bytes_down += row.row.len() as u64;
                if row.number >= wanted || !seen.insert(row.number) {
                    return Err(Error::Scan("a row came twice, or was not asked for"));
                }
                let values = decode_row(&table.schema, &row.row).map_err(LookupError::Row)?;
                rows.push((row.number, values));
            }
            timing.requests += 1;
            timing.network += begun.elapsed();
            next = end;
            if let Some(on_event) = &options.on_event {
                on_event(Event::Scanning { buckets: next, total });
            }
        }
        if (rows.len() as u64) < wanted {
            return Err(Error::Scan("rows of the table are missing"));
        }
        rows.sort_unstable_by_key(|(number, _)| *number);
        Ok(rows)
    }
}

/// What the CPU-bound steps of one query share.
struct Work {
    keys: Arc<IndexKeys>,
    table: Arc<Table>,
    index: IndexMeta,
}

impl Work {
    fn asker(&self) -> Asker<'_> {
        let Self { keys, table, index } = self;
        Asker { keys, table, index }
    }

    /// Runs a step off the runtime's threads.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        step: impl FnOnce(&Asker<'_>) -> Result<T, LookupError> + Send + 'static,
    ) -> Result<T, Error> {
        let work = Arc::clone(self);
        let done = spawn_blocking(move || step(&work.asker())).await;
        Ok(done.map_err(|_| Error::Worker)??)
    }
}
