//! `spiffe://<domain>/ns/<namespace>/opaque/<cluster>/shard/<id>`: the name of a shard.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Maximum bytes of a trust domain.
const MAX_DOMAIN: usize = 255;
/// Maximum bytes of a namespace or a cluster's name (a DNS label).
const MAX_NAME: usize = 63;

/// The URI of a shard.
///
/// Invariant, enforced by [`ShardUri::new`] and [`ShardUri::from_str`]: every part is valid, so
/// that each text has one meaning and each value one text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardUri {
    domain: String,
    namespace: String,
    cluster: String,
    shard: u32,
}

impl ShardUri {
    /// The URI of `shard` in a cluster. `domain` consists of lower-case letters, digits, `.`, `-`
    /// and `_`; `namespace` and `cluster` are DNS labels.
    ///
    /// # Errors
    /// A part is not valid.
    pub fn new(domain: &str, namespace: &str, cluster: &str, shard: u32) -> Result<Self, UriError> {
        if !is_domain(domain) {
            return Err(UriError::Part { part: "trust domain" });
        }
        if !is_label(namespace) {
            return Err(UriError::Part { part: "namespace" });
        }
        if !is_label(cluster) {
            return Err(UriError::Part { part: "cluster" });
        }
        let (domain, namespace) = (domain.to_owned(), namespace.to_owned());
        Ok(Self { domain, namespace, cluster: cluster.to_owned(), shard })
    }

    /// The trust domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The namespace of the cluster.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The shard's number, counted from 0.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Whether both URIs name shards of the same cluster: same domain, namespace and name.
    pub fn same_cluster(&self, other: &Self) -> bool {
        let Self { domain, namespace, cluster, shard: _ } = self;
        *domain == other.domain && *namespace == other.namespace && *cluster == other.cluster
    }

    /// The URI of another shard of the same cluster.
    #[must_use]
    pub fn with_shard(&self, shard: u32) -> Self {
        Self { shard, ..self.clone() }
    }
}

impl fmt::Display for ShardUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, namespace, cluster, shard } = self;
        write!(f, "spiffe://{domain}/ns/{namespace}/opaque/{cluster}/shard/{shard}")
    }
}

impl FromStr for ShardUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let rest = text.strip_prefix("spiffe://").ok_or(UriError::Shape)?;
        let mut parts = rest.split('/');
        let mut next = || parts.next().ok_or(UriError::Shape);
        let domain = next()?;
        let (ns, namespace) = (next()?, next()?);
        let (opaque, cluster) = (next()?, next()?);
        let (shard, number) = (next()?, next()?);
        if (ns, opaque, shard) != ("ns", "opaque", "shard") || parts.next().is_some() {
            return Err(UriError::Shape);
        }
        // This also refuses "+1" and "01": a number has one text.
        let canonical = |shard: &u32| shard.to_string() == number;
        let shard = number.parse().ok().filter(canonical);
        Self::new(domain, namespace, cluster, shard.ok_or(UriError::Part { part: "shard" })?)
    }
}

fn is_domain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    !text.is_empty() && text.len() <= MAX_DOMAIN && text.bytes().all(plain)
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain) && ends
}

/// Why a text does not name a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The text does not have the form of a shard's URI.
    #[error("a shard's URI is spiffe://<domain>/ns/<namespace>/opaque/<cluster>/shard/<id>")]
    Shape,
    /// A part has invalid characters or an invalid length.
    #[error("the {part} of a shard's URI is malformed")]
    Part {
        /// The part's name.
        part: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URI: &str = "spiffe://opaque.dev/ns/default/opaque/dev/shard/7";

    #[test]
    fn a_uri_names_domain_namespace_cluster_and_shard() {
        let uri: ShardUri = URI.parse().unwrap();
        assert_eq!(uri, ShardUri::new("opaque.dev", "default", "dev", 7).unwrap());
        assert_eq!(uri.to_string(), URI);
        assert_eq!((uri.domain(), uri.namespace()), ("opaque.dev", "default"));
        assert_eq!((uri.cluster(), uri.shard()), ("dev", 7));
        assert!(uri.same_cluster(&uri.with_shard(8)));
        for (domain, namespace, cluster) in [
            ("other", "default", "dev"),
            ("opaque.dev", "x", "dev"),
            ("opaque.dev", "default", "x"),
        ] {
            assert!(!uri.same_cluster(&ShardUri::new(domain, namespace, cluster, 7).unwrap()));
        }
    }

    #[test]
    fn nothing_but_the_one_form_is_a_uri() {
        for wrong in [
            "",
            "https://opaque.dev/ns/default/opaque/dev/shard/7",
            "spiffe://opaque.dev/shard/7",
            "spiffe:///ns/default/opaque/dev/shard/7",
            "spiffe://opaque.dev/ns//opaque/dev/shard/7",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/07",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/+7",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/4294967296",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/7/",
            "spiffe://opaque.dev/ns/default/opaque/dev/shard/7?x",
            "spiffe://OPAQUE.dev/ns/default/opaque/dev/shard/7",
            "spiffe://opaque.dev:1/ns/default/opaque/dev/shard/7",
            "spiffe://opaque.dev/ns/De/opaque/dev/shard/7",
            "spiffe://opaque.dev/ns/default/opaque/-dev/shard/7",
            "spiffe://opaque.dev/NS/default/opaque/dev/shard/7",
        ] {
            assert!(wrong.parse::<ShardUri>().is_err(), "{wrong}");
        }
        let long = format!("spiffe://opaque.dev/ns/{}/opaque/dev/shard/7", "n".repeat(64));
        assert!(long.parse::<ShardUri>().is_err());
    }

    proptest! {
        #[test]
        fn every_uri_is_read_as_written(
            domain in "[a-z0-9._-]{1,40}",
            namespace in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
            cluster in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?",
            shard: u32,
        ) {
            let uri = ShardUri::new(&domain, &namespace, &cluster, shard).unwrap();
            prop_assert_eq!(uri.to_string().parse::<ShardUri>(), Ok(uri));
        }

        #[test]
        fn what_is_read_is_written_alike(text in ".{0,80}|spiffe://[a-z./0-9-]{0,60}") {
            if let Ok(uri) = text.parse::<ShardUri>() {
                prop_assert_eq!(uri.to_string(), text);
            }
        }
    }
}
