//! A query from SQL to answer: describe, plan, fetch, open, finish.
//!
//! **Guarantees.** What is sent depends on the statement's text and on public metadata: table,
//! searched column, its shape and numbers of rows ([`crate::sql::plan()`]); for a public scan, the
//! number of buckets. Failures are repeated by kind alone ([`crate::session`]). Nothing is decrypted
//! before the last request of a statement is answered: neither whether a request comes nor when can
//! depend on what an answer holds. An answer that fails its check then ends the query.
//! [`Client::query_and_close`] also closes the connections before it decrypts, so that their end
//! tells no more than the requests do.

mod scan;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use opaque_pir::{codec::answer_bytes, table::Value};
use opaque_proto::v1::LookupHeader;
use tokio::{task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use crate::{
    client::{Client, OnEvent},
    description::Table,
    error::Error,
    lookup::{Asker, LOOKUPS_PER_REQUEST, LookupError, Sealed, index_keys::IndexKeys},
    session::{CallError, calls::Lookup, retry::replan},
    sql::{
        self, Fetched, Found, IndexMeta, Options, Parameters, Plan, ResultSet, Source, SqlError,
    },
};

/// What the caller chose for one query.
#[derive(Clone)]
pub struct QueryOptions {
    /// Pages, and whether a public scan may answer.
    pub plan: Options,
    /// Values of `:name` placeholders.
    pub parameters: Parameters,
    /// MiB of memory for the rows that a public scan brings; one that brings more fails.
    pub scan_mib: u32,
    /// Told about a public scan's progress.
    pub on_event: Option<OnEvent>,
}

impl QueryOptions {
    /// [`Self::scan_mib`] unless something else is chosen.
    pub const SCAN_MIB: u32 = 1024;
}

impl Default for QueryOptions {
    fn default() -> Self {
        let (plan, parameters) = (Options::default(), Parameters::default());
        Self { plan, parameters, scan_mib: Self::SCAN_MIB, on_event: None }
    }
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
    /// Bytes that were exchanged first: public parts of inline keys, once for each [`Client`] and
    /// index, or evaluation keys of registered ones; 0 when they were known.
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
    /// Answers one statement and keeps the connections for the next one. When that one comes may then
    /// tell what became of this one: [`Client::query_and_close`] is for a single statement.
    ///
    /// # Errors
    /// The statement is refused, the cluster does not answer, or an answer fails its check.
    pub async fn query(
        &self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<(ResultSet, Timing), Error> {
        self.gather(sql, options).await?.open().await
    }

    /// Answers one statement. Every connection is closed, and the close sent, once all answers are
    /// here and before the first of them is opened: the moment tells nothing of what they hold, and
    /// nothing that the caller does with the answer can put it off.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn query_and_close(
        self,
        sql: &str,
        options: &QueryOptions,
    ) -> Result<(ResultSet, Timing), Error> {
        let gathered = self.gather(sql, options).await;
        self.close().await;
        gathered?.open().await
    }

    /// Sends every request of a statement, and opens no answer.
    async fn gather(&self, sql: &str, options: &QueryOptions) -> Result<Gathered, Error> {
        let begun = Instant::now();
        let statement = sql::parse(sql, &options.parameters)?;
        let mut kept = self.cached(statement.table());
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
            match self.fetch(&table, &plan, options, &mut timing).await {
                Ok(answers) => {
                    let is_current = self
                        .cached(statement.table())
                        .is_some_and(|kept| kept.epoch == table.epoch);
                    return Ok(Gathered { plan, answers, timing, begun, is_current });
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

    async fn fetch(
        &self,
        table: &Arc<Table>,
        plan: &Plan,
        options: &QueryOptions,
        timing: &mut Timing,
    ) -> Result<Answers, Error> {
        match plan.source() {
            Source::Count(_) => Ok(Answers::Open(Fetched::Nothing)),
            Source::Lookups { column, values, pages } => {
                self.look_up(table, *column, values, *pages, timing).await
            }
            Source::PublicScan { rows_below } => {
                let kept = self.scan(table, plan, *rows_below, options, timing).await?;
                Ok(Answers::Open(Fetched::Rows(kept)))
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
        // No answer is opened before the last one is here: a server that spoils an answer must not
        // see in the requests that follow whether the client noticed.
        let mut answers = Vec::new();
        for batch in buckets.chunks(LOOKUPS_PER_REQUEST) {
            answers.push(self.ask(&work, Zeroizing::new(batch.to_vec()), timing).await?);
        }
        Ok(Answers::Sealed { work, asked, pages, answers })
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
}

/// A statement whose requests are all answered, and what makes an answer of that.
struct Gathered {
    plan: Plan,
    answers: Answers,
    timing: Timing,
    begun: Instant,
    /// Whether no answer told of a newer epoch.
    is_current: bool,
}

/// What the requests of a statement brought.
enum Answers {
    /// Public.
    Open(Fetched),
    /// Still encrypted, and what opens it.
    Sealed { work: Arc<Work>, asked: Arc<[Value]>, pages: u32, answers: Vec<Sealed> },
}

impl Gathered {
    /// Decrypts what is encrypted, checks it and makes the answer.
    async fn open(self) -> Result<(ResultSet, Timing), Error> {
        let Self { plan, answers, mut timing, begun, is_current } = self;
        let opening = Instant::now();
        let fetched = match answers {
            Answers::Open(fetched) => fetched,
            Answers::Sealed { work, asked, pages, answers } => {
                let open = move |asker: &Asker<'_>| asker.open_all(&asked, pages, answers);
                let found: Vec<Found> = work.run(open).await?;
                timing.decrypt += opening.elapsed();
                Fetched::Lookups(found)
            }
        };
        let answer = plan.finish(fetched).map_err(|error| blamed(error, is_current))?;
        timing.total = begun.elapsed();
        timing.setup = timing.total.saturating_sub(timing.parts());
        Ok((answer, timing))
    }
}

/// The error to report where the answers make no result. If they told of a newer epoch, the
/// description was old, and the statement may fit the table as it is now. It is not planned
/// anew: a server would see in the further requests that there was an error.
fn blamed(error: SqlError, is_current: bool) -> Error {
    let of_answers = matches!(error, SqlError::MorePages { .. } | SqlError::Fetched);
    if of_answers || is_current { Error::Sql(error) } else { Error::Changed }
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
