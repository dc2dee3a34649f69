//! The way to one address, which is a node's or a Service's with several nodes behind it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opaque_proto::v1::query_client::QueryClient;
use rustls::ClientConfig;
use tonic::{
    codegen::http::uri::{Scheme, Uri},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::CallError;
use super::dial::{Dialer, Tasks};
use crate::profile::NodeUrl;
use crate::profile::credentials::{Bearer, Credentials};

/// A node that has not accepted a connection within this time, TLS included, is passed over.
const CONNECT: Duration = Duration::from_secs(3);
/// A node that answers no ping for this long, while a call runs, is given up.
const PING: Duration = Duration::from_secs(5);
/// Largest message accepted; nodes send far smaller ones.
const MAX_MESSAGE: usize = 16 << 20;
/// Window of a stream: an answer or a page of rows in flight.
const STREAM_WINDOW: u32 = 4 << 20;

/// A client of one node.
pub type NodeClient = QueryClient<InterceptedService<Channel, Bearer>>;

/// An address and the connection to it.
pub(super) struct Node {
    url: NodeUrl,
    endpoint: Endpoint,
    dialer: Dialer,
    bearer: Bearer,
    client: Mutex<NodeClient>,
}

impl Node {
    /// Prepares a connection, which is made on first use and driven by `tasks`.
    ///
    /// # Errors
    /// When `tls` is not to be used.
    pub(super) fn new(
        url: &NodeUrl,
        tls: &Arc<ClientConfig>,
        credentials: &Credentials,
        tasks: &Tasks,
    ) -> Result<Self, CallError> {
        let dialer = Dialer::new(url.uri(), tls, credentials)?;
        // What tonic dials has no TLS of tonic's; what requests name is the address as it is.
        let mut dialled = url.uri().clone().into_parts();
        dialled.scheme = Some(Scheme::HTTP);
        let dialled = Uri::from_parts(dialled)
            .map_err(|error| CallError::Setup { reason: error.to_string() })?;
        let endpoint = Endpoint::from(dialled)
            .origin(url.uri().clone())
            .executor(tasks.clone())
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(2 * STREAM_WINDOW);
        let bearer = credentials.bearer();
        let client = Mutex::new(connect(&endpoint, &dialer, bearer.clone()));
        Ok(Self { url: url.clone(), endpoint, dialer, bearer, client })
    }

    pub(super) fn url(&self) -> &NodeUrl {
        &self.url
    }

    /// A client on the present connection.
    pub(super) fn client(&self) -> NodeClient {
        self.lock().clone()
    }

    /// Has later calls make another connection; those in progress keep theirs. For after a failure: a Service chooses
    /// a node for each connection, and whoever stays on one stays with a node that cannot answer.
    pub(super) fn reconnect(&self) {
        *self.lock() = connect(&self.endpoint, &self.dialer, self.bearer.clone());
    }

    fn lock(&self) -> MutexGuard<'_, NodeClient> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(endpoint: &Endpoint, dialer: &Dialer, bearer: Bearer) -> NodeClient {
    // The timeout is around the dialer and covers the TLS handshake too: the kernel of a node that
    // hangs still accepts.
    let channel = endpoint.connect_with_connector_lazy(dialer.clone());
    let client = QueryClient::with_interceptor(channel, bearer);
    client.max_decoding_message_size(MAX_MESSAGE)
}
