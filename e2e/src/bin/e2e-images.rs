//! Writes container images: `e2e-images [NAME...]`. `make images` builds their programs first.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use opaque_e2e::image::{IMAGES, reference};

/// Writes container images of this workspace's programs, without a container engine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Images to write; default: all
    names: Vec<String>,
    /// Folder of the programs; default: the folder of this program
    #[arg(long, env = "OPAQUE_BIN_DIR")]
    binaries: Option<PathBuf>,
    /// Folder for NAME.tar; default: `images` next to the folder of the programs
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let own = std::env::current_exe()?;
    let binaries = arguments.binaries.as_deref().or_else(|| own.parent()).context("no folder")?;
    let beside = || binaries.parent().unwrap_or(Path::new(".")).join("images");
    let out = arguments.out.clone().unwrap_or_else(beside);
    for name in &arguments.names {
        if !IMAGES.iter().any(|image| image.name == name) {
            bail!("there is no image {name}; there are {:?}", IMAGES.map(|image| image.name));
        }
    }
    std::fs::create_dir_all(&out)?;
    for image in IMAGES {
        if arguments.names.is_empty() || arguments.names.iter().any(|name| name == image.name) {
            let to = out.join(format!("{}.tar", image.name));
            image.write(binaries, &to)?;
            let size = std::fs::metadata(&to)?.len() / 1_000_000;
            println!("{} ({size} MB) in {}", reference(image.name), to.display());
        }
    }
    Ok(())
}
