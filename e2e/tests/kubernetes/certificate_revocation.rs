//! A shard's certificate that is revoked is soon refused by every node, and the shard gets another
//! one. Certificates that never belonged to a node are refused too: of another cluster, and of
//! another authority.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::poll;
use opaque_identity::{Extension, OID, ShardUri, shard_name};
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType,
};
use rustls::AlertDescription;
use serde_json::json;

use crate::support::{ANSWER, SQL};
use crate::tls::{Node, PEERS, Pair, Reception, text};

/// Time in which a node loads changed files (docs/runbooks/certificates.md).
const LIMIT: Duration = Duration::from_secs(120);
const REVOKED: Reception = Reception::Refused(AlertDescription::CertificateRevoked);

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn a_revoked_certificate_is_refused_by_every_node_and_replaced() -> Result<()> {
    harness::run("revocation", async |namespace| {
        // Only in our own cluster, where the test reaches every pod.
        Faults::new()?;
        product::serve(namespace, 2, 1, &[]).await?;
        let nodes = Node::all(namespace).await?;
        let leaked = Pair::of(namespace, "demo-shard-0-tls").await?;
        all_receive(&nodes, &leaked, Reception::Accepted).await?;
        strangers_are_refused(namespace, &nodes).await?;

        // In the format of `openssl x509 -noout -serial`.
        let serial = leaked.serial()?;
        let patch = json!({"spec": {"tls": {"revokedSerials": [serial.to_uppercase()]}}});
        let patch = ["patch", "opaquecluster/demo", "--type=merge", "--patch", &patch.to_string()];
        namespace.kubectl(&patch).await?;
        let refused = || async {
            all_receive(&nodes, &leaked, REVOKED).await?;
            Ok(Some(()))
        };
        let (_, time) = poll::until("every node refuses it", LIMIT, refused).await?;
        measured("certificate revoked to refused by every node", time);

        let replaced = || async {
            let present = Pair::of(namespace, "demo-shard-0-tls").await?;
            for node in nodes.iter().filter(|node| node.shard == "0") {
                ensure!(node.shows(PEERS).await? == present.serial()?, "not loaded yet");
            }
            all_receive(&nodes, &present, Reception::Accepted).await?;
            Ok((present.serial()? != serial).then_some(()))
        };
        let (_, time) = poll::until("the shard shows another one", LIMIT, replaced).await?;
        measured("from then until the shard shows another one, and all accept it", time);
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        let answered = || async { product::ask(&question).await.map(Some) };
        poll::until("a question is answered", LIMIT, answered).await?;
        all_receive(&nodes, &leaked, REVOKED).await?;
        ensure!(Node::all(namespace).await? == nodes, "restarted: {nodes:#?}");
        Ok(())
    })
    .await
}

/// Certificates that are valid except for one thing.
async fn strangers_are_refused(namespace: &Namespace, nodes: &[Node]) -> Result<()> {
    let authority = text(namespace, "demo-peer-ca", "tls.crt").await?;
    let key = KeyPair::from_pem(&text(namespace, "demo-peer-ca", "tls.key").await?)?;
    let issuer = Issuer::from_ca_cert_pem(&authority, key)?;
    let uri = |cluster| ShardUri::new("opaque.dev", namespace.name(), cluster, 0);
    let sibling = issue(&issuer, &uri("demo")?)?;
    all_receive(nodes, &sibling, Reception::Accepted).await?;
    let wrong = Reception::Refused(AlertDescription::CertificateUnknown);
    all_receive(nodes, &issue(&issuer, &uri("other")?)?, wrong).await?;

    // An authority of the same name, with another key.
    let forger = Issuer::from_ca_cert_pem(&authority, KeyPair::generate()?)?;
    let forged = issue(&forger, &uri("demo")?)?;
    for node in nodes {
        let reception = node.receives(&forged).await?;
        ensure!(matches!(reception, Reception::Refused(_)), "{} accepts a forgery", node.pod);
    }
    Ok(())
}

fn issue(issuer: &Issuer<'_, KeyPair>, uri: &ShardUri) -> Result<Pair> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![shard_name(uri.shard())])?;
    params.subject_alt_names.push(SanType::URI(uri.to_string().as_str().try_into()?));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let extension = Extension::node(uri.shard(), "", "").context("no extension")?;
    let extension = CustomExtension::from_oid_content(OID, extension.to_der());
    params.custom_extensions.push(extension);
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

/// Fails unless every node receives a peer in this way.
async fn all_receive(nodes: &[Node], peer: &Pair, wanted: Reception) -> Result<()> {
    for node in nodes {
        let reception = node.receives(peer).await?;
        ensure!(reception == wanted, "{}: {reception:?} instead of {wanted:?}", node.pod);
    }
    Ok(())
}
