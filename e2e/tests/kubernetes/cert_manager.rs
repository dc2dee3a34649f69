//! An issuer of cert-manager signs a cluster's certificates. Without cert-manager, the status says
//! what is missing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use opaque_crds::OpaqueCluster;
use opaque_e2e::harness::{self, Faults, Namespace, measured, product};
use opaque_e2e::{cache, poll};
use tokio::time::Instant;

use crate::support::{ANSWER, SQL};
use crate::tls::{CLIENTS, Node, PEERS, serial, text};

const LIMIT: Duration = Duration::from_secs(120);
const ISSUER: (&str, &str) =
    ("  clientAuth:", "  tls: {issuerRef: {name: company}}\n  clientAuth:");
/// A company's authority, and the issuer that signs with it.
const COMPANY: &str = r"
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: company}
spec: {isCA: true, commonName: company, secretName: company, issuerRef: {name: self}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: company}
spec: {ca: {secretName: company}}
";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn an_issuer_of_cert_manager_signs_all_certificates() -> Result<()> {
    harness::run("issuer", async |namespace| {
        // Only in our own cluster, since the test removes cert-manager.
        let faults = Faults::new()?;
        let kinds = cache::kinds_of_cert_manager()?;
        let kinds = kinds.to_str().context("the cache's path is not text")?;
        // An earlier run may have left it in the same cluster.
        namespace.kubectl(&["delete", "--ignore-not-found", "--filename", kinds]).await?;
        product::install(namespace, &[]).await?;
        product::apply_cluster_with(namespace, 2, 1, &[ISSUER]).await?;
        let missing = || async {
            let condition = certificates_ready(namespace).await?;
            Ok(condition.filter(|condition| condition.reason == "CertManagerMissing"))
        };
        let (condition, _) = poll::until("status names cert-manager", LIMIT, missing).await?;
        ensure!(condition.status == "False", "{condition:?}");
        for word in ["Certificate (cert-manager.io/v1)", "install it", "spec.tls.issuerRef"] {
            ensure!(condition.message.contains(word), "{word:?} is not in {condition:?}");
        }
        ensure!(Node::all(namespace).await?.is_empty(), "pods without certificates");

        let start = Instant::now();
        namespace.kubectl(&["apply", "--server-side", "--filename", kinds]).await?;
        namespace
            .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--filename", kinds])
            .await?;
        faults.start("cert-manager").await?;
        namespace.apply(COMPANY).await?;
        product::serves_weather(namespace).await?;
        measured(
            "cert-manager installed to a cluster that serves with its certificates",
            start.elapsed(),
        );
        let (question, _folder) = product::question(namespace, SQL, &[ANSWER]).await?;
        product::ask(&question).await?;

        let condition = certificates_ready(namespace).await?;
        ensure!(condition.is_some_and(|c| c.status == "True" && c.reason == "Issued"));
        let company = text(namespace, "company", "tls.crt").await?;
        let trust = namespace.api::<ConfigMap>().get("demo-trust").await?;
        let trust = trust.data.context("ConfigMap demo-trust is empty")?;
        for key in ["peer-ca.crt", "server-ca.crt"] {
            ensure!(trust.get(key) == Some(&company), "{key} is not the company's authority");
        }
        for node in Node::all(namespace).await? {
            let own = node.secret();
            ensure!(text(namespace, &own, "ca.crt").await? == company, "{own} is of the issuer");
            ensure!(node.shows(PEERS).await? == serial(namespace, &own).await?);
            ensure!(node.shows(CLIENTS).await? == serial(namespace, "demo-server-tls").await?);
        }
        let own = namespace.api::<Secret>().get_opt("demo-peer-ca").await?;
        ensure!(own.is_none(), "an authority of the cluster's own was made");
        Ok(())
    })
    .await
}

async fn certificates_ready(namespace: &Namespace) -> Result<Option<Condition>> {
    let cluster = namespace.api::<OpaqueCluster>().get("demo").await?;
    let conditions = cluster.status.into_iter().flat_map(|status| status.conditions);
    Ok(conditions.into_iter().find(|condition| condition.type_ == "CertificatesReady"))
}
