//! Buckets in S3-compatible services, Google Cloud Storage and Azure.
//!
//! Everything that is not in the URL comes from [`Settings`]: the variables that `object_store`
//! reads, such as `AWS_ACCESS_KEY_ID` or `AWS_ENDPOINT_URL`. They are passed as values, so that a
//! table's source can have other credentials than the store.

mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use self::source::Guard;
use crate::egress::Egress;

pub use source::{SignedBy, SourceSettings};

/// Retries of one request. They last about half a minute: longer than a server needs to restart,
/// shorter than a user is willing to wait.
const RETRIES: usize = 8;
const RETRY_TIMEOUT: Duration = Duration::from_secs(45);
/// Longest wait for a connection, and for the next bytes of a response.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Prefix of the variables that hold the credentials of a table's source.
const SOURCE: &str = "SOURCE_";
const ALLOW_HTTP: &str = "AWS_ALLOW_HTTP";
/// Key under which settings keep the authorities of the server. No variable has this name.
const AUTHORITIES: &str = "ca.crt";

/// A kind of object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    S3,
    Gcs,
    Azure,
}

impl Provider {
    /// Prefix of the provider's variables.
    fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_",
            Self::Gcs => "GOOGLE_",
            Self::Azure => "AZURE_",
        }
    }
}

/// A place in a bucket: `s3://bucket/path`, `gs://bucket/path` or `az://container/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    provider: Provider,
    bucket: String,
    path: Path,
}

impl Location {
    /// Parses a URL. Returns `None` if its scheme is not that of a bucket.
    ///
    /// # Errors
    /// A description of what is wrong with the rest of the URL. Credentials in the URL are not
    /// repeated.
    pub fn parse(url: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = url.split_once("://")?;
        let provider = match scheme {
            "s3" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" => Provider::Azure,
            _ => return None,
        };
        Some(Self::of(provider, rest))
    }

    fn of(provider: Provider, rest: &str) -> Result<Self, String> {
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err("credentials belong in the environment, not in the URL".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err("write scheme://bucket/path".to_owned());
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = Path::parse(path).map_err(|error| error.to_string())?;
        Ok(Self { provider, bucket: bucket.to_owned(), path })
    }

    /// The path in the bucket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole bucket. This sends no request.
    ///
    /// # Errors
    /// The settings do not make a client. The text repeats no setting except the endpoint.
    pub fn open(&self, settings: &Settings) -> Result<Arc<dyn ObjectStore>, String> {
        self.open_guarded(settings, None)
    }

    /// Like [`open`](Self::open), for a table's source: the client reaches only the servers that
    /// `egress` allows, and the server that the store's settings name.
    pub fn open_source(
        &self,
        source: &SourceSettings,
        egress: &Egress,
    ) -> Result<Arc<dyn ObjectStore>, String> {
        self.open_guarded(source.settings(), Some(&source.guard(egress)))
    }

    fn open_guarded(
        &self,
        settings: &Settings,
        guard: Option<&Guard>,
    ) -> Result<Arc<dyn ObjectStore>, String> {
        // object_store's HTTP client is built without a TLS provider. An error means that one is
        // installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        };
        // There is no timeout for a whole request, since a large object may take long. The read
        // timeout ends a request whose bytes stop coming.
        let mut options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT);
        if let Some(pem) = settings.authorities() {
            let authorities = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
            if authorities.is_empty() {
                return Err(format!("{AUTHORITIES} holds no certificate in PEM"));
            }
            options = authorities.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        let unusable = |error: object_store::Error| settings.redacted(&error.to_string());
        // The builders of all providers have the same methods, but share no trait.
        macro_rules! client {
            ($builder:ident: $type:ident => $placed:expr) => {{
                let mut $builder = $type::new().with_client_options(options);
                for (name, value) in settings.of(self.provider) {
                    if let Ok(key) = name.to_ascii_lowercase().parse() {
                        $builder = $builder.with_config(key, value);
                    }
                }
                let mut $builder = $placed.with_retry(retry);
                if let Some(guard) = guard {
                    if guard.shared {
                        let store = $builder.clone().build().map_err(unusable)?;
                        $builder = $builder.with_credentials(Arc::clone(store.credentials()));
                    }
                    $builder = $builder.with_http_connector(guard.connector.clone());
                }
                $builder.build().map(|store| Arc::new(store) as _).map_err(unusable)
            }};
        }
        match self.provider {
            Provider::S3 => {
                settings.check_http()?;
                // Epochs depend on conditional puts: only the first writer creates an object.
                let puts = S3ConditionalPut::ETagMatch;
                client!(builder: AmazonS3Builder => {
                    builder.with_bucket_name(&self.bucket).with_conditional_put(puts)
                })
            }
            Provider::Gcs => {
                client!(builder: GoogleCloudStorageBuilder => builder.with_bucket_name(&self.bucket))
            }
            Provider::Azure => {
                client!(builder: MicrosoftAzureBuilder => builder.with_container_name(&self.bucket))
            }
        }
    }
}

/// Variables that describe how a bucket is reached. `Debug` shows their names, not their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// The settings from this process's variables.
    pub fn from_env() -> Self {
        // Variables that are not UTF-8 are none of object_store's.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::new(std::env::vars_os().filter_map(text))
    }

    /// Settings from names and values. Names that no provider uses are dropped. White space around
    /// a value is removed, such as the newline at the end of a file from which a Secret was
    /// created.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let known = |name: &str| {
            let name = name.strip_prefix(SOURCE).unwrap_or(name);
            ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))
        };
        let variables = variables.into_iter().filter(|(name, _)| known(name));
        Self(variables.map(|(name, value)| (name, value.trim().to_owned())).collect())
    }

    /// These settings with authorities of the server in PEM, in addition to the system's
    /// authorities.
    #[must_use]
    pub(crate) fn with_authorities(mut self, pem: String) -> Self {
        self.0.insert(AUTHORITIES.to_owned(), pem);
        self
    }

    fn authorities(&self) -> Option<&str> {
        self.0.get(AUTHORITIES).map(String::as_str)
    }

    /// These settings, completed by those in `others` that are missing here.
    #[must_use]
    pub(crate) fn over(self, others: Self) -> Self {
        let mut all = others.0;
        all.extend(self.0);
        Self(all)
    }

    fn of(&self, provider: Provider) -> impl Iterator<Item = (&str, &str)> {
        let family = provider.variables();
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(move |(name, _)| name.starts_with(family))
    }

    /// Refuses an endpoint without TLS unless it is explicitly allowed. object_store would refuse
    /// it as well, with a less helpful error.
    fn check_http(&self) -> Result<(), String> {
        let allowed =
            self.0.get(ALLOW_HTTP).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let mut endpoints =
            self.of(Provider::S3).filter(|(name, _)| name.starts_with("AWS_ENDPOINT"));
        match endpoints.find(|(_, value)| value.starts_with("http://")) {
            Some((name, value)) if !allowed => Err(format!(
                "{name} is {value}, which is not encrypted: use https, or set {ALLOW_HTTP}=true"
            )),
            _ => Ok(()),
        }
    }

    /// Replaces the values of variables that may be secret in a text.
    fn redacted(&self, text: &str) -> String {
        let secret = |name: &str| {
            let name = name.strip_prefix(SOURCE).unwrap_or(name);
            !source::is_place(name)
        };
        let secrets = self.0.iter().filter(|(name, value)| secret(name) && value.len() > 3);
        secrets.fold(text.to_owned(), |text, (name, value)| {
            text.replace(value.as_str(), &format!("<{name}>"))
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
