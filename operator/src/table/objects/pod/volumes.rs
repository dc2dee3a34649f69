//! What a prepare Job mounts: the API's credentials, a scratch folder, the source and the store's
//! credentials.

use opaque_crds::table::{Format, Source};
use opaque_crds::{OpaqueCluster, OpaqueTable};
use serde_json::{Value, json};

use super::{MAX_SOURCE_MIB, SOURCE};
use crate::pod::{STORE_DIR, store_credentials};

/// Size of `/tmp` in MiB without a source in it.
const SCRATCH_MIB: u64 = 16;
/// Volume of the store's credentials.
const STORE: &str = "prepare-store";
/// Path of a pod's token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The volumes that every Job has, in addition to those of `podTemplate`.
pub(super) fn volumes(table: &OpaqueTable, cluster: &OpaqueCluster) -> Vec<Value> {
    let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}});
    let authority = json!({"configMap": {
        "name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }});
    let field = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    let namespace = json!({"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}});
    let mut volumes = vec![
        json!({"name": "prepare-api", "projected": {"sources": [token, authority, namespace]}}),
        json!({"name": "prepare-tmp", "emptyDir": {"sizeLimit": scratch(table)}}),
    ];
    if let Some(reference) = &table.spec.source.config_map_ref {
        let items = json!([{"key": reference.key, "path": reference.key}]);
        let config_map = json!({"name": reference.name, "items": items});
        volumes.push(json!({"name": "prepare-source", "configMap": config_map}));
    }
    if let Some((volume, _)) = store_credentials(&cluster.spec.storage) {
        volumes.push(json!({"name": STORE, "projected": volume.projected}));
    }
    volumes
}

/// Where the container finds them.
pub(super) fn mounts(table: &OpaqueTable, cluster: &OpaqueCluster) -> Vec<Value> {
    let mut mounts = vec![
        json!({"name": "prepare-api", "mountPath": TOKEN, "readOnly": true}),
        json!({"name": "prepare-tmp", "mountPath": "/tmp"}),
    ];
    if table.spec.source.config_map_ref.is_some() {
        mounts.push(json!({"name": "prepare-source", "mountPath": SOURCE, "readOnly": true}));
    }
    if store_credentials(&cluster.spec.storage).is_some() {
        mounts.push(json!({"name": STORE, "mountPath": STORE_DIR, "readOnly": true}));
    }
    mounts
}

/// Size of `/tmp`, as a quantity. Only a Parquet file from the network is written there, as many
/// bytes as are transferred. A pod that writes more is evicted, instead of filling the machine's
/// disk.
///
/// The space is not requested from the scheduler: most sources are far smaller than the largest
/// allowed one, and with its size as a request, a Job would find no machine.
/// `spec.prepare.resources` can request `ephemeral-storage`.
fn scratch(table: &OpaqueTable) -> String {
    let Source { url, format, .. } = &table.spec.source;
    let spooled = match (url, format) {
        (Some(_), Format::Parquet) => table.spec.prepare.max_source_mib().unwrap_or(MAX_SOURCE_MIB),
        (_, Format::Csv | Format::Json | Format::Jsonl | Format::Parquet) => 0,
    };
    // The kubelet counts whole blocks, and the folder itself.
    format!("{}Mi", spooled.saturating_add(SCRATCH_MIB))
}
