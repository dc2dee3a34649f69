//! The connection to one address. The address belongs to a node, or to a Service with several
//! nodes.

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

/// Time limit for a connection, TLS handshake included. After it the next node is tried.
const CONNECT: Duration = Duration::from_secs(3);
/// A connection is closed if a node answers no ping for this long during a call.
const PING: Duration = Duration::from_secs(5);
/// Largest message that the client accepts. Nodes send much smaller ones.
const MAX_MESSAGE: usize = 16 << 20;
/// Flow-control window of a stream. An answer or a page of rows fits into it.
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
    /// Prepares a connection. It is established on first use and driven by `tasks`.
    ///
    /// # Errors
    /// The endpoint cannot be used.
    pub(super) fn new(
        url: &NodeUrl,
        tls: &Arc<ClientConfig>,
        credentials: &Credentials,
        tasks: &Tasks,
    ) -> Result<Self, CallError> {
        let dialer = Dialer::new(url.uri(), tls, credentials)?;
        // tonic receives the address with scheme http, because the dialer adds TLS itself. Requests
        // name the original address.
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

    /// A client that uses the current connection.
    pub(super) fn client(&self) -> NodeClient {
        self.lock().clone()
    }

    /// Makes later calls use a new connection; calls in progress keep theirs. This is called after
    /// a failure: a Service chooses a node per connection, so a client that keeps its connection
    /// stays with a node that cannot answer.
    pub(super) fn reconnect(&self) {
        *self.lock() = connect(&self.endpoint, &self.dialer, self.bearer.clone());
    }

    fn lock(&self) -> MutexGuard<'_, NodeClient> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(endpoint: &Endpoint, dialer: &Dialer, bearer: Bearer) -> NodeClient {
    // This timeout covers the dialer and so the TLS handshake. It is needed because the kernel
    // accepts connections for a process that hangs.
    let channel = endpoint.connect_with_connector_lazy(dialer.clone());
    let client = QueryClient::with_interceptor(channel, bearer);
    client.max_decoding_message_size(MAX_MESSAGE)
}
