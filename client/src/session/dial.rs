//! A TLS connection to one node that cannot be linked to the client's next connection.
//!
//! **Why not tonic's own TLS.** tonic's TLS resumes sessions and offers no switch for that. A
//! ticket from one connection, presented on the next, tells a server that both connections belong
//! to one client, whatever their addresses. In addition, tonic does not report when the last byte
//! of a connection has been sent, which [`Tasks`] does.

use std::{
    error::Error,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::codegen::{Service, http::Uri};

use super::{CallError, chain};
use crate::profile::credentials::Credentials;

/// The protocol that both ends must negotiate in the handshake.
const H2: &[u8] = b"h2";

type BoxError = Box<dyn Error + Send + Sync>;

/// TLS settings of a session. It trusts the CA in `ca_pem`, or the system's root certificates if
/// that is `None`, and presents the certificate of `credentials`.
///
/// # Errors
/// There is no CA, or a certificate cannot be used.
pub(super) fn tls_config(
    ca_pem: Option<&[u8]>,
    credentials: &Credentials,
) -> Result<Arc<ClientConfig>, CallError> {
    let provider = CryptoProvider::get_default().cloned();
    let provider = provider.unwrap_or_else(|| Arc::new(ring::default_provider()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| setup(&error))?
        .with_root_certificates(roots(ca_pem)?);
    let mut config = match credentials.identity() {
        Some((certificates, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| setup(&error))?;
            let own = builder.with_client_auth_cert(parsed(certificates)?, key);
            own.map_err(|error| setup(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![H2.to_vec()];
    // Disables resumption by ticket, by TLS 1.2 session identifier, and with it early data.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

fn roots(ca_pem: Option<&[u8]>) -> Result<RootCertStore, CallError> {
    let mut roots = RootCertStore::empty();
    let (certificates, missing) = match ca_pem {
        Some(pem) => (parsed(pem)?, "the CA given holds no PEM certificate"),
        None => {
            let certificates = rustls_native_certs::load_native_certs().certs;
            (certificates, "the system trusts no CA: name the cluster's")
        }
    };
    // With an empty list of roots, every node's certificate would seem to be signed by an unknown
    // CA.
    if certificates.is_empty() {
        return Err(CallError::Setup { reason: missing.to_owned() });
    }
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

fn parsed(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CallError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>();
    certificates.map_err(|error| setup(&error))
}

fn setup(error: &(dyn Error + 'static)) -> CallError {
    CallError::Setup { reason: chain(error) }
}

/// Connects to the address of a URI and requires a certificate for `name`.
#[derive(Clone)]
pub(super) struct Dialer {
    tcp: HttpConnector,
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Dialer {
    /// Requires the name in `credentials`, or else the host of `uri`.
    ///
    /// # Errors
    /// The name is neither a DNS name nor an IP address.
    pub(super) fn new(
        uri: &Uri,
        tls: &Arc<ClientConfig>,
        credentials: &Credentials,
    ) -> Result<Self, CallError> {
        // A URI encloses an IPv6 address in brackets.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = credentials.server_name().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| setup(&error))?;
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        Ok(Self { tcp, tls: Arc::clone(tls).into(), name })
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(ready!(self.tcp.poll_ready(context))?))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (tcp, tls, name) = (self.tcp.call(uri), self.tls.clone(), self.name.clone());
        Box::pin(async move {
            let stream = tls.connect(name, tcp.await?.into_inner()).await?;
            if stream.get_ref().1.alpn_protocol() != Some(H2) {
                return Err(io::Error::other("the server does not speak HTTP/2").into());
            }
            Ok(TokioIo::new(stream))
        })
    }
}

/// The tasks that drive a session's connections. The task of a connection ends after its close has
/// been sent: GOAWAY, close_notify and the end of the TCP stream.
#[derive(Clone, Default)]
pub(super) struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Waits until all tasks have ended. After `within` it aborts the rest, so that a node that
    /// stops reading cannot keep its connection open.
    pub(super) async fn end(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut tasks = mem::take(&mut *self.lock());
        while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut tasks = self.lock();
        // Each request has a task as well, so finished tasks are removed to keep the set small.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}
