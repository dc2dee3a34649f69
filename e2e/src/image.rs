//! Container images without a container engine.
//!
//! An image is one layer, in the OCI image layout, in a tar file that `ctr image import`, `podman load`
//! and `docker load` (25 or newer) take: programs of this workspace, stripped, the shared libraries
//! that `ldd` names, and the few files that every program expects. The same programs make the same
//! bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::layer::Layer;

mod layer;
mod libraries;
mod oci;

/// Who the programs run as.
pub const USER: u32 = 65532;
/// Tag of all images: the workspace's version.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Name, without registry and tag.
    pub name: &'static str,
    /// Its programs, in `/usr/bin`; the first is the entry point.
    pub programs: &'static [&'static str],
    /// Arguments when a container gives none.
    pub arguments: &'static [&'static str],
}

/// All images of the workspace (docs/decisions/009) and the one that the tests' own pods run.
pub const IMAGES: [Image; 4] = [
    Image { name: "opaque-node", programs: &["opaque-node", "opaque-prepare"], arguments: &[] },
    Image { name: "opaque-operator", programs: &["opaque-operator"], arguments: &[] },
    Image { name: "opaque-cli", programs: &["opaque"], arguments: &[] },
    Image { name: "opaque-e2e-pod", programs: &["e2e-pod"], arguments: &["pause"] },
];

/// How pods name an image.
pub fn reference(name: &str) -> String {
    format!("localhost/{name}:{TAG}")
}

impl Image {
    /// Writes the image with programs from `binaries` to a tar file. A file that is there already and
    /// has the same bytes is left alone.
    pub fn write(&self, binaries: &Path, to: &Path) -> Result<()> {
        let mut layer = Layer::default();
        base(&mut layer)?;
        for name in self.programs {
            let program = binaries.join(name);
            let context = || format!("{} of image {}", program.display(), self.name);
            libraries::add(&mut layer, &program).with_context(context)?;
            let stripped = libraries::strip(&program).with_context(context)?;
            layer.file(&format!("usr/bin/{name}"), 0o755, stripped);
        }
        let entry = self.programs.first().context("an image without programs")?;
        let config = oci::Config {
            reference: &reference(self.name),
            entry_point: &format!("/usr/bin/{entry}"),
            arguments: self.arguments,
        };
        let bytes = oci::archive(&config, &layer.archive()?)?;
        if fs::read(to).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
    }
}

/// What every image has: users, name resolution, authorities of the public internet, `/tmp`.
fn base(layer: &mut Layer) -> Result<()> {
    const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
    let passwd =
        format!("root:x:0:0:root:/:/sbin/nologin\nopaque:x:{USER}:{USER}::/:/sbin/nologin\n");
    let text = |text: &str| text.as_bytes().to_vec();
    layer.file("etc/passwd", 0o644, passwd.into_bytes());
    layer.file("etc/group", 0o644, format!("root:x:0:\nopaque:x:{USER}:\n").into_bytes());
    layer.file("etc/nsswitch.conf", 0o644, text("passwd: files\ngroup: files\nhosts: files dns\n"));
    let authorities = fs::read(AUTHORITIES)
        .with_context(|| format!("{AUTHORITIES} is missing: install ca-certificates"))?;
    layer.file(AUTHORITIES.trim_start_matches('/'), 0o644, authorities);
    layer.folder("tmp", 0o1777);
    Ok(())
}
