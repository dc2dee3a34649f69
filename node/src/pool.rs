//! CPU work on a bounded, named pool, away from the threads that serve the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use crate::error::NodeError;

/// A rayon pool with a bounded number of jobs waiting for it.
///
/// A job whose caller has gone is skipped; a job that panics is an internal error of its caller
/// and of nobody else.
#[derive(Clone, Debug)]
pub struct CpuPool {
    threads: Arc<ThreadPool>,
    waiting: Arc<Semaphore>,
}

impl CpuPool {
    /// A pool of `threads` threads that accepts `waiting` jobs before it refuses more.
    pub fn new(threads: usize, waiting: usize) -> Result<Self, NodeError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("opaque-cpu-{i}"))
            .build()
            .map_err(NodeError::internal)?;
        Ok(Self { threads: Arc::new(pool), waiting: Arc::new(Semaphore::new(waiting)) })
    }

    /// The rayon pool itself, for work that manages its own threads.
    pub fn threads(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.threads)
    }

    /// Runs `job` on the pool.
    ///
    /// # Errors
    /// [`NodeError::Busy`] at once when too many jobs wait.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let permit = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| NodeError::Busy)?;
        let abandoned = Abandoned::default();
        let gone = Arc::clone(&abandoned.0);
        let (done, result) = oneshot::channel();
        self.threads.spawn_fifo(move || {
            if !gone.load(Ordering::Relaxed) {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                // The receiver may have gone meanwhile; nobody waits for the result then.
                let _ = done.send(outcome);
            }
            drop(permit);
        });
        let outcome = result.await.map_err(NodeError::internal)?;
        drop(abandoned);
        outcome.map_err(|_| NodeError::internal("a CPU job panicked"))
    }
}

/// Tells a queued job, when dropped, that its caller has gone.
#[derive(Default)]
struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
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
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        assert!(blocker.await.unwrap().unwrap());
        while pool.waiting.available_permits() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(!ran.load(Ordering::Relaxed));
    }
}
