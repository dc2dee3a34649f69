//! Runs CPU work on a bounded pool, separate from the threads that serve the network.

use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::error::NodeError;

/// A rayon pool with a bounded number of running jobs and a bounded number of waiting ones.
///
/// Jobs start in the order of their arrival. At most one job per thread runs at a time. A rayon
/// worker that waits for a part of its job takes other work from the queue. If all jobs were in
/// rayon's queue, the oldest would therefore end last, on ever deeper stacks.
///
/// A job whose caller is gone before it starts never starts. A job that panics causes an internal
/// error for its caller only.
#[derive(Clone, Debug)]
pub struct CpuPool {
    threads: Arc<ThreadPool>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl CpuPool {
    /// A pool of `threads` threads that refuses jobs while `waiting` of them wait.
    pub fn new(threads: usize, waiting: usize) -> Result<Self, NodeError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("opaque-cpu-{i}"))
            .build()
            .map_err(NodeError::internal)?;
        Ok(Self {
            threads: Arc::new(pool),
            running: Arc::new(Semaphore::new(threads.max(1))),
            waiting: Arc::new(Semaphore::new(waiting)),
        })
    }

    /// Whether a job that arrives now would have to wait.
    pub fn is_busy(&self) -> bool {
        self.running.available_permits() == 0
    }

    /// Runs `job` on the pool.
    ///
    /// # Errors
    /// [`NodeError::Busy`] immediately if too many jobs wait.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| NodeError::Busy)?;
        self.start(job, Some(place)).await
    }

    /// Runs `job` on the pool, however many jobs wait. This is for internal work of the node, which
    /// has no client to retry it. The job takes its turn among the others.
    ///
    /// # Errors
    /// Only if the job panics.
    pub async fn run_in_turn<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        self.start(job, None).await
    }

    async fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<T, NodeError> {
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(NodeError::internal)?;
        let threads = Arc::clone(&self.threads);
        let running = spawn_blocking(move || {
            let outcome = threads.install(job);
            drop((place, turn));
            outcome
        });
        running.await.map_err(|_| NodeError::internal("a CPU job panicked"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rayon::prelude::*;

    use super::*;

    #[tokio::test]
    async fn runs_jobs_and_survives_a_panic() {
        let pool = CpuPool::new(1, 4).unwrap();
        assert_eq!(pool.run(|| 41 + 1).await.unwrap(), 42);
        let failed = pool.run(|| -> u32 { panic!("on purpose") }).await;
        assert!(matches!(failed, Err(NodeError::Internal(_))));
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn refuses_when_full_and_skips_abandoned_jobs() {
        let pool = CpuPool::new(1, 2).unwrap();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let blocker = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || gate.recv().is_ok()).await }
        });
        while pool.waiting.available_permits() == 2 {
            tokio::task::yield_now().await;
        }
        let ran = Arc::new(AtomicBool::new(false));
        let abandoned = tokio::spawn({
            let (pool, ran) = (pool.clone(), Arc::clone(&ran));
            async move { pool.run(move || ran.store(true, Ordering::Relaxed)).await }
        });
        while pool.waiting.available_permits() == 1 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.run(|| ()).await, Err(NodeError::Busy)));
        let mut own = Box::pin(pool.run_in_turn(|| 5));
        assert!(futures::poll!(&mut own).is_pending());
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        assert!(blocker.await.unwrap().unwrap());
        assert_eq!(own.await.unwrap(), 5);
        while pool.waiting.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!ran.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn jobs_end_in_the_order_in_which_they_came() {
        let pool = CpuPool::new(1, 64).unwrap();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let jobs = (0..20).map(|number| {
            let (pool, ended) = (pool.clone(), Arc::clone(&ended));
            // The jobs are polled in order, so that they queue in order. Each has parts that others
            // could steal.
            async move {
                let job = move || {
                    let sum: u64 = (0..10_000u64).into_par_iter().map(|i| i ^ number).sum();
                    ended.lock().unwrap().push(number);
                    sum
                };
                pool.run(job).await.unwrap()
            }
        });
        futures::future::join_all(jobs).await;
        assert_eq!(*ended.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }
}
