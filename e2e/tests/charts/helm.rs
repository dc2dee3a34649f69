//! `helm template` and `kubeconform`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use opaque_e2e::{cache, schemas};
use serde_json::Value;

/// Namespace of the release.
pub(crate) const NAMESPACE: &str = "opaque-system";
/// Name of the operator, its account and its Roles in a release named `opaque`.
pub(crate) const OPERATOR: &str = "opaque-operator";

/// Root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Files with values for the chart. One of them has the defaults.
pub(crate) fn value_sets() -> Result<Vec<PathBuf>> {
    let chart = root().join("charts/opaque");
    let mut sets = vec![chart.join("values.yaml")];
    for entry in std::fs::read_dir(chart.join("ci"))? {
        sets.push(entry?.path());
    }
    sets.sort();
    Ok(sets)
}

/// Renders chart `opaque` with a file of values and further options.
pub(crate) fn template(values: &Path, options: &[&str]) -> Result<Output> {
    let mut command = Command::new(cache::server("helm")?);
    command
        .args(["template", "opaque"])
        .arg(root().join("charts/opaque"))
        .args(["--namespace", NAMESPACE, "--kube-version", cache::version()?, "--values"])
        .arg(values)
        .args(options);
    command.output().context("cannot run helm")
}

/// The chart's output as text.
pub(crate) fn rendered(values: &Path, options: &[&str]) -> Result<String> {
    let output = template(values, options)?;
    if !output.status.success() {
        bail!("{}: {}", values.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The objects of a YAML text.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Checks a YAML text against schemas in a folder.
pub(crate) fn conform(text: &str, folder: &Path) -> Result<()> {
    let mut child = Command::new(cache::server("kubeconform")?)
        .args(["-strict", "-summary", "-schema-location", &schemas::location(folder)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run kubeconform")?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}
