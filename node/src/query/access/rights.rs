//! Permissions of clients: to query, and to change what is served.

use std::collections::BTreeSet;

use crate::config::EVERYONE;
use crate::error::NodeError;

/// A permission that a call requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// Every admitted client has it.
    Query,
    /// Permission to change what is served: to load and to roll back. Granted by name.
    Load,
}

/// Every call of the service `Query` with the permission that it requires. Calls that are not
/// listed are refused.
const RIGHTS: [(&str, Right); 10] = [
    ("ListTables", Right::Query),
    ("DescribeTable", Right::Query),
    ("PublicParts", Right::Query),
    ("RegisterKeys", Right::Query),
    ("Lookup", Right::Query),
    ("Scan", Right::Query),
    ("Load", Right::Load),
    ("ListEpochs", Right::Query),
    ("Rollback", Right::Load),
    ("Status", Right::Query),
];

/// The clients that may load.
#[derive(Debug, Default)]
pub(super) struct Loaders(BTreeSet<String>);

impl Loaders {
    pub(super) fn new(names: &[String]) -> Self {
        Self(names.iter().cloned().collect())
    }

    /// Checks a call of `path`, such as `/opaque.v1.Query/Load`, by the authenticated client
    /// `principal`, which is `None` if clients do not authenticate.
    ///
    /// # Errors
    /// [`NodeError::Forbidden`] with a remedy, and [`NodeError::UnknownCall`].
    pub(super) fn check(&self, path: &str, principal: Option<&str>) -> Result<(), NodeError> {
        let method = path.rsplit('/').next().unwrap_or_default();
        let right = RIGHTS.iter().find(|(name, _)| *name == method).map(|(_, right)| *right);
        match right {
            None => Err(NodeError::UnknownCall),
            Some(Right::Query) => Ok(()),
            Some(Right::Load) if self.may_load(principal) => Ok(()),
            Some(Right::Load) => Err(NodeError::Forbidden(refusal(principal))),
        }
    }

    fn may_load(&self, principal: Option<&str>) -> bool {
        self.0.contains(EVERYONE) || principal.is_some_and(|name| self.0.contains(name))
    }
}

fn refusal(principal: Option<&str>) -> String {
    match principal {
        Some(name) => format!(
            "client {name:?} may only query, neither load nor roll back: to allow it, add its name to \
             spec.clientAuth.loaders of the OpaqueCluster (--loader of each node)"
        ),
        None => "clients do not prove who they are here, and may query, but neither load nor roll back: make \
                 the table an OpaqueTable, choose another spec.clientAuth.mode and name who may load, or let \
                 everyone load with spec.clientAuth.loaders: [\"*\"] (--loader '*' of each node)"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: &str = include_str!("../../../../proto/proto/opaque/v1/query.proto");

    /// The calls of the service as the protocol declares them.
    fn declared() -> Vec<&'static str> {
        let service = PROTO.split("service Query {").nth(1).unwrap().split("\n}").next().unwrap();
        let calls = service.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        calls.map(|call| call.split('(').next().unwrap().trim()).collect()
    }

    #[test]
    fn every_call_of_the_protocol_has_a_right() {
        let mut listed = RIGHTS.map(|(name, _)| name).to_vec();
        let mut declared = declared();
        listed.sort_unstable();
        declared.sort_unstable();
        assert_eq!(listed, declared);
    }

    #[test]
    fn without_a_name_in_the_list_a_client_may_only_query() {
        let none = Loaders::default();
        let some = Loaders::new(&["alice".to_owned()]);
        let all = Loaders::new(&[EVERYONE.to_owned()]);
        for method in declared() {
            let path = format!("/opaque.v1.Query/{method}");
            let may = |loaders: &Loaders, name| loaders.check(&path, name).is_ok();
            let loads = ["Load", "Rollback"].contains(&method);
            for name in [None, Some("alice"), Some("bob"), Some("*")] {
                assert_eq!(may(&none, name), !loads, "{method} {name:?}");
                assert_eq!(may(&some, name), !loads || name == Some("alice"), "{method} {name:?}");
                assert!(may(&all, name), "{method} {name:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_and_what_is_not_listed_is_refused() {
        let loaders = Loaders::default();
        let words = |name| loaders.check("/opaque.v1.Query/Load", name).unwrap_err().to_string();
        assert!(
            words(Some("bob")).starts_with("client \"bob\" may only query"),
            "{}",
            words(Some("bob"))
        );
        assert!(words(None).contains("loaders: [\"*\"]"), "{}", words(None));
        for path in ["", "/", "/opaque.v1.Query/", "/opaque.v1.Query/Drop", "/opaque.v1.Query/load"]
        {
            let refused = loaders.check(path, Some("bob"));
            assert!(matches!(refused, Err(NodeError::UnknownCall)), "{path}");
        }
    }
}
