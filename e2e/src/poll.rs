//! Waiting with a limit.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one attempt may take.
const LOOK: Duration = Duration::from_secs(10);

/// Repeats `look` until it returns a value. Returns that value with the time that it took.
///
/// `what` is a sentence that is true once there is a value. It completes the error "still waiting
/// until ...".
///
/// A failed attempt does not end the wait, since an API server may just be restarting. The last
/// failure is reported when `limit` is over.
pub async fn until<T, F, L>(what: &str, limit: Duration, mut look: L) -> Result<(T, Duration)>
where
    L: FnMut() -> F,
    F: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    let mut last = anyhow!("it is not so");
    loop {
        match timeout(LOOK, look()).await {
            Ok(Ok(Some(found))) => return Ok((found, start.elapsed())),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = error,
            Err(_) => last = anyhow!("no answer within {LOOK:?}"),
        }
        if start.elapsed() > limit {
            return Err(last.context(format!("after {limit:?} still waiting until {what}")));
        }
        sleep(PAUSE).await;
    }
}
