//! Runs a query, from SQL to the answer: describe, plan, fetch, decrypt, finish.
//!
//! **Guarantees.** Requests depend only on the statement's text and on public metadata: the table,
//! the searched column, its geometry and its row counts ([`crate::sql::plan()`]). For a public scan
//! they depend on the number of buckets. Retries depend only on the kind of failure
//! ([`crate::session`]). Nothing is decrypted before the last request of a statement has been
//! answered, so the content of an answer affects neither whether a request is sent nor when. An
//! answer that fails its check ends the query at that point. [`Client::query_and_close`] also
//! closes the connections before it decrypts, so that the time of the close reveals no more than
//! the requests do. [`Client::gather_and_close`] does the same for several statements: it reads all
//! of them before the first request, and decrypts nothing before the last answer of the last one.

mod gathered;
mod scan;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opaque_pir::{codec::answer_bytes, table::Value};
use opaque_proto::v1::LookupHeader;
use tokio::{task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use self::gathered::Answers;
pub use self::gathered::Gathered;
use crate::{
    client::{Client, OnEvent},
    description::Table,
    error::Error,
    lookup::{Asker, LOOKUPS_PER_REQUEST, LookupError, Sealed, index_keys::IndexKeys},
    session::{
        CallError,
        calls::{Lookup, ScanMemory},
        retry::replan,
    },
    sql::{
        self, Bounds, Fetched, IndexMeta, Options, Parameters, Plan, ResultSet, Source, Statement,
    },
};

/// Options for one query.
#[derive(Clone)]
pub struct QueryOptions {
    /// Number of pages, and whether a public scan is allowed.
    pub plan: Options,
    /// Values of `:name` placeholders.
    pub parameters: Parameters,
    /// Memory limit in MiB for the rows that public scans return, all scans of one call together,
    /// and for each answer. A statement that needs more fails.
    pub scan_mib: u32,
    /// Receives the progress of a public scan.
    pub on_event: Option<OnEvent>,
}

impl QueryOptions {
    /// Default of [`Self::scan_mib`].
    pub const SCAN_MIB: u32 = 1024;
}

impl Default for QueryOptions {
    fn default() -> Self {
        let (plan, parameters) = (Options::default(), Parameters::default());
        Self { plan, parameters, scan_mib: Self::SCAN_MIB, on_event: None }
    }
}

/// Time and bytes that a query took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Encrypted lookups sent.
    pub lookups: u64,
    /// Requests that carried the lookups, or pages of a public scan.
    pub requests: u64,
    /// Bytes of encoded queries.
    pub bytes_up: u64,
    /// Bytes of encoded answers, or of scanned rows.
    pub bytes_down: u64,
    /// Bytes of keys exchanged before the lookups: public parts of inline keys, once for each
    /// [`Client`] and index, or evaluation keys of registered keys. The value is 0 if they were
    /// already known.
    pub keys_bytes: u64,
    /// Time for the table's description, the plan, the connection and the keys.
    pub setup: Duration,
    /// Encryption on the client.
    pub encrypt: Duration,
    /// Time of the slowest shard's scan, summed over all requests.
    pub scan: Duration,
    /// Time of the slowest shard's hint product, summed over all requests.
    pub hint: Duration,
    /// Total time in the coordinator, summed over all requests.
    pub server: Duration,
    /// Duration of the calls without the coordinator's time.
    pub network: Duration,
    /// Decryption and checks on the client.
    pub decrypt: Duration,
    /// Computation of the answer from the decrypted rows, by SQLite.
    pub compute: Duration,
    /// Time for the statement, from its first request to its answer, without the time that it
    /// waited for other statements of [`Client::gather_and_close`].
    pub total: Duration,
}

impl Client {
    /// Answers one statement and keeps the connections open for the next. The time of the next
    /// statement may reveal something about this answer. For a single statement, use
    /// [`Client::query_and_close`].
    ///
    /// # Errors
    /// The statement is refused, the cluster does not answer, or an answer fails its check.
    pub async fn query(
        &self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<(ResultSet, Timing), Error> {
        let statement = sql::parse(sql, &options.parameters)?;
        self.gather(statement, options, &mut memory(options)).await?.open().await
    }

    /// Answers one statement. After all answers have arrived and before the first one is decrypted,
    /// the client closes every connection and waits until the close has been sent. The time of the
    /// close therefore reveals nothing about the answers, and the caller cannot delay it.
    ///
    /// # Errors
    /// The same as for [`Client::query`].
    pub async fn query_and_close(
        self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<(ResultSet, Timing), Error> {
        let statement = sql::parse(sql, &options.parameters);
        let gathered = match statement {
            Ok(statement) => self.gather(statement, options, &mut memory(options)).await,
            Err(error) => Err(error.into()),
        };
        self.close().await;
        gathered?.open().await
    }

    /// Sends the requests of several statements, each with its own parameters, and closes every
    /// connection. [`Gathered::open`] then decrypts each answer. A statement that fails does not
    /// stop the next ones. [`QueryOptions::parameters`] is not used.
    ///
    /// Requests and the close therefore reveal no more than those of
    /// [`Client::query_and_close`]. Every answer stays in memory until the last one has arrived.
    ///
    /// # Errors
    /// Each statement has its own result, with the errors of [`Client::query`].
    pub async fn gather_and_close(
        self,
        statements: &[(&str, Parameters)],
        options: &QueryOptions,
    ) -> Vec<Result<Gathered, Error>> {
        // The time that this takes depends on literals, so it must not lie between two requests.
        let parsed: Vec<_> =
            statements.iter().map(|(sql, parameters)| sql::parse(sql, parameters)).collect();
        let mut memory = memory(options);
        let mut gathered = Vec::with_capacity(parsed.len());
        for statement in parsed {
            gathered.push(match statement {
                Ok(statement) => self.gather(statement, options, &mut memory).await,
                Err(error) => Err(error.into()),
            });
        }
        self.close().await;
        gathered
    }

    /// Sends every request of a statement without decrypting any answer. A statement that fails
    /// takes nothing from `memory`, because its rows are dropped.
    async fn gather(
        &self,
        statement: Statement,
        options: &QueryOptions,
        memory: &mut ScanMemory,
    ) -> Result<Gathered, Error> {
        let begun = Instant::now();
        let (mut plans, mut asked): (_, Option<Vec<Arc<Table>>>) = (0, None);
        let mut may_be_outdated = true;
        loop {
            let (tables, fresh) = self.described(&statement, may_be_outdated).await?;
            may_be_outdated = false;
            // If the columns changed, sending the statement again would show how they affect its
            // plan.
            let same = |asked: &[Arc<Table>]| {
                asked.iter().zip(&tables).all(|(asked, table)| asked.schema == table.schema)
            };
            if asked.as_deref().is_some_and(|asked| !same(asked)) {
                return Err(Error::Changed);
            }
            let metas: Vec<_> = tables.iter().map(|table| table.meta()).collect();
            let plan = sql::plan(&statement, &metas, &options.plan);
            // A cached description may be outdated. Neither an error nor a count may be derived
            // from it, and a public scan may not use it either, because the answers of a scan do
            // not report a newer epoch.
            let sure =
                |plan: &Plan| plan.sources().all(|source| matches!(source, Source::Lookups { .. }));
            if !fresh && !plan.as_ref().is_ok_and(sure) {
                continue;
            }
            let plan = plan?;
            let mut timing = Timing::default();
            let mut left = *memory;
            match self.fetch(&tables, &plan, options, &mut left, &mut timing).await {
                Ok(answers) => {
                    *memory = left;
                    let is_current = tables.iter().all(|table| {
                        let kept = self.cached(table.schema.table());
                        kept.is_some_and(|kept| kept.epoch == table.epoch)
                    });
                    let bounds =
                        Bounds { bytes: u64::from(options.scan_mib) << 20, ..Bounds::default() };
                    timing.total = begun.elapsed();
                    let measured = timing.encrypt + timing.server + timing.network;
                    timing.setup = timing.total.saturating_sub(measured);
                    return Ok(Gathered { plan, answers, timing, is_current, bounds });
                }
                Err(Error::Call(CallError::Stale)) => {
                    plans += 1;
                    let pause = replan(plans).ok_or(CallError::Stale)?;
                    asked = Some(tables);
                    sleep(pause).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The descriptions of a statement's tables, each fetched once, and whether all of them are
    /// fresh.
    async fn described(
        &self,
        statement: &Statement,
        may_be_outdated: bool,
    ) -> Result<(Vec<Arc<Table>>, bool), Error> {
        let mut tables: Vec<Arc<Table>> = Vec::new();
        let mut fresh = true;
        for name in statement.tables() {
            let known = tables.iter().find(|table| table.schema.table().eq_ignore_ascii_case(name));
            let kept = known.cloned().or_else(|| {
                let kept = self.cached(name).filter(|_| may_be_outdated);
                fresh &= kept.is_none();
                kept
            });
            tables.push(match kept {
                Some(table) => table,
                None => self.describe(name).await?,
            });
        }
        Ok((tables, fresh))
    }

    /// Sends the requests for every table of a plan, one table after another. A table that is
    /// scanned for several references is scanned once.
    async fn fetch(
        &self,
        tables: &[Arc<Table>],
        plan: &Plan,
        options: &QueryOptions,
        memory: &mut ScanMemory,
        timing: &mut Timing,
    ) -> Result<Vec<Answers>, Error> {
        let mut answers = Vec::with_capacity(tables.len());
        let mut scans: Vec<(&str, Option<u64>, Fetched)> = Vec::new();
        for (table, source) in tables.iter().zip(plan.sources()) {
            answers.push(match source {
                Source::Count(_) => Answers::Open(Fetched::Nothing),
                Source::Lookups { column, values, pages } => {
                    self.look_up(table, *column, values, *pages, timing).await?
                }
                Source::PublicScan { rows_below } => {
                    let name = table.schema.table();
                    let known =
                        scans.iter().find(|(of, below, _)| *of == name && below == rows_below);
                    let rows = match known {
                        Some((.., rows)) => rows.clone(),
                        None => {
                            let rows =
                                self.scan(table, *rows_below, options, memory, timing).await?;
                            let rows = Fetched::Rows(rows.into());
                            scans.push((name, *rows_below, rows.clone()));
                            rows
                        }
                    };
                    Answers::Open(rows)
                }
            });
        }
        Ok(answers)
    }

    async fn look_up(
        &self,
        table: &Arc<Table>,
        column: usize,
        values: &[Value],
        pages: u32,
        timing: &mut Timing,
    ) -> Result<Answers, Error> {
        if values.is_empty() {
            return Ok(Answers::Open(Fetched::Lookups(Vec::new())));
        }
        let index = *table.index(column).ok_or(LookupError::NoIndex)?;
        let lookups = (values.len() as u64).saturating_mul(pages.into());
        let (keys, fetched) = self.index_keys(table, column, lookups).await?;
        timing.keys_bytes += fetched;
        let work = Arc::new(Work { keys, table: Arc::clone(table), index });
        let asked: Arc<[Value]> = values.into();
        let looked_up = Arc::clone(&asked);
        let buckets = work.run(move |asker| asker.buckets(&looked_up, pages)).await?;
        // No answer is decrypted before the last one has arrived. Otherwise a server that corrupts
        // an answer could tell from the following requests whether the client noticed.
        let mut answers = Vec::new();
        for batch in buckets.chunks(LOOKUPS_PER_REQUEST) {
            answers.push(self.ask(&work, Zeroizing::new(batch.to_vec()), timing).await?);
        }
        Ok(Answers::Sealed { work, asked, pages, answers })
    }

    /// Encrypts and sends one request, and returns its answer without decrypting it.
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
            // This answer is correct for its epoch. The next query uses the newer one.
            self.forget(work.table.schema.table());
        }
        Ok(Sealed { secrets: request.secrets, answer: answered.answer })
    }
}

/// Memory for the scanned rows of one call.
fn memory(options: &QueryOptions) -> ScanMemory {
    ScanMemory::new(u64::from(options.scan_mib) << 20)
}

/// State that the CPU-bound steps of one query share.
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

    /// Runs a CPU-bound step on a thread outside the async runtime.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        step: impl FnOnce(&Asker<'_>) -> Result<T, LookupError> + Send + 'static,
    ) -> Result<T, Error> {
        let work = Arc::clone(self);
        let done = spawn_blocking(move || step(&work.asker())).await;
        Ok(done.map_err(|_| Error::Worker)??)
    }
}
