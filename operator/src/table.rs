//! The controller of OpaqueTables.

use std::sync::Arc;

use tokio::sync::watch;

use crate::context::Context;
use crate::error::Error;

/// Runs until `stop` is true.
///
/// # Errors
/// When it cannot run at all.
pub async fn controller(
    _context: Arc<Context>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let _ = stop.wait_for(|stop| *stop).await;
    Ok(())
}
