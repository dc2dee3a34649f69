//! The types of planning: the desired state, the observed state, and the writes.

use std::collections::{BTreeMap, BTreeSet};

use opaque_crds::OpaqueCluster;
use opaque_crds::cluster::IssuerReference;
use time::OffsetDateTime;

use super::error::CertificateError;
use super::schedule::Schedule;
use super::x509::{Certificate, Sensitive, serial};
use crate::duration;
use crate::kube::Activity;

/// Trust domain in the URI of a node.
pub(crate) const DOMAIN: &str = "opaque.dev";
/// On an OpaqueCluster, a new value requests new authorities. On an authority's Secret, it is the
/// value for which the authority was created.
pub(super) const ROTATE: &str = "opaque.dev/rotate-ca";
/// On an authority's Secret: the step of a change of authorities.
pub(crate) const STEP: &str = "opaque.dev/ca-change";
/// On a certificate's Secret: serial numbers that the issuer has used for it, newest first.
pub(crate) const SERIALS: &str = "opaque.dev/serials";

/// Keys of the trust ConfigMap.
pub(crate) const PEER_CA: &str = "peer-ca.crt";
/// Revocation lists of the authorities in [`PEER_CA`].
pub(crate) const PEER_CRL: &str = "peer-ca.crl";
/// The authorities that clients trust.
pub(crate) const SERVER_CA: &str = "server-ca.crt";
/// Serial numbers of revoked client certificates, one per line.
pub(crate) const CLIENTS_REVOKED: &str = "clients-ca.revoked";

/// The desired certificates of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Namespace of the cluster.
    pub namespace: String,
    /// Its name.
    pub cluster: String,
    /// Number of shards.
    pub shards: i32,
    /// Number of pods per shard.
    pub replicas: i32,
    /// Lifetimes of certificates.
    pub schedule: Schedule,
    /// Serial numbers of revoked node certificates.
    pub revoked: BTreeSet<String>,
    /// Serial numbers of revoked client certificates.
    pub clients_revoked: BTreeSet<String>,
    /// Value of [`ROTATE`].
    pub rotate: Option<String>,
    /// DNS domain of the Kubernetes cluster.
    pub domain: String,
    /// Additional DNS names of the server.
    pub dns_names: Vec<String>,
    /// The issuer of cert-manager, if it signs.
    pub issuer: Option<IssuerReference>,
}

impl Wanted {
    /// The certificates that an OpaqueCluster requires, at its accepted size.
    ///
    /// # Errors
    /// A duration is invalid.
    pub(crate) fn new(
        cluster: &OpaqueCluster,
        shards: i32,
        replicas: i32,
        domain: &str,
    ) -> Result<Self, CertificateError> {
        let tls = &cluster.spec.tls;
        let read = |field, value: &String| {
            let error = || CertificateError::Duration { field, value: value.clone() };
            duration::parse(value).ok_or_else(error)
        };
        let annotations = cluster.metadata.annotations.as_ref();
        Ok(Self {
            namespace: cluster.metadata.namespace.clone().unwrap_or_default(),
            cluster: cluster.metadata.name.clone().unwrap_or_default(),
            shards,
            replicas,
            schedule: Schedule {
                duration: read("duration", &tls.duration)?,
                renew_before: read("renewBefore", &tls.renew_before)?,
            },
            revoked: tls.revoked_serials.iter().map(|text| serial(text)).collect(),
            clients_revoked: cluster
                .spec
                .client_auth
                .revoked_serials
                .iter()
                .map(|text| serial(text))
                .collect(),
            rotate: annotations.and_then(|annotations| annotations.get(ROTATE)).cloned(),
            domain: domain.to_owned(),
            dns_names: tls.dns_names.clone(),
            issuer: tls.issuer_ref.clone(),
        })
    }

    /// The desired value of [`CLIENTS_REVOKED`]. It exists in every mode of `clientAuth`: without
    /// it, pods that mount it would receive no updates of any file.
    pub(crate) fn clients_revoked(&self) -> (String, String) {
        let lines = self.clients_revoked.iter().map(|serial| format!("{serial}\n"));
        (CLIENTS_REVOKED.to_owned(), lines.collect())
    }
}

/// Data and annotations of a Secret.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    data: BTreeMap<String, Sensitive>,
    /// Annotations under `opaque.dev/`.
    pub annotations: BTreeMap<String, String>,
}

impl Contents {
    /// The data.
    pub(crate) fn data(&self) -> &BTreeMap<String, Sensitive> {
        &self.data
    }

    /// One value.
    pub(crate) fn get(&self, key: &str) -> Option<&Sensitive> {
        self.data.get(key)
    }

    /// Sets one value.
    pub(crate) fn set(&mut self, key: &str, value: Sensitive) {
        self.data.insert(key.into(), value);
    }

    /// One value as text; empty if it is absent or not text.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Sensitive::text).unwrap_or_default()
    }

    /// The certificate in `tls.crt`.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        Certificate::first(self.text("tls.crt"))
    }

    /// Serial numbers that the certificate's issuer has used for this Secret, newest first.
    pub(crate) fn serials(&self) -> Vec<String> {
        let list = self.annotations.get(SERIALS).map(String::as_str).unwrap_or_default();
        list.split(',').filter(|entry| !entry.is_empty()).map(serial).collect()
    }
}

/// A running node, according to its reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pod.
    pub pod: String,
    /// Its shard.
    pub shard: Option<i32>,
    /// Digest of the `peer-ca.crt` that it has loaded.
    pub trust: Option<String>,
    /// Serial number of the certificate that it has loaded.
    pub certificate: Option<String>,
    /// Whether it refuses certificates of authorities without a revocation list.
    pub revocation: bool,
}

/// A `Certificate` of cert-manager.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Issuance {
    /// Its `spec`.
    pub spec: serde_json::Value,
    /// Whether its condition `Ready` is true for the current generation.
    pub ready: bool,
    /// The message of that condition.
    pub message: String,
}

/// The observed state.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    /// The cluster's Secrets by name: authorities and certificates.
    pub secrets: BTreeMap<String, Contents>,
    /// Data of the trust ConfigMap.
    pub trust: BTreeMap<String, String>,
    /// The running nodes.
    pub members: Vec<Member>,
    /// `Certificate`s of cert-manager by name; `None` if their kind does not exist.
    pub issuances: Option<BTreeMap<String, Issuance>>,
}

impl Facts {
    /// One value of the trust ConfigMap; empty if it is absent.
    pub(crate) fn trusted(&self, key: &str) -> &str {
        self.trust.get(key).map(String::as_str).unwrap_or_default()
    }
}

/// One write. Writes are performed in order, and planning can continue from the state after each.
#[derive(Clone)]
pub(crate) enum Write {
    /// Create or replace a Secret of type `kubernetes.io/tls`.
    Secret {
        /// Its name.
        name: String,
        /// Its complete contents.
        contents: Contents,
    },
    /// Create or replace the trust ConfigMap.
    Trust(BTreeMap<String, String>),
    /// Create or replace a `Certificate` of cert-manager.
    Issuance {
        /// Its name.
        name: String,
        /// Its spec.
        spec: serde_json::Value,
    },
    /// Delete a `Certificate` of cert-manager; its Secret stays.
    DeleteIssuance(String),
    /// Delete a Secret.
    DeleteSecret(String),
}

/// The writes, and the state after them.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// When to plan again if nothing changes before.
    pub next: OffsetDateTime,
    /// Whether every certificate exists and is valid.
    pub ready: bool,
    /// The reason for the state, as one word.
    pub reason: &'static str,
    /// The reason for people.
    pub message: String,
    /// Earliest end of a certificate or of its authority.
    pub not_after: Option<OffsetDateTime>,
    /// Earliest end of a revocation list.
    pub lists_not_after: Option<OffsetDateTime>,
    /// A change of authorities in progress.
    pub progress: Option<Activity>,
    /// Whether nodes can require a revocation list for every authority.
    pub revocation: bool,
}

/// Digest of a trust bundle, in the form that nodes report.
pub(super) fn digest(bundle: &str) -> String {
    blake3::hash(bundle.as_bytes()).to_hex().to_string()
}

/// States which members a step waits for, three by name, and why.
pub(crate) fn waiting(members: &[&Member], what: &str) -> Option<String> {
    let named: Vec<&str> = members.iter().take(3).map(|member| member.pod.as_str()).collect();
    let more = match members.len() {
        0 => return None,
        count @ 1..=3 => return Some(format!("pod{} {}: {what}", plural(count), named.join(", "))),
        count => count - named.len(),
    };
    Some(format!("pods {} and {more} more: {what}", named.join(", ")))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The progress of a change of authorities, for the status.
pub(crate) fn activity(step: &str, blocked_by: Option<String>) -> Activity {
    Activity { name: "CertificateAuthority", step: step.to_owned(), blocked_by }
}
