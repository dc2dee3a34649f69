//! Checks whether the store can be read, before a new epoch needs it, and reports that in this
//! node's record.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Lifecycle;

/// Interval at which the store is tried.
const TRY: Duration = Duration::from_secs(60);
/// The same while the store cannot be read.
const TRY_AGAIN: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Tries the store, and reports the result of every request to it, until `stop`.
    pub(super) async fn watch_store(&self, mut stop: watch::Receiver<bool>) {
        let store = self.loader.store();
        let mut trouble = store.trouble();
        let try_reading = async {
            loop {
                store.try_reading().await;
                let fails = store.trouble().borrow().is_some();
                sleep(if fails { TRY_AGAIN } else { TRY }).await;
            }
        };
        let tell = async {
            loop {
                let now = trouble.borrow_and_update().clone();
                match &now {
                    Some(reason) => tracing::warn!(%reason, "the store cannot be read"),
                    None => tracing::debug!("the store can be read"),
                }
                self.state.store(now);
                if trouble.changed().await.is_err() {
                    // A store that is not a bucket reports nothing.
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = try_reading => {}
            () = tell => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}
