//! Programs and the shared libraries that they need.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::layer::Layer;

/// Adds the loader and the libraries of a program, at their paths on this machine.
pub(super) fn add(layer: &mut Layer, program: &Path) -> Result<()> {
    if !program.is_file() {
        bail!("there is no such program: build it first (`make images`)");
    }
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // The output of ldd for a static program.
        if String::from_utf8_lossy(&output.stderr).contains("not a dynamic executable") {
            return Ok(());
        }
        bail!("ldd: {}", String::from_utf8_lossy(&output.stderr));
    }
    for line in text.lines() {
        if line.contains("not found") {
            bail!("a library is missing: {}", line.trim());
        }
        // `libm.so.6 => /lib/…/libm.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`, or the
        // kernel's `linux-vdso.so.1 (0x…)`, which is not a file.
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
        layer.file(path.trim_start_matches('/'), 0o755, bytes);
    }
    Ok(())
}

/// A program without symbols.
pub(super) fn strip(program: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let to = folder.path().join("stripped");
    let output = Command::new("strip")
        .arg("-o")
        .arg(&to)
        .arg(program)
        .output()
        .context("cannot run strip")?;
    if !output.status.success() {
        bail!("strip: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(fs::read(to)?)
}
