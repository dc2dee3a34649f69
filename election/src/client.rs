//! Clients of the Kubernetes API.

use std::time::Duration;

use kube::{Client, Config};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that reports a failed request at once: for Leases, whose holder decides by its own
/// clock when to try again and when to stop. By default kube repeats a request for minutes.
///
/// # Errors
/// When the configuration makes no client, for example for a damaged certificate.
pub fn without_retries(config: &Config) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config)
}
