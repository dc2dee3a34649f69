//! A node's end of a connection. It records everything that arrives, and the close.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use rustls::HandshakeKind;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// What a node sees of a client, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A connection begins.
    Began(HandshakeKind),
    /// A request: its method and sizes.
    Request(String),
    /// The connection is closed, by GOAWAY, by close_notify or by the end of TCP. Which of them a
    /// node handles first depends on timing.
    Closed,
}

pub(crate) struct Watched {
    stream: TlsStream<TcpStream>,
    events: Arc<Mutex<Vec<Event>>>,
    ended: bool,
}

impl Watched {
    pub(crate) fn new(stream: TlsStream<TcpStream>, events: Arc<Mutex<Vec<Event>>>) -> Self {
        let kind = stream.get_ref().1.handshake_kind().unwrap();
        events.lock().unwrap().push(Event::Began(kind));
        Self { stream, events, ended: false }
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.events.lock().unwrap().push(Event::Closed);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end();
    }
}

impl Connected for Watched {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
            self.end();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Watched {
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
}
