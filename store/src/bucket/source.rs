//! A table's source in a bucket: which credentials read it, and which servers they may reach.
//!
//! The author of a table chooses its source and the source's Secret, but not the cluster. A source
//! is therefore read with the credentials of its own Secret, or unsigned, unless the cluster's
//! owner shares the store's credentials. A source's settings cannot name a file of the pod, a
//! server that issues credentials, or a proxy.

use std::collections::BTreeMap;

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::{AUTHORITIES, CONNECT_TIMEOUT, Location, Provider, READ_TIMEOUT, SOURCE, Settings};
use crate::egress::{Connector, Egress};

/// Variables that name the server.
const SERVERS: [&str; 7] = [
    "AWS_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AZURE_ENDPOINT",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_BASE_URL",
];
/// Suffix of the variables that allow requests without TLS.
const ALLOW_HTTP: &str = "_ALLOW_HTTP";
/// Variables in addition to [`SERVERS`] that are not credentials.
const PLACES: [&str; 3] = ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"];

/// Credentials with which a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// The credentials in the source's own Secret.
    Source,
    /// The store's credentials, or the identity of the pod.
    Store,
    /// No credentials: requests are not signed.
    Nobody,
}

/// How to reach a source in a bucket.
#[derive(Debug)]
pub struct SourceSettings {
    settings: Settings,
    signed_by: SignedBy,
    /// Servers of the store that the source uses too.
    trusted: Vec<String>,
}

impl Settings {
    /// The settings for a table's source: the variables that begin with `SOURCE_`, and the store's
    /// servers and regions where the source names none. The store's credentials are used only if
    /// they are `shared` and the source has no variables itself. They are never mixed with the
    /// source's.
    pub fn of_source(&self, location: &Location, shared: bool) -> SourceSettings {
        let provider = location.provider;
        let family = provider.variables();
        let prefixed = self.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(SOURCE).filter(|name| name.starts_with(family))?;
            Some((name, value))
        });
        let (mut own, mut any, mut signed) = (BTreeMap::new(), false, false);
        for (name, value) in prefixed {
            any = true;
            match Use::of(provider, name) {
                Some(of) => {
                    signed |= of == Use::Credential;
                    own.insert(name.to_owned(), value.clone());
                }
                None => tracing::warn!(name, "ignored a variable that a source may not have"),
            }
        }
        let signed_by = match (signed, any) {
            (true, _) => SignedBy::Source,
            (false, false) if shared => SignedBy::Store,
            (false, _) => SignedBy::Nobody,
        };
        let elsewhere = own.keys().any(|name| SERVERS.contains(&name.as_str()));
        let ours = self.of(provider).filter(|(name, _)| match signed_by {
            SignedBy::Store => true,
            SignedBy::Source | SignedBy::Nobody => {
                is_place(name) && !(elsewhere && is_server(name))
            }
        });
        let mut all: BTreeMap<String, String> =
            ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let servers = all.iter().filter(|(name, _)| SERVERS.contains(&name.as_str()));
        let trusted = servers.map(|(_, server)| server.clone()).collect();
        all.extend(own);
        if let (Some(pem), false) = (self.authorities(), elsewhere) {
            all.insert(AUTHORITIES.to_owned(), pem.to_owned());
        }
        if signed_by == SignedBy::Nobody {
            all.insert(format!("{family}SKIP_SIGNATURE"), "true".to_owned());
        }
        SourceSettings { settings: Self(all), signed_by, trusted }
    }
}

impl SourceSettings {
    /// Whose credentials sign the requests.
    pub fn signed_by(&self) -> SignedBy {
        self.signed_by
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Limits requests for a source to what `egress` allows and to the store's server.
    pub(super) fn guard(&self, egress: &Egress) -> Guard {
        let egress = egress.trusting(self.trusted.iter().map(String::as_str));
        let connector = Connector {
            egress,
            authorities: self.settings.authorities().map(str::to_owned),
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
        };
        Guard { connector, shared: self.signed_by == SignedBy::Store }
    }
}

/// Limits a bucket's client to the servers at which a source may be.
///
/// The store's credentials may come from an address that is forbidden to sources, such as the
/// cloud's metadata server. A separate client fetches them, configured by the store's settings
/// only.
pub(super) struct Guard {
    pub(super) connector: Connector,
    /// Whether the store's credentials are used.
    pub(super) shared: bool,
}

/// Purpose of a variable of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Credential,
    /// Where the bucket is, and how requests for it are made.
    Place,
}

impl Use {
    /// `None` for variables that a source may not have. This includes variables that later versions
    /// of `object_store` add.
    fn of(provider: Provider, name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        match provider {
            Provider::S3 => Self::of_s3(name.parse().ok()?),
            Provider::Gcs => Self::of_gcs(name.parse().ok()?),
            Provider::Azure => Self::of_azure(name.parse().ok()?),
        }
    }

    fn of_s3(key: AmazonS3ConfigKey) -> Option<Self> {
        use AmazonS3ConfigKey as Key;
        match key {
            Key::AccessKeyId | Key::SecretAccessKey | Key::Token => Some(Self::Credential),
            Key::Region
            | Key::DefaultRegion
            | Key::Endpoint
            | Key::S3Endpoint
            | Key::VirtualHostedStyleRequest
            | Key::S3Express
            | Key::UnsignedPayload
            | Key::Checksum
            | Key::RequestPayer
            | Key::SkipSignature
            | Key::Encryption(_) => Some(Self::Place),
            Key::Client(key) => Self::of_client(key),
            _ => None,
        }
    }

    fn of_gcs(key: GoogleConfigKey) -> Option<Self> {
        use GoogleConfigKey as Key;
        match key {
            Key::ServiceAccountKey | Key::BearerToken => Some(Self::Credential),
            Key::BaseUrl | Key::SkipSignature => Some(Self::Place),
            Key::Client(key) => Self::of_client(key),
            _ => None,
        }
    }

    fn of_azure(key: AzureConfigKey) -> Option<Self> {
        use AzureConfigKey as Key;
        match key {
            Key::AccessKey | Key::ClientSecret | Key::SasKey | Key::Token => Some(Self::Credential),
            Key::AccountName
            | Key::ClientId
            | Key::AuthorityId
            | Key::AuthorityHost
            | Key::Endpoint
            | Key::EncryptionKey
            | Key::SkipSignature => Some(Self::Place),
            Key::Client(key) => Self::of_client(key),
            _ => None,
        }
    }

    fn of_client(key: ClientConfigKey) -> Option<Self> {
        match key {
            ClientConfigKey::AllowHttp | ClientConfigKey::AllowInvalidCertificates => {
                Some(Self::Place)
            }
            _ => None,
        }
    }
}

/// Whether a variable names the server, or allows requests to it without TLS.
fn is_server(name: &str) -> bool {
    SERVERS.contains(&name) || name.ends_with(ALLOW_HTTP)
}

/// Whether a variable is not a credential. A source's value may then be used together with the
/// store's.
pub(super) fn is_place(name: &str) -> bool {
    is_server(name) || PLACES.contains(&name)
}

#[cfg(test)]
mod tests;
