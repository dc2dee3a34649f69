//! The table of specs, against a real API server.

#[path = "../../crds/tests/support/cases.rs"]
mod cases;

use std::path::Path;

use anyhow::{Context, Result};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use opaque_e2e::ControlPlane;
use opaque_e2e::control_plane::FIELD_MANAGER;

use cases::Prepared;

const NAMESPACE: &str = "default";

#[tokio::test]
async fn the_api_server_accepts_and_refuses_with_messages() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    control_plane.establish(&opaque_crds::definitions()).await?;
    let client = control_plane.client()?;

    let mut failures = Vec::new();
    for prepared in cases::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))? {
        let case = &prepared.case;
        let outcome = apply(&client, &prepared).await.with_context(|| case.name.clone())?;
        match (outcome, &case.message) {
            (Ok(()), None) => {}
            (Err(refusal), Some(message)) if is_refusal(&refusal, message) => {
                let by = if case.schema { "schema" } else { "rule" };
                println!("{}: refused by {by}: {}", case.name, refusal.message);
            }
            (found, wanted) => {
                failures.push(format!("{}: found {found:?}, wanted {wanted:?}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The server expresses `spec.field: message` as `spec.field: Invalid value: "object": message`.
fn is_refusal(refusal: &kube::core::Status, message: &str) -> bool {
    let (path, rule) = message.split_once(": ").unwrap_or(("", message));
    let text = &refusal.message;
    refusal.code == 422 && (text.contains(message) || (text.contains(path) && text.contains(rule)))
}

/// Applies the case's object. The outer error is a failure of the test itself.
async fn apply(client: &Client, prepared: &Prepared) -> Result<Result<(), kube::core::Status>> {
    let kind = GroupVersionKind::gvk("opaque.dev", "v1alpha1", &prepared.case.kind);
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let params = PatchParams::apply(FIELD_MANAGER);

    if let Some(old) = &prepared.old {
        let old: DynamicObject = serde_json::from_value(old.clone())?;
        api.patch(&old.name_any(), &params, &Patch::Apply(&old)).await?;
        if old.data.get("status").is_some() {
            api.patch_status(&old.name_any(), &params, &Patch::Apply(&old)).await?;
        }
    }
    let new: DynamicObject = serde_json::from_value(prepared.new.clone())?;
    let name = new.name_any();
    let outcome = if prepared.case.status {
        api.patch_status(&name, &params, &Patch::Apply(&new)).await
    } else {
        api.patch(&name, &params, &Patch::Apply(&new)).await
    };
    for object in api.list(&Default::default()).await? {
        api.delete(&object.name_any(), &Default::default()).await?;
    }
    match outcome {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(*status)),
        Err(error) => Err(error.into()),
    }
}
