//! Requests that come while a pass runs share the next one.
//!
//! **Flow.** Whoever finds nobody working starts at once: a request that is alone waits for nothing.
//! While a pass runs, others queue up; when it has ended, and a place on the pool is free, the next pass
//! takes those that have waited longest, up to a bound. So a request waits for one pass under way and for
//! those of requests before it, and the more there are the more of them share a pass.
//!
//! **Fair**: first come, first served, whoever asks; a pass is never filled up with a smaller request
//! from behind. **Blind**: what is grouped depends on numbers of lookups and on when requests came,
//! never on what they hold.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::NodeError;
use crate::shard::pool::CpuPool;

/// Lookups of one pass, unless a single request has more: sharing pays off less and less, and those who
/// come later wait for the whole of it.
const LOOKUPS_PER_PASS: usize = 32;
/// Requests that may wait.
const MOST_WAITING: usize = 1024;

/// Requests of one kind, each a `J` with a result `R`.
pub struct Batcher<J, R> {
    queue: Arc<Mutex<Queue<J, R>>>,
}

struct Queue<J, R> {
    waiting: VecDeque<Waiting<J, R>>,
    /// Whether somebody takes what waits, pass after pass.
    working: bool,
}

struct Waiting<J, R> {
    job: J,
    lookups: usize,
    reply: oneshot::Sender<Result<R, NodeError>>,
}

impl<J, R> Default for Batcher<J, R> {
    fn default() -> Self {
        let queue = Queue { waiting: VecDeque::new(), working: false };
        Self { queue: Arc::new(Mutex::new(queue)) }
    }
}

impl<J, R> std::fmt::Debug for Batcher<J, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("waiting", &lock(&self.queue).waiting.len()).finish()
    }
}

impl<J: Send + 'static, R: Send + 'static> Batcher<J, R> {
    /// Has `job`, of so many lookups, run in a pass with others. `pass` gets the jobs of one pass in the
    /// order in which they came, on `pool`, and gives their results in the same order; everybody must
    /// bring the same. A job whose caller goes away while it waits goes with it: what a caller has reserved
    /// for it is free again.
    ///
    /// # Errors
    /// [`NodeError::Busy`] when too many wait, here or for the pool; [`NodeError::Internal`] when the
    /// pass panicked.
    pub async fn run<P>(
        &self,
        pool: &CpuPool,
        job: J,
        lookups: usize,
        pass: P,
    ) -> Result<R, NodeError>
    where
        P: Fn(Vec<J>) -> Vec<R> + Send + Sync + 'static,
    {
        let (reply, result) = oneshot::channel();
        let mut place = Place { queue: Arc::clone(&self.queue), result, done: false };
        let idle = {
            let mut queue = lock(&self.queue);
            if queue.waiting.len() >= MOST_WAITING {
                return Err(NodeError::Busy);
            }
            queue.waiting.push_back(Waiting { job, lookups, reply });
            !std::mem::replace(&mut queue.working, true)
        };
        if idle {
            // A task of its own: whoever waits for this result may go away before the others' are there.
            tokio::spawn(work(Arc::clone(&self.queue), pool.clone(), Arc::new(pass)));
        }
        let result = (&mut place.result).await;
        place.done = true;
        result.unwrap_or_else(|_| Err(NodeError::internal("a pass failed")))
    }
}

/// A caller's place in the queue.
struct Place<J, R> {
    queue: Arc<Mutex<Queue<J, R>>>,
    result: oneshot::Receiver<Result<R, NodeError>>,
    done: bool,
}

impl<J, R> Drop for Place<J, R> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.result.close();
        // Jobs are large: they are dropped without the lock.
        let mut gone = Vec::new();
        let mut queue = lock(&self.queue);
        for waiting in std::mem::take(&mut queue.waiting) {
            if waiting.reply.is_closed() {
                gone.push(waiting);
            } else {
                queue.waiting.push_back(waiting);
            }
        }
        drop(queue);
    }
}

/// Pass after pass, until nobody waits.
async fn work<J, R, P>(queue: Arc<Mutex<Queue<J, R>>>, pool: CpuPool, pass: Arc<P>)
where
    J: Send + 'static,
    R: Send + 'static,
    P: Fn(Vec<J>) -> Vec<R> + Send + Sync + 'static,
{
    loop {
        let (taken, pass) = (Arc::clone(&queue), Arc::clone(&pass));
        // What waits is taken when the pool has a place, so that what came meanwhile is part of it.
        let ran = pool.run(move || {
            let (jobs, replies): (Vec<_>, Vec<_>) = lock(&taken).take().into_iter().unzip();
            if jobs.is_empty() {
                return;
            }
            for (reply, result) in replies.into_iter().zip(pass(jobs)) {
                // The caller may have gone.
                let _ = reply.send(Ok(result));
            }
        });
        if matches!(ran.await, Err(NodeError::Busy)) {
            // The pool refuses: so does whoever waits for it.
            for Waiting { reply, .. } in lock(&queue).waiting.drain(..) {
                let _ = reply.send(Err(NodeError::Busy));
            }
        }
        let mut queue = lock(&queue);
        if queue.waiting.is_empty() {
            queue.working = false;
            return;
        }
    }
}

impl<J, R> Queue<J, R> {
    /// The jobs of the next pass.
    fn take(&mut self) -> Vec<(J, oneshot::Sender<Result<R, NodeError>>)> {
        let (mut taken, mut lookups) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            if !taken.is_empty() && lookups + next.lookups > LOOKUPS_PER_PASS {
                break;
            }
            let Some(Waiting { job, lookups: more, reply }) = self.waiting.pop_front() else {
                break;
            };
            if !reply.is_closed() {
                lookups += more;
                taken.push((job, reply));
            }
        }
        taken
    }
}

fn lock<J, R>(queue: &Mutex<Queue<J, R>>) -> MutexGuard<'_, Queue<J, R>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
