//! The certificates that nodes present, and the peers that they accept, determined by connecting to
//! them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::ListParams;
use opaque_e2e::harness::namespace::restarts;
use opaque_e2e::harness::{Namespace, product};
use opaque_identity::Leaf;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A node's port for clients (docs/decisions/009).
pub(crate) const CLIENTS: u16 = 7100;
/// A node's port for its peers.
pub(crate) const PEERS: u16 = 7200;
/// How long one connection may take.
const CONNECTION: Duration = Duration::from_secs(10);
/// The beginning of HTTP/2: the preface and empty settings. A peer that is accepted gets a
/// response.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A pod of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) pod: String,
    pub(crate) shard: String,
    uid: String,
    restarts: i32,
    address: IpAddr,
}

impl Node {
    /// All pods of cluster `demo`. Equal to earlier results if no pod was restarted or replaced.
    /// Only in our own cluster are they reachable from here.
    pub(crate) async fn all(namespace: &Namespace) -> Result<Vec<Self>> {
        let pods = ListParams::default().labels(product::NODES);
        namespace.api::<Pod>().list(&pods).await?.iter().map(Self::new).collect()
    }

    fn new(pod: &Pod) -> Result<Self> {
        let status = pod.status.as_ref().context("a pod without status")?;
        let address = status.pod_ip.as_deref().context("a pod without address")?;
        Ok(Self {
            pod: pod.name_any(),
            shard: pod.labels().get("opaque.dev/shard").cloned().unwrap_or_default(),
            uid: pod.uid().unwrap_or_default(),
            restarts: restarts(pod),
            address: address.parse()?,
        })
    }

    /// Name of the Secret with the certificate that the pod's peers see.
    pub(crate) fn secret(&self) -> String {
        format!("demo-shard-{}-tls", self.shard)
    }

    /// Serial number of the certificate that the pod presents on a port.
    pub(crate) async fn shows(&self, port: u16) -> Result<String> {
        let stream = self.connect(port, None).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let leaf = chain.first().with_context(|| format!("{} shows nothing", self.pod))?;
        Ok(Leaf::from_der(leaf)?.serial)
    }

    /// The pod's reaction to a peer with this certificate.
    pub(crate) async fn receives(&self, visitor: &Pair) -> Result<Reception> {
        let mut stream = self.connect(PEERS, Some(visitor)).await?;
        // The pod may have closed the connection already. The reason is in the data to be read.
        let _ = stream.write_all(HELLO).await;
        let _ = stream.flush().await;
        match timeout(CONNECTION, stream.read(&mut [0; 64])).await? {
            Ok(0) => bail!("{} closed the connection without a word", self.pod),
            Ok(_) => Ok(Reception::Accepted),
            Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => Ok(Reception::Refused(*alert)),
                _ => {
                    Err(anyhow!(error).context(format!("{} neither accepts nor refuses", self.pod)))
                }
            },
        }
    }

    async fn connect(&self, port: u16, visitor: Option<&Pair>) -> Result<TlsStream<TcpStream>> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        let mut config = match visitor {
            None => builder.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>()?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(SocketAddr::new(self.address, port));
        let tcp = timeout(CONNECTION, tcp).await??;
        let name = ServerName::try_from("anybody")?;
        let connect = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        Ok(timeout(CONNECTION, connect).await??)
    }
}

/// How a node received a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    /// The node accepted the peer.
    Accepted,
    /// The node ended the handshake with this alert.
    Refused(AlertDescription),
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pair {
    /// The certificate and key in a Secret.
    pub(crate) async fn of(namespace: &Namespace, secret: &str) -> Result<Self> {
        Ok(Self {
            certificate: text(namespace, secret, "tls.crt").await?,
            key: text(namespace, secret, "tls.key").await?,
        })
    }

    /// Serial number of the certificate.
    pub(crate) fn serial(&self) -> Result<String> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        Ok(Leaf::from_der(&der)?.serial)
    }
}

/// Serial number of the certificate in a Secret.
pub(crate) async fn serial(namespace: &Namespace, secret: &str) -> Result<String> {
    Pair::of(namespace, secret).await?.serial()
}

/// A value of a Secret.
pub(crate) async fn text(namespace: &Namespace, secret: &str, key: &str) -> Result<String> {
    let data = namespace.api::<Secret>().get(secret).await?.data;
    let value = data.and_then(|mut data| data.remove(key));
    let value = value.with_context(|| format!("Secret {secret} has no {key}"))?;
    Ok(String::from_utf8(value.0)?)
}

/// Connects to any server, since the test inspects the certificate that it presents.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
