//! Preconditions that are checked before anything is created: the CEL rules again, and the Secrets
//! to which a spec refers.

use kube::ResourceExt;
use opaque_crds::OpaqueCluster;
use opaque_crds::cluster::ClientAuthMode;

use crate::error::Error;
use crate::kube::{Context, Keys};

/// Checks the CRD's rules, because an object may be older than the rules.
///
/// # Errors
/// [`Error::Invalid`] with the messages of the violated rules.
pub(super) fn rules(cluster: &OpaqueCluster) -> Result<(), Error> {
    cluster.validate_cel().map_err(|errors| Error::Invalid(errors.to_string()))
}

/// Checks the users' Secrets. They are read by name, never listed, and each at most once a minute.
/// Returns the errors, with what to do about them.
///
/// # Errors
/// The API server cannot be reached or refuses.
pub(super) async fn secrets(
    context: &Context,
    cluster: &OpaqueCluster,
) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    let namespace = cluster.namespace().unwrap_or_default();
    for need in needs(cluster) {
        let suffices = |keys: &Keys| need.check(keys).is_none();
        wrong.extend(need.check(&*context.secret_keys(&namespace, &need.name, suffices).await?));
    }
    Ok(wrong)
}

/// Whether a spec refers to users' Secrets, which are not watched.
pub(super) fn has_needs(cluster: &OpaqueCluster) -> bool {
    !needs(cluster).is_empty()
}

/// A Secret to which a spec refers.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    field: &'static str,
    name: String,
    /// Keys that it must have; if empty, at least one key with any name.
    keys: &'static [&'static str],
}

fn needs(cluster: &OpaqueCluster) -> Vec<Need> {
    let spec = &cluster.spec;
    let mut needs = Vec::new();
    if let Some(reference) = &spec.storage.secret_ref {
        let keys: &[&str] = if spec.storage.url.starts_with("s3:") {
            &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        } else {
            &[]
        };
        needs.push(Need { field: "spec.storage.secretRef", name: reference.name.clone(), keys });
    }
    needs.extend(spec.storage.ca_secret_ref.as_ref().map(|reference| Need {
        field: "spec.storage.caSecretRef",
        name: reference.name.clone(),
        keys: &["ca.crt"],
    }));
    let auth = &spec.client_auth;
    match auth.mode {
        ClientAuthMode::Mtls => needs.extend(auth.ca_secret_ref.as_ref().map(|reference| Need {
            field: "spec.clientAuth.caSecretRef",
            name: reference.name.clone(),
            keys: &["ca.crt"],
        })),
        ClientAuthMode::Token => {
            needs.extend(auth.token_secret_ref.as_ref().map(|reference| Need {
                field: "spec.clientAuth.tokenSecretRef",
                name: reference.name.clone(),
                keys: &[],
            }))
        }
        ClientAuthMode::None => {}
    }
    needs
}

impl Need {
    /// The error in the Secret with these keys, if any.
    fn check(&self, found: &Keys) -> Option<String> {
        let Self { field, name, keys } = self;
        let Some(found) = found else {
            return Some(format!("Secret {name} does not exist: create it, or correct {field}"));
        };
        if found.is_own {
            return Some(format!(
                "Secret {name} belongs to the operator and holds a key of a cluster: name another in {field}"
            ));
        }
        let found = &found.keys;
        let missing: Vec<_> = keys.iter().filter(|key| !found.contains(**key)).copied().collect();
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            return Some(format!(
                "Secret {name} has no key {missing}, which {field} needs: add it"
            ));
        }
        let empty = keys.is_empty() && found.is_empty();
        empty.then(|| format!("Secret {name} of {field} has no keys: add at least one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::Found;

    fn need(keys: &'static [&'static str]) -> Need {
        Need { field: "spec.storage.secretRef", name: "s".into(), keys }
    }

    fn found(keys: &[&str]) -> Keys {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Some(Found { keys, is_own: false })
    }

    #[test]
    fn a_secret_of_the_operator_is_refused() {
        let own = Some(Found { is_own: true, ..found(&["ca.crt"]).unwrap() });
        let words = need(&["ca.crt"]).check(&own).unwrap();
        assert!(words.contains("to the operator") && words.contains("name another"), "{words}");
    }

    #[test]
    fn a_secret_that_is_missing_or_lacks_a_key_is_named() {
        let need = need(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
        assert!(need.check(&None).unwrap().starts_with("Secret s does not exist: create it"));
        let words = need.check(&found(&["AWS_ACCESS_KEY_ID"])).unwrap();
        assert!(words.contains("no key AWS_SECRET_ACCESS_KEY"), "{words}");
        let whole = found(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
        assert_eq!(need.check(&whole), None);
    }

    #[test]
    fn a_secret_of_any_keys_must_have_one() {
        assert!(need(&[]).check(&found(&[])).is_some());
        assert_eq!(need(&[]).check(&found(&["a"])), None);
    }
}
