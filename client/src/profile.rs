//! The profile: the cluster's addresses, the trusted CA, and the location of the keys.
//!
//! ```text
//! $OPAQUE_HOME (default ~/.opaque)      0700
//!   profile.toml                        0600   endpoints, CA file, credentials
//!   keys/                               0700   see `keys`
//!   profiles/NAME/                      0700   another profile, with the same files
//! ```

use std::{fmt, fs, io, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tonic::transport::Uri;

pub mod credentials;
pub mod files;
mod home;
mod name;

pub use home::Home;
pub use name::ProfileName;

/// The https address of one node's client port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeUrl(Uri);

impl NodeUrl {
    /// The address as a URI, for tonic.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

impl FromStr for NodeUrl {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let refused = |reason| ProfileError::Url { url: text.to_owned(), reason };
        let uri: Uri = text.trim().parse().map_err(|_| refused("it is not a URL"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(refused("Opaque speaks TLS only: write https://")),
            _ => return Err(refused("it must start with https://")),
        }
        if uri.port_u16().is_none() {
            return Err(refused("it has no port"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(refused("nothing may follow the port"));
        }
        Ok(Self(uri))
    }
}

impl TryFrom<String> for NodeUrl {
    type Error = ProfileError;

    fn try_from(text: String) -> Result<Self, ProfileError> {
        text.parse()
    }
}

impl From<NodeUrl> for String {
    fn from(url: NodeUrl) -> Self {
        url.to_string()
    }
}

/// Parses the values of `--cluster`. Each value may hold several addresses separated by commas, and
/// must hold at least one: an unset variable in a script must not select the profile's cluster.
pub fn parse_endpoints(values: &[String]) -> Result<Vec<NodeUrl>, ProfileError> {
    let mut endpoints = Vec::new();
    for value in values {
        let parts = value.split(',').filter(|part| !part.trim().is_empty());
        let parsed: Vec<NodeUrl> = parts.map(str::parse).collect::<Result<_, _>>()?;
        if parsed.is_empty() {
            return Err(ProfileError::EmptyCluster);
        }
        endpoints.extend(parsed);
    }
    Ok(endpoints)
}

/// The keys that lookups use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMode {
    /// Fresh keys that are sent with each lookup. The cluster stores nothing.
    #[default]
    Inline,
    /// One long-lived key pair. The cluster stores its public half, which links all queries of a
    /// profile.
    Registered,
}

/// The contents of `profile.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Addresses of nodes, in any order. Any node answers for the whole cluster.
    pub endpoints: Vec<NodeUrl>,
    /// The trusted CA in PEM; the system's root certificates if absent. A relative path is relative
    /// to the profile's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A file with the token that the cluster requires. Relative paths are resolved as above, here
    /// and below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The client's certificate in PEM, for a cluster that requires one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The certificate's key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// The name that nodes' certificates must have instead of the address, for nodes that are
    /// reached through a port forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The keys that lookups use; inline keys if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyMode>,
    /// The data directory of the `opaque dev` that wrote this file; absent if a person wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by_dev: Option<PathBuf>,
}

impl Profile {
    /// Reads a home's profile; `None` if the file does not exist.
    pub fn read(home: &Home) -> Result<Option<Self>, ProfileError> {
        let path = home.profile_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ProfileError::Read { path, source }),
        };
        let mut profile: Self = toml::from_str(&text).map_err(|source| ProfileError::Syntax {
            path: path.clone(),
            source: Box::new(source),
        })?;
        let files = [
            &mut profile.ca_file,
            &mut profile.token_file,
            &mut profile.client_cert,
            &mut profile.client_key,
        ];
        for file in files.into_iter().flatten() {
            *file = home.path().join(&*file);
        }
        if profile.endpoints.is_empty() {
            return Err(ProfileError::NoEndpoint { path });
        }
        Ok(Some(profile))
    }

    /// Replaces the profile atomically, with mode 0600.
    pub fn write(&self, home: &Home) -> Result<(), ProfileError> {
        let path = home.profile_file();
        let text = toml::to_string_pretty(self).map_err(|error| ProfileError::Write {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        files::replace(&path, text.as_bytes())
            .map_err(|source| ProfileError::Write { path, source })
    }
}

/// Why the profile cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Neither OPAQUE_HOME nor HOME is set.
    #[error("no place for the profile: neither OPAQUE_HOME nor HOME is set")]
    NoHome,
    /// The text is not a profile's name.
    #[error(
        "{name:?} is not a profile's name: write 1 to 64 letters, digits, `-`, `_` and `.`, the \
         first a letter or digit"
    )]
    Name {
        /// The text as given.
        name: String,
    },
    /// The text is not a node's address.
    #[error("{url:?} is not a node's address: {reason}")]
    Url {
        /// The text as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `--cluster` is given but contains no address.
    #[error(
        "--cluster is empty: write --cluster https://HOST:PORT, or leave it out for the profile's"
    )]
    EmptyCluster,
    /// The profile lists no node.
    #[error("{} names no endpoint", path.display())]
    NoEndpoint {
        /// The profile.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The file is not a valid profile.
    #[error("{} is not a profile: {source}", path.display())]
    Syntax {
        /// The profile.
        path: PathBuf,
        /// Position and reason.
        source: Box<toml::de::Error>,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    fn url(text: &str) -> NodeUrl {
        text.parse().unwrap()
    }

    #[test]
    fn urls_are_https_with_a_port() {
        for good in ["https://127.0.0.1:7000", "https://[::1]:7000/", " https://node.example:1"] {
            assert!(good.parse::<NodeUrl>().is_ok(), "{good}");
        }
        for bad in ["http://a:1", "a:1", "https://a", "https://a:1/x", "https://a:1?q", ""] {
            assert!(bad.parse::<NodeUrl>().is_err(), "{bad}");
        }
        let list = ["https://a:1,https://b:2".to_owned(), "https://c:3".to_owned()];
        let parsed = parse_endpoints(&list).unwrap();
        assert_eq!(parsed, [url("https://a:1"), url("https://b:2"), url("https://c:3")]);
    }

    #[test]
    fn an_empty_cluster_is_not_the_profiles() {
        assert_eq!(parse_endpoints(&[]).unwrap(), []);
        for empty in ["", ",", " ", " , "] {
            for values in [vec![empty], vec!["https://a:1", empty], vec![empty, "https://a:1"]] {
                let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
                let error = parse_endpoints(&values).unwrap_err();
                assert!(error.to_string().starts_with("--cluster is empty"), "{values:?}: {error}");
            }
        }
    }

    #[test]
    fn profile_survives_the_round_trip_privately() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("home"));
        assert!(Profile::read(&home).unwrap().is_none());
        let profile = Profile {
            endpoints: vec![url("https://127.0.0.1:7000"), url("https://localhost:7001")],
            ca_file: Some("ca.crt".into()),
            token_file: Some("token".into()),
            server_name: Some("dev-query".into()),
            keys: Some(KeyMode::Inline),
            ..Profile::default()
        };
        profile.write(&home).unwrap();
        let read = Profile::read(&home).unwrap().unwrap();
        assert_eq!(read.endpoints, profile.endpoints);
        assert_eq!(read.ca_file, Some(home.path().join("ca.crt")));
        assert_eq!(read.token_file, Some(home.path().join("token")));
        assert_eq!(read.server_name.as_deref(), Some("dev-query"));
        assert_eq!(read.keys, Some(KeyMode::Inline));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.profile_file()), 0o600);
        assert_eq!(mode(home.path()), 0o700);
    }

    #[test]
    fn unknown_settings_and_empty_lists_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        fs::write(home.profile_file(), "endpoints = []\n").unwrap();
        assert!(matches!(Profile::read(&home), Err(ProfileError::NoEndpoint { .. })));
        fs::write(home.profile_file(), "endpoint = ['https://a:1']\n").unwrap();
        assert!(matches!(Profile::read(&home), Err(ProfileError::Syntax { .. })));
    }
}
