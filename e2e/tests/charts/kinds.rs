//! Chart `opaque-crds`: who may view and edit the kinds, and where it can be installed.

use std::process::Command;

use anyhow::{Result, bail, ensure};
use opaque_e2e::{ControlPlane, cache};

use super::apply::{apply, binding, namespace, until};
use super::helm::{NAMESPACE, root};
use super::rights::may;

#[tokio::test]
async fn who_may_see_or_edit_a_namespace_may_see_or_edit_what_is_ours_in_it() -> Result<()> {
    let mut control_plane = ControlPlane::start().await?;
    control_plane.start_controllers("clusterrole-aggregation")?;
    helm(&control_plane, &["install", "opaque-crds", "--namespace", "one", "--create-namespace"])?;
    let client = control_plane.client()?;
    namespace(&client, NAMESPACE).await?;
    for role in ["view", "edit", "admin"] {
        apply(&client, &binding(NAMESPACE, ("ClusterRole", role), role)).await?;
    }
    for (role, resource, verb, expected) in [
        ("view", "opaqueclusters", "list", true),
        ("view", "opaqueshardmaps", "get", true),
        ("view", "opaquetables", "update", false),
        ("edit", "opaqueclusters", "create", true),
        ("edit", "opaquetables", "delete", true),
        ("edit", "opaquetables", "watch", true),
        ("edit", "opaqueshardmaps", "update", false),
        ("edit", "opaqueclusters/status", "update", false),
        ("admin", "opaqueshardmaps", "update", true),
        ("admin", "opaqueshardmaps/status", "update", false),
    ] {
        let account = control_plane.client_as(NAMESPACE, role)?;
        // The controller adds the rules a moment after they are created.
        until(&format!("whether {role} may {verb} {resource} is {expected}"), async || {
            let allowed = may(&account, NAMESPACE, "opaque.dev", resource, verb).await?;
            Ok((allowed == expected).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_kinds_can_be_installed_again_from_another_namespace() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let one = ["--namespace", "one", "--create-namespace"];
    let two = ["--namespace", "two", "--create-namespace"];
    helm(&control_plane, &[&["install", "opaque-crds"][..], &one].concat())?;
    helm(&control_plane, &["uninstall", "opaque-crds", "--namespace", "one"])?;
    let install = [&["install", "opaque-crds"][..], &two].concat();
    let refused = helm(&control_plane, &install).err().map(|error| error.to_string());
    ensure!(refused.is_some_and(|words| words.contains("ownership")), "README says why");
    helm(&control_plane, &[&install[..], &["--take-ownership"]].concat())?;
    helm(&control_plane, &[&["upgrade", "opaque-crds"][..], &two].concat())
}

/// Runs helm against a control plane. The chart is added if a command needs it.
fn helm(control_plane: &ControlPlane, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(cache::server("helm")?);
    command.args(arguments).arg("--kubeconfig").arg(control_plane.kubeconfig());
    if !arguments.contains(&"uninstall") {
        command.arg(root().join("charts/opaque-crds"));
    }
    // Helm keeps its cache there.
    let home = tempfile::tempdir()?;
    let output = command.env("HOME", home.path()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
