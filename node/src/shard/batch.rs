//! Requests that arrive while a pass runs share the next one.
//!
//! **Flow.** A request that finds no pass running starts at once, so a single request never waits.
//! While a pass runs, others queue up. When it has ended and the pool has a free place, the next
//! pass takes the requests that have waited longest, up to a bound. A request thus waits for one
//! running pass and for the passes of earlier requests. The more requests wait, the more of them
//! share a pass.
//!
//! **Fairness**: first come, first served. A pass is never filled up with a smaller request from
//! further back. **Privacy**: grouping depends only on numbers of lookups and on arrival times,
//! never on the content of requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::error::NodeError;
use crate::shard::pool::CpuPool;

/// Lookups of one pass, unless a single request has more. Larger passes gain less and less, and
/// later requests have to wait for all of a pass.
const LOOKUPS_PER_PASS: usize = 32;
/// Largest number of waiting requests.
const MOST_WAITING: usize = 1024;

/// Requests of one kind. Each is a `J` with a result `R`.
pub struct Batcher<J, R> {
    queue: Arc<Mutex<Queue<J, R>>>,
}

struct Queue<J, R> {
    waiting: VecDeque<Waiting<J, R>>,
    /// Whether a task is working on the queue.
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
    /// Runs `job`, which has `lookups` lookups, in a pass with others. `pass` receives the jobs of
    /// one pass on `pool`, in the order of their arrival, and returns their results in the same
    /// order. All callers must pass an equivalent closure. If a caller is cancelled while its job
    /// waits, the job is dropped, which frees the memory reserved for it.
    ///
    /// # Errors
    /// [`NodeError::Busy`] if too many jobs wait, here or for the pool; [`NodeError::Internal`] if
    /// the pass panicked.
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
            // A separate task, since the caller that starts it may be cancelled before the other
            // results are there.
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
        // Jobs are large, so they are dropped without the lock.
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

/// Runs passes until no request waits.
async fn work<J, R, P>(queue: Arc<Mutex<Queue<J, R>>>, pool: CpuPool, pass: Arc<P>)
where
    J: Send + 'static,
    R: Send + 'static,
    P: Fn(Vec<J>) -> Vec<R> + Send + Sync + 'static,
{
    loop {
        let (taken, pass) = (Arc::clone(&queue), Arc::clone(&pass));
        // Requests are taken only when the pool has a place, so that later arrivals are included.
        let ran = pool.run(move || {
            let (jobs, replies): (Vec<_>, Vec<_>) = lock(&taken).take().into_iter().unzip();
            if jobs.is_empty() {
                return;
            }
            for (reply, result) in replies.into_iter().zip(pass(jobs)) {
                // The caller may have been cancelled.
                let _ = reply.send(Ok(result));
            }
        });
        if matches!(ran.await, Err(NodeError::Busy)) {
            // If the pool refuses, all requests that wait for it are refused.
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
