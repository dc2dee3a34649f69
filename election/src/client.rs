//! Clients of the Kubernetes API.

use std::time::Duration;

use kube::{Client, Config};

/// Timeout for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that reports a failed request at once. It is meant for Leases: their holder decides by
/// its own clock when to retry and when to stop. By default kube retries a request for minutes.
///
/// # Errors
/// The configuration is not usable, for example because a certificate is damaged.
pub fn without_retries(config: &Config) -> Result<Client, kube::Error> {
    let mut config = config.clone();
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config)
}
