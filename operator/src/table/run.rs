//! Identifies the inputs from which an epoch is built.

use opaque_crds::{OpaqueCluster, OpaqueTable};
use serde_json::json;

/// Bytes of the digest that names a run. Two sources never have the same name by accident.
const BYTES: usize = 16;

/// The run that builds the epoch of `table` from its current source. It is the digest of source,
/// schema, link, the store's address and, for a ConfigMap, its data. The same run is never repeated
/// directly after itself.
///
/// If the digest's inputs or their encoding change, every table gets a new epoch after an upgrade
/// of the operator. A test pins the digest.
pub(super) fn id(table: &OpaqueTable, cluster: &OpaqueCluster, data: Option<&[u8]>) -> String {
    let storage = &cluster.spec.storage;
    let mut identity = json!({
        "source": table.spec.source,
        "schema": table.spec.schema,
        "store": { "url": storage.url, "endpoint": storage.endpoint },
        "data": data.map(|data| blake3::hash(data).to_hex().to_string()),
    });
    // The field is included only if it is set, like every field that was added later.
    if let (Some(link), Some(identity)) = (table.spec.link_mbits, identity.as_object_mut()) {
        identity.insert("linkMbits".to_owned(), json!(link));
    }
    let digest = blake3::hash(identity.to_string().as_bytes()).to_hex();
    digest.chars().take(2 * BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::fixtures;

    #[test]
    fn a_run_keeps_its_name_across_versions_of_the_operator() {
        let (table, cluster) = (fixtures::table("weather"), fixtures::cluster());
        assert_eq!(
            id(&table, &cluster, Some(b"id,city\n1,Oslo\n")),
            "3acd9dbc366b9534b81a074b69efdc03"
        );
    }

    #[test]
    fn whatever_an_epoch_is_made_from_makes_another_run() {
        let (table, cluster) = (fixtures::table("weather"), fixtures::cluster());
        let mut runs = vec![id(&table, &cluster, Some(b"a")), id(&table, &cluster, Some(b"b"))];

        let mut revised = table.clone();
        revised.spec.source.revision = Some("2".into());
        runs.push(id(&revised, &cluster, Some(b"a")));

        let mut written = table.clone();
        written.spec.source.dialect =
            Some(serde_json::from_value(json!({"delimiter": ";"})).unwrap());
        runs.push(id(&written, &cluster, Some(b"a")));

        let mut narrower = table.clone();
        narrower.spec.source.ignore_extra = true;
        runs.push(id(&narrower, &cluster, Some(b"a")));

        let mut widened = table.clone();
        widened.spec.schema.columns.pop();
        runs.push(id(&widened, &cluster, Some(b"a")));

        let mut slower = table.clone();
        slower.spec.link_mbits = Some(10);
        runs.push(id(&slower, &cluster, Some(b"a")));

        let mut moved = cluster.clone();
        moved.spec.storage.url = "s3://other/demo".into();
        runs.push(id(&table, &moved, Some(b"a")));

        let count = runs.len();
        runs.sort();
        runs.dedup();
        assert_eq!(runs.len(), count);
    }

    #[test]
    fn what_does_not_touch_the_data_makes_no_other_run() {
        let (table, cluster) = (fixtures::table("weather"), fixtures::cluster());
        let mut pinned = table.clone();
        pinned.spec.epoch = Some(1);
        pinned.spec.retain_epochs = 9;
        assert_eq!(id(&pinned, &cluster, None), id(&table, &cluster, None));
    }
}
