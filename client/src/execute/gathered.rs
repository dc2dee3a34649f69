//! Answers that have arrived, and how they are opened.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use opaque_pir::table::Value;
use tokio::task::spawn_blocking;

use super::{Timing, Work};
use crate::{
    error::Error,
    lookup::{Asker, Sealed},
    sql::{Bounds, Fetched, Plan, ResultSet, SqlError},
};

/// A statement whose requests have all been answered, with everything needed to finish it.
pub struct Gathered {
    pub(super) plan: Plan,
    pub(super) answers: Vec<Answers>,
    pub(super) timing: Timing,
    /// True if no answer reported a newer epoch.
    pub(super) is_current: bool,
    pub(super) bounds: Bounds,
}

/// Stops the computation of an answer when it is dropped, which happens when the caller gives up.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The answers to the requests for one table.
pub(super) enum Answers {
    /// Public rows.
    Open(Fetched),
    /// Encrypted answers, with the secrets that decrypt them.
    Sealed { work: Arc<Work>, asked: Arc<[Value]>, pages: u32, answers: Vec<Sealed> },
}

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathered").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Gathered {
    /// Decrypts and checks the answers, and computes the result. Nothing is sent.
    ///
    /// # Errors
    /// An answer fails its check, or the rows give no answer to the statement.
    pub async fn open(self) -> Result<(ResultSet, Timing), Error> {
        let Self { plan, answers, mut timing, is_current, bounds } = self;
        let opening = Instant::now();
        let mut fetched = Vec::with_capacity(answers.len());
        for answers in answers {
            fetched.push(match answers {
                Answers::Open(fetched) => fetched,
                Answers::Sealed { work, asked, pages, answers } => {
                    let open = move |asker: &Asker<'_>| asker.open_all(&asked, pages, answers);
                    Fetched::Lookups(work.run(open).await?)
                }
            });
        }
        timing.decrypt = opening.elapsed();
        let computing = Instant::now();
        let _stop = Stop(Arc::clone(&bounds.stop));
        let finished = spawn_blocking(move || plan.finish(fetched, &bounds)).await;
        let answer = finished.map_err(|_| Error::Worker)?;
        let answer = answer.map_err(|error| blamed(error, is_current))?;
        timing.compute = computing.elapsed();
        timing.total += timing.decrypt + timing.compute;
        Ok((answer, timing))
    }
}

/// The error to report if the answers give no result. If an answer reported a newer epoch, the
/// description was outdated, and the statement may be valid for the table's current columns. The
/// client does not plan again: further requests would show a server that an error occurred.
fn blamed(error: SqlError, is_current: bool) -> Error {
    let of_answers = matches!(error, SqlError::MorePages { .. } | SqlError::Fetched);
    if of_answers || is_current { Error::Sql(error) } else { Error::Changed }
}
