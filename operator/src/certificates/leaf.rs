//! Certificates of shards and of the server: their required content, and whether a certificate has
//! it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use opaque_crds::names;
use opaque_identity::{Extension, OID, ShardUri, shard_name};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::authority::Authority;
use super::entropy::Entropy;
use super::error::CertificateError;
use super::model::{Contents, DOMAIN, SERIALS, Wanted};
use super::x509::{Certificate, Sensitive, serial};

/// Number of serial numbers of one issuer that a Secret remembers. A node may lag behind by several
/// renewals.
const REMEMBERED: usize = 8;

/// The required content of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Name of its Secret.
    pub secret: String,
    /// DNS names.
    pub names: BTreeSet<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// A node's identity.
    pub uri: Option<String>,
    /// A node's permissions.
    pub extension: Option<Extension>,
    common_name: String,
}

impl Request {
    /// The certificate that a shard's nodes present to each other.
    pub(crate) fn shard(wanted: &Wanted, shard: i32) -> Result<Self, CertificateError> {
        let refuse = |reason: String| CertificateError::Name { shard, reason };
        let Wanted { namespace, cluster, replicas, domain, .. } = wanted;
        let number = u32::try_from(shard).map_err(|error| refuse(error.to_string()))?;
        let uri = ShardUri::new(DOMAIN, namespace, cluster, number)
            .map_err(|error| refuse(error.to_string()))?;
        let extension =
            Extension::node(number, "", "").map_err(|error| refuse(error.to_string()))?;
        let service = names::peer_service(cluster);
        let pods = (0..*replicas).map(|replica| {
            let pod = names::pod(cluster, shard, replica);
            format!("{pod}.{service}.{namespace}.svc.{domain}")
        });
        Ok(Self {
            secret: names::shard_certificate(cluster, shard),
            names: pods.chain([shard_name(number)]).collect(),
            addresses: Vec::new(),
            uri: Some(uri.to_string()),
            extension: Some(extension),
            common_name: format!("opaque shard {shard}"),
        })
    }

    /// The certificate that every node presents to clients.
    pub(crate) fn server(wanted: &Wanted) -> Self {
        let Wanted { namespace, cluster, domain, dns_names, .. } = wanted;
        let (query, peers) = (names::client_service(cluster), names::peer_service(cluster));
        let names = [
            format!("{query}.{namespace}"),
            format!("{query}.{namespace}.svc"),
            format!("{query}.{namespace}.svc.{domain}"),
            format!("*.{peers}.{namespace}.svc.{domain}"),
            "localhost".into(),
            query,
        ];
        Self {
            secret: names::server_certificate(cluster),
            names: names.into_iter().chain(dns_names.iter().cloned()).collect(),
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            uri: None,
            extension: None,
            common_name: "opaque server".into(),
        }
    }

    /// Whether a certificate has exactly this content.
    pub(crate) fn is_said_by(&self, certificate: &Certificate) -> bool {
        let leaf = certificate.leaf();
        let names: BTreeSet<&String> = leaf.dns_names.iter().collect();
        names == self.names.iter().collect()
            && leaf.uris.iter().eq(self.uri.iter())
            && leaf.extension().is_ok_and(|extension| extension == self.extension)
            && certificate.addresses() == self.addresses
            && certificate.purposes() == (true, self.is_client())
    }

    /// Whether its holder also uses it as a client.
    pub(crate) fn is_client(&self) -> bool {
        self.uri.is_some()
    }

    /// Issues the certificate and returns the contents of its Secret. `chain` follows the
    /// certificate in `tls.crt`.
    pub(crate) fn issue(
        &self,
        wanted: &Wanted,
        authority: &Authority,
        chain: Option<&Certificate>,
        before: Option<&Contents>,
        now: OffsetDateTime,
        entropy: &mut dyn Entropy,
    ) -> Result<Contents, CertificateError> {
        let key = entropy.key()?;
        let mut params = self.params()?;
        params.serial_number = Some(entropy.serial()?);
        let end = authority.certificate().not_after();
        (params.not_before, params.not_after) = wanted.schedule.leaf(now, end);
        let make = CertificateError::make("a certificate");
        let pem = params.signed_by(&key, &authority.issuer()?).map_err(make)?.pem();
        let certificate = Certificate::first(&pem).ok_or(CertificateError::NoKey)?;

        let mut serials = vec![certificate.serial()];
        let earlier = before.filter(|before| {
            before.certificate().is_some_and(|c| c.is_signed_by(authority.certificate()))
        });
        serials.extend(earlier.map(Contents::serials).unwrap_or_default());
        serials.truncate(REMEMBERED);

        let mut contents = Contents::default();
        let chain = chain.map(Certificate::pem).unwrap_or_default();
        contents.set("tls.crt", format!("{}{chain}", certificate.pem()).as_str().into());
        contents.set("tls.key", Sensitive::new(key.serialize_pem().into_bytes()));
        contents.set("ca.crt", authority.certificate().pem().into());
        contents.annotations.insert(SERIALS.into(), serials.join(","));
        Ok(contents)
    }

    fn params(&self) -> Result<CertificateParams, CertificateError> {
        let make = || CertificateError::make("a certificate");
        let names: Vec<String> = self.names.iter().cloned().collect();
        let mut params = CertificateParams::new(names).map_err(make())?;
        for address in &self.addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        if let Some(uri) = &self.uri {
            let uri = uri.as_str().try_into().map_err(make())?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if self.is_client() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        if let Some(extension) = &self.extension {
            let extension = CustomExtension::from_oid_content(OID, extension.to_der());
            params.custom_extensions.push(extension);
        }
        Ok(params)
    }
}

/// What is wrong with a stored certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be used: it is missing, unreadable, expired or revoked, its key does not match, or
    /// its authority is not trusted. Replacing it at once loses nothing.
    Dead,
    /// It works, but its content differs from the required content, or it is valid for longer than
    /// permitted.
    Stale,
    /// It works and is due for renewal.
    Due,
}

/// What is wrong with the certificate in a Secret, if anything.
pub(crate) fn examine(
    request: &Request,
    stored: Option<&Contents>,
    wanted: &Wanted,
    trusted: &[&Certificate],
    now: OffsetDateTime,
) -> Result<Certificate, Fault> {
    let stored = stored.ok_or(Fault::Dead)?;
    let certificate = stored.certificate().ok_or(Fault::Dead)?;
    let key = stored.get("tls.key").and_then(Sensitive::key).ok_or(Fault::Dead)?;
    let valid = certificate.not_before() <= now && now < certificate.not_after();
    let revoked = wanted.revoked.contains(&serial(&certificate.leaf().serial));
    let known = trusted.iter().any(|authority| certificate.is_signed_by(authority));
    if !valid || revoked || !known || !certificate.belongs_to(&key) {
        return Err(Fault::Dead);
    }
    if !request.is_said_by(&certificate) || wanted.schedule.is_too_long(&certificate, now) {
        return Err(Fault::Stale);
    }
    if now >= wanted.schedule.renew_at(&certificate, &request.secret) {
        return Err(Fault::Due);
    }
    Ok(certificate)
}
