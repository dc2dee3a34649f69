//! Authorities, certificates and a node's directory, created for tests.

use std::path::Path;
use std::sync::Arc;

use opaque_identity::{Extension, OID, shard_name};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

use crate::config::{ClientAuth, Revocation};
use crate::tls::{Settings, Tls, TlsError};

pub(super) const CLUSTER: &str = "spiffe://opaque.dev/ns/default/opaque/dev";

/// An authority, and its certificate in PEM.
pub(super) struct Authority(Issuer<'static, KeyPair>, pub(super) String);

/// The content of a certificate, where it differs from that of a valid node.
pub(super) struct Leaf {
    pub(super) uri: String,
    pub(super) name: u32,
    pub(super) serial: u8,
    pub(super) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(super) extension: Option<Extension>,
}

impl Leaf {
    pub(super) fn node(shard: u32) -> Self {
        Self {
            uri: format!("{CLUSTER}/shard/{shard}"),
            name: shard,
            serial: 10 + u8::try_from(shard).unwrap(),
            usages: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            extension: Some(Extension::node(shard, "", "").unwrap()),
        }
    }
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    pub(super) fn issue(&self, leaf: &Leaf) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![shard_name(leaf.name)]).unwrap();
        params.subject_alt_names.push(SanType::URI(leaf.uri.as_str().try_into().unwrap()));
        params.extended_key_usages = leaf.usages.clone();
        params.serial_number = Some(SerialNumber::from_slice(&[leaf.serial]));
        params.use_authority_key_identifier_extension = true;
        if let Some(extension) = &leaf.extension {
            let extension = CustomExtension::from_oid_content(OID, extension.to_der());
            params.custom_extensions.push(extension);
        }
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A list of revoked serial numbers, valid until the first day of a year.
    pub(super) fn list(&self, revoked: &[u8], until: i32) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

/// A node's directory.
pub(super) struct Dir(pub(super) TempDir);

impl Dir {
    pub(super) fn new(authority: &Authority, leaf: &Leaf) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        dir.leaf(authority, leaf);
        dir.write("peer-ca.crt", &authority.1);
        let (certificate, key) = authority.issue(leaf);
        dir.write("client.crt", &certificate);
        dir.write("client.key", &key);
        dir
    }

    pub(super) fn leaf(&self, authority: &Authority, leaf: &Leaf) {
        let (certificate, key) = authority.issue(leaf);
        self.write("peer.crt", &certificate);
        self.write("peer.key", &key);
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn settings(&self, shard: u32, revocation: Revocation) -> Settings {
        let dir = self.path().to_owned();
        Settings { dir, shard, revocation, client_auth: ClientAuth::None }
    }

    pub(super) fn open(&self, shard: u32) -> Result<Arc<Tls>, TlsError> {
        Tls::open(self.settings(shard, Revocation::None))
    }

    pub(super) fn strict(&self, shard: u32) -> Result<Arc<Tls>, TlsError> {
        Tls::open(self.settings(shard, Revocation::Required))
    }
}
