//! Writes the definitions of all kinds into the templates of `charts/opaque-crds` (`make crds`).

mod render;

use std::fs;

fn main() -> anyhow::Result<()> {
    let folder = render::folder();
    fs::create_dir_all(&folder)?;
    for (file, text) in render::manifests()? {
        fs::write(folder.join(file), text)?;
    }
    Ok(())
}
