use std::pin::Pin;
use std::sync::mpsc;

use futures::future::join_all;

use super::*;

/// Runs jobs that are numbers, reports each pass, and holds the first pass until it is released.
struct Fixture {
    batcher: Batcher<u32, u32>,
    pool: CpuPool,
    passes: Arc<Mutex<Vec<Vec<u32>>>>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Fixture {
    fn new() -> (Self, mpsc::Sender<()>) {
        let (open, gate) = mpsc::channel();
        let fixture = Self {
            batcher: Batcher::default(),
            pool: CpuPool::new(2, 16).unwrap(),
            passes: Arc::default(),
            gate: Arc::new(Mutex::new(gate)),
        };
        (fixture, open)
    }

    /// Submits immediately, in order. The result is ten times the number. Zero panics.
    fn submit(&self, job: u32, lookups: usize) -> impl Future<Output = Result<u32, NodeError>> {
        let (passes, gate) = (Arc::clone(&self.passes), Arc::clone(&self.gate));
        self.batcher.run(&self.pool, job, lookups, move |jobs: Vec<u32>| {
            passes.lock().unwrap().push(jobs.clone());
            if passes.lock().unwrap().len() == 1 {
                gate.lock().unwrap().recv().unwrap();
            }
            jobs.iter().map(|job| if *job == 0 { panic!("on purpose") } else { job * 10 }).collect()
        })
    }

    /// Submits the job of the first pass, which runs until the test opens the gate.
    async fn starts(&self, job: u32) -> Pin<Box<impl Future<Output = Result<u32, NodeError>>>> {
        let mut first = Box::pin(self.submit(job, 1));
        polled(&mut [&mut first]).await;
        while self.passes().is_empty() {
            tokio::task::yield_now().await;
        }
        first
    }

    /// Submits jobs that wait.
    async fn waits(
        &self,
        jobs: impl IntoIterator<Item = (u32, usize)>,
    ) -> Vec<Pin<Box<impl Future<Output = Result<u32, NodeError>>>>> {
        let mut waiting: Vec<_> =
            jobs.into_iter().map(|(job, size)| Box::pin(self.submit(job, size))).collect();
        polled(&mut waiting).await;
        waiting
    }

    fn passes(&self) -> Vec<Vec<u32>> {
        self.passes.lock().unwrap().clone()
    }

    fn waiting(&self) -> usize {
        lock(&self.batcher.queue).waiting.len()
    }
}

async fn polled<F: Future + Unpin>(futures: &mut [F]) {
    for future in futures {
        assert!(futures::poll!(future).is_pending());
    }
}

#[tokio::test]
async fn what_comes_during_a_pass_shares_the_next_in_order() {
    let (fixture, open) = Fixture::new();
    let first = fixture.starts(1).await;
    let others = fixture.waits((2..=5).map(|job| (job, 1))).await;
    open.send(()).unwrap();
    assert_eq!(first.await.unwrap(), 10);
    let results: Vec<u32> = join_all(others).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [20, 30, 40, 50]);
    assert_eq!(fixture.passes(), [vec![1], vec![2, 3, 4, 5]]);
    // Idle again: the next job starts by itself.
    assert_eq!(fixture.submit(6, 1).await.unwrap(), 60);
    assert_eq!(fixture.passes().len(), 3);
}

#[tokio::test]
async fn passes_are_bounded_and_no_request_overtakes() {
    let (fixture, open) = Fixture::new();
    let first = fixture.starts(1).await;
    // 20 + 20 are too many for one pass. The small job further back must not overtake.
    let others = fixture.waits([(2, 20), (3, 20), (4, 1), (5, 64), (6, 1)]).await;
    open.send(()).unwrap();
    first.await.unwrap();
    join_all(others).await;
    assert_eq!(fixture.passes(), [vec![1], vec![2], vec![3, 4], vec![5], vec![6]]);
}

#[tokio::test]
async fn a_cancelled_caller_costs_nothing_and_harms_no_other() {
    let (fixture, open) = Fixture::new();
    let first = fixture.starts(1).await;
    let mut others = fixture.waits((2..=4).map(|job| (job, 1))).await;
    // The caller that started the work is cancelled, and one that waits.
    drop(first);
    drop(others.remove(1));
    open.send(()).unwrap();
    let results: Vec<u32> = join_all(others).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [20, 40]);
    assert_eq!(fixture.passes(), [vec![1], vec![2, 4]]);
}

#[tokio::test]
async fn a_cancelled_caller_takes_its_job_along() {
    let (fixture, open) = Fixture::new();
    let first = fixture.starts(1).await;
    let mut others = fixture.waits(std::iter::repeat_n((2, 1), MOST_WAITING)).await;
    let kept = others.split_off(MOST_WAITING - 2);
    drop(others);
    assert_eq!(fixture.waiting(), 2, "data of those who went");
    let next = fixture.waits([(3, 1)]).await.remove(0);
    open.send(()).unwrap();
    first.await.unwrap();
    join_all(kept).await;
    assert_eq!(next.await.unwrap(), 30);
    assert_eq!(fixture.passes(), [vec![1], vec![2, 2, 3]]);
}

#[tokio::test]
async fn a_panic_fails_its_pass_and_no_other() {
    let (fixture, open) = Fixture::new();
    let first = fixture.starts(0).await;
    let second = fixture.waits([(2, 1)]).await.remove(0);
    open.send(()).unwrap();
    assert!(matches!(first.await, Err(NodeError::Internal(_))));
    assert_eq!(second.await.unwrap(), 20);
    assert_eq!(fixture.submit(3, 1).await.unwrap(), 30);
}

#[tokio::test]
async fn those_who_wait_are_bounded() {
    let (fixture, open) = Fixture::new();
    let _first = fixture.starts(1).await;
    let others = fixture.waits(std::iter::repeat_n((2, 1), MOST_WAITING)).await;
    assert_eq!(fixture.waiting(), MOST_WAITING);
    assert!(matches!(fixture.submit(3, 1).await, Err(NodeError::Busy)));
    open.send(()).unwrap();
    assert!(join_all(others).await.into_iter().all(|result| result.is_ok_and(|ten| ten == 20)));
}

#[tokio::test]
async fn a_job_that_the_pool_refuses_is_busy() {
    let (mut fixture, _open) = Fixture::new();
    // A pool on which nothing may wait.
    fixture.pool = CpuPool::new(1, 0).unwrap();
    assert!(matches!(fixture.submit(1, 1).await, Err(NodeError::Busy)));
    let both = futures::future::join(fixture.submit(2, 1), fixture.submit(3, 1)).await;
    assert!(matches!(both, (Err(NodeError::Busy), Err(NodeError::Busy))));
    assert_eq!((fixture.passes().len(), fixture.waiting()), (0, 0));
}
