//! The OCI image layout: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{TAG, USER};

/// The configuration of an image.
pub(super) struct Config<'a> {
    /// Name with registry and tag.
    pub(super) reference: &'a str,
    /// The program, as a path.
    pub(super) entry_point: &'a str,
    /// Arguments if a container gives none.
    pub(super) arguments: &'a [&'a str],
}

/// An image of one layer, uncompressed, as a tar archive.
pub(super) fn archive(config: &Config<'_>, layer: &[u8]) -> Result<Vec<u8>> {
    let mut blobs = Vec::new();
    let mut blob = |kind: &str, bytes: Vec<u8>| -> Value {
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        });
        blobs.push((format!("blobs/sha256/{digest}"), bytes));
        descriptor
    };
    let layer = blob("layer.v1.tar", layer.to_vec());
    let configuration = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Entrypoint": [config.entry_point],
            "Cmd": config.arguments,
            "Env": ["PATH=/usr/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.get("digest")]},
        "history": [{"created_by": "opaque e2e-images"}],
    });
    let configuration = blob("config.v1+json", serde_json::to_vec(&configuration)?);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": configuration,
        "layers": [layer],
    });
    let mut manifest = blob("manifest.v1+json", serde_json::to_vec(&manifest)?);
    if let Some(manifest) = manifest.as_object_mut() {
        let annotations = json!({
            "io.containerd.image.name": config.reference,
            "org.opencontainers.image.ref.name": TAG,
        });
        manifest.insert("annotations".into(), annotations);
    }
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});

    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
    for (path, bytes) in &blobs {
        append(&mut archive, path, bytes)?;
    }
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    Ok(archive.append_data(&mut header, path, bytes)?)
}

/// This machine's architecture, under Go's name.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
