//! A server offers session resumption, as every web server does. Nothing links one connection to
//! the next.

use std::sync::Arc;

use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::Code;

use super::{
    QUICK, Session, ask,
    fake::{Authority, Node, Reply},
    good, url,
    watched::Event,
};

fn handshakes(node: &Node) -> Vec<HandshakeKind> {
    let kind = |event| match event {
        Event::Began(kind) => Some(kind),
        Event::Request(_) | Event::Closed => None,
    };
    node.events().into_iter().filter_map(kind).collect()
}

#[tokio::test]
async fn no_connection_resumes_the_session_of_another() {
    let authority = Authority::new();
    // After the first reply the client makes another connection.
    let node = Node::new([Reply::Refuse(Code::Unavailable, "not-ready"), good(), good()]);
    let urls = [url(authority.serve(&node).await)];
    let session = Session::new(&urls, Some(&authority.pem())).unwrap();
    ask(&session, QUICK).await.unwrap();
    ask(&Session::new(&urls, Some(&authority.pem())).unwrap(), QUICK).await.unwrap();
    assert_eq!(handshakes(&node), [HandshakeKind::Full; 3]);

    // The server resumes sessions for any client that supports it.
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let willing = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(willing));
    for _ in 0..2 {
        let address = urls[0].uri().authority().unwrap().as_str();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        // Its tickets arrive before its first byte.
        stream.read_u8().await.unwrap();
    }
    assert_eq!(handshakes(&node)[3..], [HandshakeKind::Full, HandshakeKind::Resumed]);
}
