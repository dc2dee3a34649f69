//! Tables that pods cannot serve, according to the nodes' reports. Status and rollouts use them.

use opaque_crds::cluster::MissingTable;

use super::facts::Member;
use crate::text::shorten;

/// Maximum entries in the status. Tables that no pod of the shard serves come first.
const REPORTED: usize = 100;
/// Maximum lengths of table, pod and reason in the custom resource.
const TABLE: usize = 63;
const POD: usize = 253;
const REASON: usize = 1024;

/// The tables that `members` are missing. A pod that is not `ready` serves none.
pub(super) fn missing(members: &[Member], ready: impl Fn(&str) -> bool) -> Vec<MissingTable> {
    let lacked = members.iter().flat_map(|member| {
        member.missing.iter().map(move |(table, reason)| (member, table, reason))
    });
    let entry = |(member, table, reason): (&Member, &String, &String)| MissingTable {
        table: table.clone(),
        pod: member.node.clone(),
        shard: i32::try_from(member.shard).unwrap_or(i32::MAX),
        reason: reason.clone(),
        elsewhere: members.iter().any(|peer| ready(&peer.node) && peer.stands_in(member, table)),
    };
    let mut missing: Vec<_> = lacked.map(entry).collect();
    missing.sort_by(|one, other| {
        let key = |entry: &MissingTable| (entry.elsewhere, entry.shard);
        key(one)
            .cmp(&key(other))
            .then_with(|| (&one.table, &one.pod).cmp(&(&other.table, &other.pod)))
    });
    missing
}

impl Member {
    /// Whether this member serves a table that another replica of its shard lacks. Nodes of earlier
    /// versions do not report what they serve.
    fn stands_in(&self, other: &Self, table: &str) -> bool {
        self.node != other.node
            && self.shard == other.shard
            && self.active_generation > 0
            && self.active_generation >= other.active_generation
            && !self.missing.contains_key(table)
            && (self.tables.is_empty() || self.tables.contains_key(table))
    }
}

/// The entries for the status, shortened: a node's report must not cause a status that the API
/// server refuses.
pub(super) fn reported(missing: &[MissingTable]) -> Vec<MissingTable> {
    let entry = |entry: &MissingTable| MissingTable {
        table: shorten(&entry.table, TABLE),
        pod: shorten(&entry.pod, POD),
        reason: shorten(&entry.reason, REASON),
        ..entry.clone()
    };
    missing.iter().take(REPORTED).map(entry).collect()
}

/// An entry in words.
pub(super) fn words(entry: &MissingTable) -> String {
    let MissingTable { table, pod, shard, reason, elsewhere } = entry;
    let others = if *elsewhere {
        format!("another pod of shard {shard} serves it")
    } else {
        format!("no pod of shard {shard} serves it")
    };
    format!("pod {pod} cannot load table {table}, {others}: {reason}")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use opaque_crds::OpaqueCluster;
    use opaque_crds::cluster::OpaqueClusterStatus;

    use super::super::facts::Facts;
    use super::super::findings::Findings;
    use super::super::rollout::Replacement;
    use super::super::size::Size;
    use super::super::status::status;
    use super::*;

    fn member(node: &str, shard: i64, missing: &[&str]) -> Member {
        let reason = |table: &&str| ((*table).to_owned(), "damaged".to_owned());
        Member {
            node: node.into(),
            shard,
            active_generation: 4,
            missing: missing.iter().map(reason).collect(),
            ..Member::default()
        }
    }

    fn elsewhere(members: &[Member]) -> Vec<(String, String, bool)> {
        let missing = missing(members, |pod| pod != "unready");
        missing.into_iter().map(|m| (m.pod, m.table, m.elsewhere)).collect()
    }

    fn entry(pod: &str, table: &str, elsewhere: bool) -> (String, String, bool) {
        (pod.to_owned(), table.to_owned(), elsewhere)
    }

    #[test]
    fn only_a_ready_replica_of_the_same_shard_with_the_generation_stands_in() {
        let lacks = member("a", 0, &["t"]);
        let told = |other: Member| elsewhere(&[lacks.clone(), other])[0].2;
        assert!(told(member("b", 0, &[])));
        assert!(told(member("b", 0, &["u"])));
        assert!(!told(member("b", 0, &["t"])));
        assert!(!told(member("b", 1, &[])));
        assert!(!told(member("unready", 0, &[])));
        assert!(!told(Member { active_generation: 3, ..member("b", 0, &[]) }));
        assert!(!told(Member { active_generation: 0, ..member("b", 0, &[]) }));
        let tables = |name: &str| [(name.to_owned(), 1)].into();
        assert!(told(Member { tables: tables("t"), ..member("b", 0, &[]) }));
        assert!(!told(Member { tables: tables("u"), ..member("b", 0, &[]) }));
        assert_eq!(elsewhere(&[member("b", 0, &[])]), []);
    }

    #[test]
    fn tables_that_no_pod_serves_come_first() {
        let members = [member("a", 0, &["t", "u"]), member("b", 0, &["u"]), member("c", 1, &["t"])];
        assert_eq!(
            elsewhere(&members),
            [
                entry("a", "u", false),
                entry("b", "u", false),
                entry("c", "t", false),
                entry("a", "t", true)
            ]
        );
    }

    #[test]
    fn words_say_what_where_and_why() {
        let missing = missing(&[member("demo-shard-0-1", 0, &["t"])], |_| true);
        assert_eq!(
            words(&missing[0]),
            "pod demo-shard-0-1 cannot load table t, no pod of shard 0 serves it: damaged"
        );
    }

    #[test]
    fn status_names_table_pod_and_reason() {
        let cluster: OpaqueCluster = object!({
            "metadata": {"name": "demo", "namespace": "ns", "generation": 1},
            "spec": {
                "shards": 1, "replicasPerShard": 2, "clientAuth": {"mode": "none"},
                "storage": {"url": "file:///data"},
            },
        });
        let report = |members: &[Member]| {
            let facts = Facts { missing: missing(members, |_| true), ..Facts::default() };
            let size = Size::wanted(&cluster.spec);
            let found = Findings {
                shards: vec![facts.shard("demo", size, 0)],
                replacement: Some(Replacement::default()),
                ..Findings::new(&cluster, &facts, size)
            };
            let now = Time(Timestamp::from_second(1).unwrap());
            status(&found, &OpaqueClusterStatus::default(), &now).0
        };
        let lacks = member("demo-shard-0-1", 0, &["t"]);
        let told = report(&[lacks.clone(), member("demo-shard-0-0", 0, &[])]);
        let degraded = told.conditions.iter().find(|c| c.type_ == "Degraded").unwrap();
        let words =
            "pod demo-shard-0-1 cannot load table t, another pod of shard 0 serves it: damaged";
        assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "TablesMissing"));
        assert_eq!(degraded.message, words);
        let rollout = told.operations.iter().find(|one| one.name == "Rollout").unwrap();
        assert_eq!(rollout.blocked_by.as_deref(), Some(words));
        assert_eq!(told.missing_tables.len(), 1);
        // No pod of the shard has the table, so it does not hold up a rollout.
        let told = report(&[lacks]);
        assert!(!told.missing_tables[0].elsewhere);
        assert!(told.operations.iter().all(|one| one.blocked_by.is_none()));
        let many: Vec<String> = (0..200).map(|i| format!("t{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let told = report(&[member("demo-shard-0-1", 0, &many)]);
        assert_eq!(told.missing_tables.len(), REPORTED);
        let mut hostile = member(&"p".repeat(300), 0, &[]);
        hostile.missing = [("t".repeat(100), "r".repeat(5_000))].into();
        let told = report(&[hostile]).missing_tables.remove(0);
        let lengths = [told.table.len(), told.pod.len(), told.reason.len()];
        assert_eq!(lengths, [TABLE, POD, REASON]);
        assert_eq!(
            report(&[]).conditions.iter().find(|c| c.type_ == "Degraded").unwrap().status,
            "False"
        );
    }
}
