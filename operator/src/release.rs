//! The installation of the operator to which a process belongs.

use std::fmt;
use std::str::FromStr;

/// A release, named by the namespace and the name of its Deployment. Its replicas form one
/// operator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    namespace: String,
    name: String,
}

impl Release {
    /// The namespace of the release's pods.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the release's Deployment.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// The text does not name a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: write NAMESPACE/NAME of the operator's Deployment")]
pub struct ReleaseError(String);

impl FromStr for Release {
    type Err = ReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| !name.is_empty() && !name.contains('/');
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ReleaseError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_written_as_it_is_read() {
        let release: Release = "opaque/opaque-operator".parse().unwrap();
        assert_eq!((release.namespace(), release.name()), ("opaque", "opaque-operator"));
        assert_eq!(release.to_string(), "opaque/opaque-operator");
        for wrong in ["", "opaque", "opaque/", "/operator", "a/b/c"] {
            let error = wrong.parse::<Release>().unwrap_err();
            assert!(error.to_string().contains("NAMESPACE/NAME"), "{error}");
        }
    }
}
