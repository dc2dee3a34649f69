//! Names of the objects that the operator creates.
//!
//! Every name must be a DNS label of at most [`MAX_LABEL`] bytes, since it becomes part of a host
//! name or the value of a label. The longest names are
//! - the label `controller-revision-hash` of a StatefulSet's pods: the set's name, a `-` and ten
//!   characters of hash, so a set's name has at most 52 characters;
//! - the label `job-name` of a Job's pods.
//!
//! The length limits of cluster and table names follow from these and are rules of the kinds.
//!
//! Two clusters never need the same name for objects of one kind, because no suffix ends with the
//! suffix of another purpose.

/// Maximum length of a DNS label and of a label value.
pub const MAX_LABEL: usize = 63;
/// Maximum length of an OpaqueCluster's name: with `-shard-1023`, it must fit into the 52
/// characters of a StatefulSet's name.
pub const MAX_CLUSTER_NAME: usize = 41;
/// Maximum length of an OpaqueTable's name: with `-prepare-` and a number of twelve digits, it must
/// fit into 63 characters.
pub const MAX_TABLE_NAME: usize = 42;
/// Maximum number of shards of a cluster.
pub const MAX_SHARDS: i32 = 1024;
/// Largest epoch to which a table can be pinned.
pub const MAX_EPOCH: i64 = 999_999_999_999;

/// StatefulSet and PodDisruptionBudget of one shard.
pub fn shard(cluster: &str, shard: i32) -> String {
    format!("{cluster}-shard-{shard}")
}

/// A shard's pod.
pub fn pod(cluster: &str, shard: i32, replica: i32) -> String {
    format!("{cluster}-shard-{shard}-{replica}")
}

/// Secret with a shard's certificate and key.
pub fn shard_certificate(cluster: &str, shard: i32) -> String {
    format!("{cluster}-shard-{shard}-tls")
}

/// Secret with the authority that signs the certificates that nodes present to each other.
pub fn authority(cluster: &str) -> String {
    format!("{cluster}-peer-ca")
}

/// Secret in which earlier versions stored the peer authority. The server authority of a cluster
/// with a shorter name, or a user's Secret, may have the same name.
pub fn earlier_authority(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// Secret with the authority that signs the certificate that nodes present to clients.
pub fn server_authority(cluster: &str) -> String {
    format!("{cluster}-server-ca")
}

/// Secret with the certificate that every node presents to clients.
pub fn server_certificate(cluster: &str) -> String {
    format!("{cluster}-server-tls")
}

/// cert-manager Certificate, and its Secret, that shows which authority an issuer signs with.
pub fn issuer_probe(cluster: &str) -> String {
    format!("{cluster}-issuer-probe")
}

/// ConfigMap with the authorities and revocation lists that nodes and clients trust.
pub fn trust(cluster: &str) -> String {
    format!("{cluster}-trust")
}

/// ServiceAccount, Role and RoleBinding of the nodes.
pub fn node_account(cluster: &str) -> String {
    format!("{cluster}-node")
}

/// Service that clients connect to.
pub fn client_service(cluster: &str) -> String {
    format!("{cluster}-query")
}

/// Headless Service that gives each pod its host name.
pub fn peer_service(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// Lease of the cluster's leader.
pub fn leader_lease(cluster: &str) -> String {
    format!("{cluster}-leader")
}

/// Name of the Lease in which a table's Jobs report, and of their ServiceAccount, Role and
/// RoleBinding.
pub fn prepare(table: &str) -> String {
    format!("{table}-prepare")
}

/// Job that prepares an epoch of a table. Jobs and epochs are numbered separately, because a failed
/// Job creates no epoch.
pub fn prepare_job(table: &str, number: i64) -> String {
    format!("{table}-prepare-{number}")
}

/// The table's name in SQL, with `_` for each `-`. Kubernetes names have no `_` and SQL names no
/// `-`, so two tables of a namespace never share a name.
pub fn sql_table(object: &str) -> String {
    object.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_still_fit() {
        let cluster = "c".repeat(MAX_CLUSTER_NAME);
        let table = "t".repeat(MAX_TABLE_NAME);
        let last = MAX_SHARDS - 1;
        assert_eq!(shard(&cluster, last).len() + "-0123456789".len(), MAX_LABEL);
        assert_eq!(prepare_job(&table, MAX_EPOCH).len(), MAX_LABEL);
        for name in [
            pod(&cluster, last, 31),
            shard_certificate(&cluster, last),
            authority(&cluster),
            server_authority(&cluster),
            server_certificate(&cluster),
            issuer_probe(&cluster),
            trust(&cluster),
            node_account(&cluster),
            client_service(&cluster),
            peer_service(&cluster),
            leader_lease(&cluster),
        ] {
            assert!(name.len() <= MAX_LABEL, "{name} is too long");
        }
    }

    /// For example `-server-ca` ends with `-ca`: with that suffix, cluster `a-server` would need a
    /// name of cluster `a`.
    #[test]
    fn no_suffix_ends_with_another() {
        let numbered = |name: fn(&str, i32) -> String| [name("", 0), name("", 1), name("", 10)];
        let purposes: [(&str, Vec<String>); 12] = [
            ("set", numbered(shard).into()),
            ("pod", [0, 1, 10].map(|shard| pod("", shard, 1)).into()),
            ("shard's certificate", numbered(shard_certificate).into()),
            ("authority", vec![authority("")]),
            ("server's authority", vec![server_authority("")]),
            ("server's certificate", vec![server_certificate("")]),
            ("probe", vec![issuer_probe("")]),
            ("trust", vec![trust("")]),
            ("account", vec![node_account("")]),
            ("client service", vec![client_service("")]),
            ("peer service", vec![peer_service("")]),
            ("leader", vec![leader_lease("")]),
        ];
        for (purpose, suffixes) in &purposes {
            for (other, others) in &purposes {
                for (one, two) in
                    suffixes.iter().flat_map(|one| others.iter().map(move |two| (one, two)))
                {
                    let clash = purpose != other && one.ends_with(two.as_str());
                    assert!(!clash, "{one} of {purpose} ends with {two} of {other}");
                }
            }
        }
    }

    #[test]
    fn a_table_is_named_in_sql_without_hyphens() {
        assert_eq!(sql_table("sales-2026-q3"), "sales_2026_q3");
    }
}
