//! A connection to a peer, and the certificate that the peer presented on it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use opaque_identity::Identity;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint, Error};

use super::{PeerError, Presented, Tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Age at which a line is replaced. Its connection shows the certificates from when it was made.
const LONGEST: Duration = Duration::from_secs(300);

/// A channel to one replica. It connects at the first call, and again after the connection breaks.
#[derive(Debug, Clone)]
pub struct Line {
    channel: Channel,
    shard: u32,
    /// Version of the material when the line was made.
    version: u64,
    made: Instant,
    answering: Answering,
}

/// The certificates on the last connection; `None` before the first.
type Answering = Arc<Mutex<Option<Arc<Presented>>>>;

impl Line {
    /// A line to a replica of `shard` at `address` (`host:port`).
    ///
    /// # Errors
    /// The address is malformed.
    pub fn new(tls: &Arc<Tls>, shard: u32, address: &str) -> Result<Self, Error> {
        let answering = Answering::default();
        let dialer = Dialer {
            tls: Arc::clone(tls),
            shard,
            address: address.into(),
            answering: Arc::clone(&answering),
        };
        // tonic only sees this scheme. The dialer adds TLS.
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .connect_with_connector_lazy(dialer);
        let version = tls.material().version;
        Ok(Self { channel, shard, version, made: Instant::now(), answering })
    }

    /// The channel for calls.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Whether calls may begin on this line: its material is still in use, and it is not too old. A
    /// query that began on an older line ends there.
    pub fn is_current(&self, tls: &Tls) -> bool {
        self.version == tls.material().version && self.made.elapsed() < LONGEST
    }

    /// The peer that answers on this line, if its certificate is still valid.
    ///
    /// # Errors
    /// [`PeerError::Anonymous`] before the first connection, otherwise why the peer is refused.
    pub fn answering(&self, tls: &Tls) -> Result<Identity, PeerError> {
        let presented = self.answering.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tls.material().answerer(&*presented.ok_or(PeerError::Anonymous)?, self.shard)
    }
}

/// Connects with the material in use.
#[derive(Clone)]
struct Dialer {
    tls: Arc<Tls>,
    shard: u32,
    address: Arc<str>,
    answering: Answering,
}

impl Dialer {
    async fn dial(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let Self { tls, shard, address, answering } = self;
        let material = tls.material();
        let (config, name) = material.dial(shard).map_err(io::Error::other)?;
        let tcp = TcpStream::connect(&*address).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let stream = stream.inspect_err(|error| {
            tracing::debug!(shard, %address, %error, "peer refused");
        })?;
        let presented = Presented::new(stream.get_ref().1.peer_certificates(), material.version);
        *answering.lock().unwrap_or_else(PoisonError::into_inner) = presented.map(Arc::new);
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}
