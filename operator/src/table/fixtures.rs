//! Objects for the tests.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use opaque_crds::table::Epoch;
use opaque_crds::{OpaqueCluster, OpaqueShardMap, OpaqueTable};
use serde_json::json;

use super::facts::{Facts, SourceFacts};

/// A table of the cluster `demo`, from a ConfigMap.
pub(crate) fn table(name: &str) -> OpaqueTable {
    object!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1},
        "spec": {
            "clusterRef": {"name": "demo"},
            "schema": {"columns": [
                {"name": "city", "type": "TEXT", "role": "key"},
                {"name": "country", "type": "TEXT"},
            ]},
            "source": {"configMapRef": {"name": "weather", "key": "weather.csv"}},
        },
    })
}

/// A table whose source is an address.
pub(crate) fn table_from_url(name: &str) -> OpaqueTable {
    let mut table = table(name);
    table.spec.source.config_map_ref = None;
    table.spec.source.url = Some("https://example.com/weather.csv".into());
    table
}

/// The cluster `demo`.
pub(crate) fn cluster() -> OpaqueCluster {
    object!({
        "metadata": {"name": "demo", "namespace": "ns", "uid": "uid-demo"},
        "spec": {
            "shards": 3,
            "storage": {
                "url": "s3://opaque/demo",
                "endpoint": "http://minio:9000",
                "region": "us-east-1",
                "secretRef": {"name": "demo-storage"},
            },
            "clientAuth": {"mode": "none"},
        },
    })
}

/// The cluster's active map of one generation, with tables, some of which the operator owns.
pub(crate) fn map(generation: i64, tables: &[(&str, i64)], owned: &[&str]) -> OpaqueShardMap {
    let tables: Vec<_> =
        tables.iter().map(|(table, epoch)| json!({"table": table, "epoch": epoch})).collect();
    let map = json!({
        "generation": generation,
        "placementVersion": 1,
        "virtualNodes": 64,
        "shards": [{"id": 0, "weight": 1}, {"id": 1, "weight": 2}],
        "tables": tables,
        "proposedAt": "2026-01-01T00:00:00Z",
    });
    object!({
        "metadata": {
            "name": "demo",
            "namespace": "ns",
            "annotations": {"opaque.dev/tables": json!(owned).to_string()},
        },
        "spec": {"clusterRef": {"name": "demo"}, "map": map},
        "status": {"active": map, "fencingToken": 1},
    })
}

/// An epoch that was published at this second.
pub(crate) fn epoch(epoch: i64) -> Epoch {
    Epoch {
        epoch,
        digest: format!("digest-{epoch}"),
        rows: 10 * epoch,
        bytes: 100 * epoch,
        published: Time(Timestamp::from_second(epoch).unwrap()),
        rejected: None,
    }
}

/// Only the table, its source, its cluster and an empty map.
pub(crate) fn facts(table: OpaqueTable) -> Facts {
    let source = match &table.spec.source.config_map_ref {
        Some(_) => SourceFacts::Data(b"city,country\nOslo,NO\n".to_vec()),
        None => SourceFacts::Address,
    };
    Facts {
        table,
        cluster: Some(cluster()),
        source,
        secrets: Vec::new(),
        jobs: Vec::new(),
        pod: None,
        lacks_pod: false,
        report: None,
        map: Some(map(1, &[], &[])),
        now: Timestamp::from_second(1_000).unwrap(),
    }
}
