//! Reconstructs a lost shard map from the cluster, its tables and its nodes.
//!
//! **Guarantees.** A reconstructed map has every table that a node serves, and its generation is
//! above every generation that a node has seen. The nodes continue to serve, and activate the map
//! after testing it.

use std::collections::BTreeMap;

use opaque_crds::OpaqueTable;
use opaque_crds::cluster::OpaqueClusterStatus;
use opaque_crds::shard_map::TableEpoch;

use super::facts::Member;

/// Inputs for the next map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    /// The highest known generation.
    pub(super) generation: i64,
    /// The epoch of each table, by name.
    pub(super) tables: Vec<TableEpoch>,
}

impl Remains {
    /// `None` if there was never a map because the cluster is new.
    pub(super) fn of(
        status: Option<&OpaqueClusterStatus>,
        members: &[Member],
        tables: &[OpaqueTable],
    ) -> Option<Self> {
        let served = members.iter().map(|member| member.active_generation).max().unwrap_or(0);
        let active = status.and_then(|status| status.active_generation).unwrap_or(0).max(served);
        if active == 0 {
            return None;
        }
        let heard = |member: &Member| {
            let failed = member.failed.as_ref().map_or(0, |failure| failure.generation);
            member.prepared_generation.max(failed)
        };
        let generation = members.iter().map(heard).max().unwrap_or(0).max(active);
        // The nodes' reports are authoritative; a table's status may be outdated.
        let mut epochs = BTreeMap::new();
        for member in members.iter().filter(|m| m.active_generation == served && served > 0) {
            epochs.extend(member.tables.clone());
        }
        let mut owners = BTreeMap::new();
        for table in tables {
            let name = table.sql_name();
            owners.insert(name.clone(), table.metadata.name.clone().unwrap_or_default());
            let epoch = table.status.as_ref().and_then(|status| status.active_epoch);
            if let (Some(epoch), None) = (epoch, &table.metadata.deletion_timestamp) {
                epochs.entry(name).or_insert(epoch);
            }
        }
        let entry = |(table, epoch): (String, i64)| {
            let owner = owners.get(&table).cloned();
            TableEpoch { table, epoch, owner }
        };
        Some(Self { generation, tables: epochs.into_iter().map(entry).collect() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(generation: Option<i64>) -> OpaqueClusterStatus {
        OpaqueClusterStatus { active_generation: generation, ..OpaqueClusterStatus::default() }
    }

    fn member(generation: i64, tables: &[(&str, i64)]) -> Member {
        let tables: BTreeMap<_, _> = tables.iter().copied().collect();
        let record = json!({
            "node": "n", "shard": 0, "active_generation": generation,
            "prepared_generation": generation, "tables": tables,
        });
        serde_json::from_value(record).unwrap()
    }

    fn table(name: &str, epoch: i64, leaves: bool) -> OpaqueTable {
        let leaves = leaves.then_some("2026-01-01T00:00:00Z");
        object!({
            "metadata": {"name": name, "deletionTimestamp": leaves},
            "spec": {
                "clusterRef": {"name": "demo"},
                "schema": {"columns": [{"name": "city", "type": "TEXT", "role": "key"}]},
                "source": {"url": "https://example.com/a.csv"},
            },
            "status": {"activeEpoch": epoch},
        })
    }

    fn epochs(remains: &Remains) -> Vec<(&str, i64, Option<&str>)> {
        let tables = remains.tables.iter();
        tables.map(|e| (e.table.as_str(), e.epoch, e.owner.as_deref())).collect()
    }

    #[test]
    fn a_new_cluster_has_nothing_to_restore() {
        assert_eq!(Remains::of(None, &[], &[]), None);
        // A table may be older than its cluster, which may have the name of an earlier cluster.
        assert_eq!(
            Remains::of(Some(&status(None)), &[member(0, &[])], &[table("a", 3, false)]),
            None
        );
    }

    #[test]
    fn a_lost_map_has_what_nodes_serve_and_what_tables_say_above_all_generations() {
        let mut ahead = member(7, &[("b", 1)]);
        ahead.prepared_generation = 8;
        let mut failed = member(6, &[("a", 2), ("dropped", 1)]);
        failed.failed = object!({"generation": 9, "reason": "r"});
        let members = [member(7, &[("a", 3), ("loaded", 5)]), ahead, failed];
        let tables = [
            table("a", 2, false),
            table("b", 1, true),
            table("my-table", 4, false),
            table("leaves", 4, true),
        ];
        let remains = Remains::of(Some(&status(Some(7))), &members, &tables).unwrap();
        assert_eq!(remains.generation, 9);
        let wanted = [
            ("a", 3, Some("a")),
            ("b", 1, Some("b")),
            ("loaded", 5, None),
            ("my_table", 4, Some("my-table")),
        ];
        assert_eq!(epochs(&remains), wanted);
    }

    #[test]
    fn without_any_node_the_status_tells() {
        let remains = Remains::of(Some(&status(Some(12))), &[], &[table("a", 2, false)]).unwrap();
        assert_eq!((remains.generation, epochs(&remains)), (12, vec![("a", 2, Some("a"))]));
    }
}
