//! The accept loop: TCP, TLS with the material in use, the client's first bytes, and the caller's
//! identity.
//!
//! **Limits.** A silent connection ends when the time for its handshake is over. One address may
//! use only a part of the handshakes, and one client a part of the connections ([`Gate`]). Further
//! connections are closed and counted.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Material, Presented, Tls};
use crate::metrics::{Closed, Metrics};
use crate::tls::{Limits, Permit, Refusal, client_at};

/// Longest handshake, including the client's first bytes.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Concurrent handshakes. Further connections wait in the kernel's queue.
const HANDSHAKES: usize = 1024;
/// Concurrent handshakes of one address.
const HANDSHAKES_OF_ONE: usize = 256;
/// Pause after a failure of the listener, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// The first bytes of a client over HTTP/2.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns the client of a connection.
pub type Naming = Box<dyn Fn(&Caller) -> Arc<str> + Send + Sync>;

/// Limits on the connections of a listener.
pub struct Gate {
    /// For all clients together, and for each.
    pub limits: Limits,
    /// Identifies the client of a connection.
    pub client: Naming,
    /// Counts closed connections.
    pub metrics: Metrics,
}

/// The other end of a connection. An extension of every request on it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Address of the caller.
    pub address: SocketAddr,
    /// The certificates that the caller presented; `None` if it need not.
    pub presented: Option<Arc<Presented>>,
    /// Whether the listener for clients requested a certificate when the caller connected.
    pub asked: bool,
    /// Ends the connection.
    pub hangup: Hangup,
}

/// Ends a connection from outside, with everything that is in progress on it.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<Hung>);

#[derive(Debug, Default)]
struct Hung {
    over: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Hangup {
    /// Ends the connection now.
    pub fn hang_up(&self) {
        self.0.over.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Returns an error if the connection was ended. Otherwise the reader's `context` is woken when
    /// that happens.
    fn check_reader(&self, context: &Context<'_>) -> io::Result<()> {
        self.check(&self.0.reader, context)
    }

    /// The same for the writer.
    fn check_writer(&self, context: &Context<'_>) -> io::Result<()> {
        self.check(&self.0.writer, context)
    }

    fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> io::Result<()> {
        waker.register(context.waker());
        match self.0.over.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// A connection after its handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    /// The part of [`PREFACE`] that the reader has not received yet.
    preface: &'static [u8],
    _place: Permit,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// The connections of a listener, until `stop` turns true.
///
/// `config` selects the listener's part of the material, and is called for each connection. A
/// handshake that fails or takes too long affects no other connection.
pub fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
    gate: Gate,
    stop: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(listen(listener, tls, config, Arc::new(gate), stop, sender));
    ReceiverStream::new(receiver)
}

async fn listen(
    listener: TcpListener,
    tls: Arc<Tls>,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
    gate: Arc<Gate>,
    mut stop: watch::Receiver<bool>,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let shares = Limits::new(HANDSHAKES, HANDSHAKES_OF_ONE, 0);
    loop {
        let accepted = tokio::select! {
            // The semaphore is never closed.
            accepted = async {
                let permit = Arc::clone(&handshakes).acquire_owned().await;
                listener.accept().await.map(|connection| (connection, permit))
            } => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
            () = sender.closed() => return,
        };
        let ((tcp, address), permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(share) = shares.take(&client_at(address.ip()), Instant::now()) else {
            gate.metrics.closed(Closed::Handshakes);
            continue;
        };
        let (material, gate, sender) = (tls.material(), Arc::clone(&gate), sender.clone());
        tokio::spawn(async move {
            let _held = (permit, share);
            let shaken = timeout(HANDSHAKE, shake(tcp, address, &material, config)).await;
            let (stream, caller) = match shaken {
                Ok(Ok(shaken)) => shaken,
                Ok(Err(error)) => {
                    return tracing::debug!(%address, %error, "connection refused");
                }
                Err(_) => {
                    tracing::debug!(%address, "handshake too slow");
                    return gate.metrics.closed(Closed::Silent);
                }
            };
            let place = match gate.limits.take(&(gate.client)(&caller), Instant::now()) {
                Ok(place) => place,
                Err(Refusal::All) => return gate.metrics.closed(Closed::All),
                Err(Refusal::Client) => return gate.metrics.closed(Closed::Client),
            };
            let connection = Connection { stream, caller, preface: PREFACE, _place: place };
            // An error means that the server has stopped.
            drop(sender.send(Ok(connection)).await);
        });
    }
}

async fn shake(
    tcp: TcpStream,
    address: SocketAddr,
    material: &Material,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
) -> io::Result<(TlsStream<TcpStream>, Caller)> {
    // Answers consist of many small frames. Without this, the last one waits for the peer's delayed
    // ACK.
    tcp.set_nodelay(true)?;
    let mut stream = TlsAcceptor::from(config(material)).accept(tcp).await?;
    // The preface is read here, where a timeout applies. HTTP/2 itself would wait for it forever.
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if preface != *PREFACE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
    }
    let presented = Presented::new(stream.get_ref().1.peer_certificates(), material.version);
    let presented = presented.map(Arc::new);
    let (asked, hangup) = (material.asks_clients(), Hangup::default());
    Ok((stream, Caller { address, presented, asked, hangup }))
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.caller.hangup.check_reader(context)?;
        if !self.preface.is_empty() {
            let (now, later) = self.preface.split_at(self.preface.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.preface = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.caller.hangup.check_writer(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.caller.hangup.check_writer(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.caller.hangup.check_writer(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.caller.hangup.check_writer(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
