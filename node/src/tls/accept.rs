//! The accept loop: TCP, TLS with the material of the moment, and who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{Material, Presented, Tls};

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; who comes later waits in the kernel's queue.
const HANDSHAKES: usize = 256;
/// Pause after a failure of the listener itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; an extension of every request on it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its address.
    pub address: SocketAddr,
    /// What it presented; none when it need not.
    pub presented: Option<Arc<Presented>>,
}

/// A connection after its handshake.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

/// The connections of a listener, until `stop` turns true.
///
/// `config` picks the listener's part of the material; it is asked for each connection anew. A
/// handshake that fails or takes too long concerns nobody else.
pub fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
    stop: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(listen(listener, tls, config, stop, sender));
    ReceiverStream::new(receiver)
}

async fn listen(
    listener: TcpListener,
    tls: Arc<Tls>,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
    mut stop: watch::Receiver<bool>,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
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
        let (material, sender) = (tls.material(), sender.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let shaken = timeout(HANDSHAKE, shake(tcp, address, &material, config)).await;
            match shaken {
                // An error means that the server has stopped.
                Ok(Ok(connection)) => drop(sender.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(%address, %error, "connection refused"),
                Err(_) => tracing::debug!(%address, "handshake too slow"),
            }
        });
    }
}

async fn shake(
    tcp: TcpStream,
    address: SocketAddr,
    material: &Material,
    config: fn(&Material) -> Arc<rustls::ServerConfig>,
) -> io::Result<Connection> {
    // Answers are many small frames: without this the last one waits for the peer's delayed ACK.
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(config(material)).accept(tcp).await?;
    let presented = Presented::new(stream.get_ref().1.peer_certificates(), material.version);
    let caller = Caller { address, presented: presented.map(Arc::new) };
    Ok(Connection { stream, caller })
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
