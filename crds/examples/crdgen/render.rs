//! From definitions to YAML; shared with the test that compares it with what is committed.

use std::path::{Path, PathBuf};

use kube::ResourceExt;

const HEADER: &str = "# Generated from crate opaque-crds by `make crds`: do not edit.\n";

/// Where the manifests are committed.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/opaque-crds/templates")
}

/// Each definition's file name and YAML.
///
/// They are templates of the chart, not files of its `crds/` folder, which Helm never upgrades; the
/// annotation keeps them, and so everybody's objects, when the chart is uninstalled.
pub(crate) fn manifests() -> anyhow::Result<Vec<(String, String)>> {
    let mut manifests = Vec::new();
    for mut definition in opaque_crds::definitions() {
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".into(), "keep".into());
        let yaml = serde_saphyr::to_string(&definition)?;
        manifests.push((format!("{}.yaml", definition.name_any()), format!("{HEADER}{yaml}")));
    }
    Ok(manifests)
}
