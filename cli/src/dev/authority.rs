//! The two CAs of a local cluster, and the certificates that they sign.
//!
//! Clients and peers are separate trust domains: the CA that clients trust never authenticates a
//! node to its peers. The CAs are created once. Certificates are issued at every start, so that
//! they never expire.

use std::{fs, io, path::Path};

use opaque_client::profile::files;
use opaque_identity::{Extension, OID, ShardUri, shard_name};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use super::DevError;

const CA_VALID: Duration = Duration::days(3650);
const CERTIFICATE_VALID: Duration = Duration::days(365);
/// Tolerated clock skew. The clocks of one machine agree, and a step back by this much is harmless.
const SKEW: Duration = Duration::hours(1);

/// Both CAs.
pub(crate) struct Authorities {
    client: Authority,
    peer: Authority,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authorities {
    /// Reads the CAs from a directory, or creates them.
    pub(crate) fn open(dir: &Path) -> Result<Self, DevError> {
        Ok(Self {
            client: Authority::open(dir, "client-ca", "Opaque dev client CA")?,
            peer: Authority::open(dir, "peer-ca", "Opaque dev peer CA")?,
        })
    }

    /// The CA that clients trust.
    pub(crate) fn client_ca_pem(&self) -> &str {
        &self.client.pem
    }

    /// Writes one node's certificates, keys and the peer CA into its directory.
    pub(crate) fn issue(&self, dir: &Path, shard: u32) -> Result<(), DevError> {
        let mut client =
            CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
        client.distinguished_name.push(DnType::CommonName, format!("opaque dev shard {shard}"));
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut peer = CertificateParams::new([shard_name(shard)])?;
        let uri = ShardUri::new("opaque.dev", "default", "dev", shard)?;
        peer.subject_alt_names.push(SanType::URI(uri.to_string().try_into()?));
        let extension = Extension::node(shard, "", "")?.to_der();
        peer.custom_extensions.push(CustomExtension::from_oid_content(OID, extension));
        peer.distinguished_name.push(DnType::CommonName, format!("opaque dev shard {shard}"));
        peer.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.client.sign(dir, "client", client)?;
        self.peer.sign(dir, "peer", peer)?;
        write(&dir.join("peer-ca.crt"), &self.peer.pem)
    }
}

impl Authority {
    fn open(dir: &Path, file: &str, name: &str) -> Result<Self, DevError> {
        let (certificate, key) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        if let (Some(pem), Some(key)) = (read(&certificate)?, read(&key)?) {
            let issuer = Issuer::from_ca_cert_pem(&pem, KeyPair::from_pem(&key)?)?;
            return Ok(Self { pem, issuer });
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = validity(CA_VALID);
        let pair = KeyPair::generate()?;
        let pem = params.self_signed(&pair)?.pem();
        // The certificate is written last: without it, the key is generated again. In the other
        // order a certificate could remain without its key.
        write(&key, &pair.serialize_pem())?;
        write(&certificate, &pem)?;
        Ok(Self { pem, issuer: Issuer::new(params, pair) })
    }

    fn sign(&self, dir: &Path, file: &str, mut params: CertificateParams) -> Result<(), DevError> {
        let pair = KeyPair::generate()?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = validity(CERTIFICATE_VALID);
        let certificate = params.signed_by(&pair, &self.issuer)?;
        write(&dir.join(format!("{file}.key")), &pair.serialize_pem())?;
        write(&dir.join(format!("{file}.crt")), &certificate.pem())
    }
}

fn validity(period: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - SKEW, now + period)
}

fn read(path: &Path) -> Result<Option<String>, DevError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DevError::Files { path: path.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), DevError> {
    files::replace(path, text.as_bytes())
        .map_err(|source| DevError::Files { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn authorities_are_created_once_and_certificates_at_every_start() {
        let dir = tempfile::tempdir().unwrap();
        let (tls, node) = (dir.path().join("tls"), dir.path().join("tls/shard-1-0"));
        let first = Authorities::open(&tls).unwrap();
        first.issue(&node, 1).unwrap();
        let names = ["client.crt", "client.key", "peer.crt", "peer.key", "peer-ca.crt"];
        let read = || names.map(|name| fs::read_to_string(node.join(name)).unwrap());
        let before = read();
        let second = Authorities::open(&tls).unwrap();
        assert_eq!(first.client_ca_pem(), second.client_ca_pem());
        assert_ne!(first.client.pem, first.peer.pem);
        second.issue(&node, 1).unwrap();
        let after = read();
        assert_eq!(before[4], after[4]);
        assert!(before[..4].iter().zip(&after[..4]).all(|(before, after)| before != after));
        for name in names {
            let mode = fs::metadata(node.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&tls).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
