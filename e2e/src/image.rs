//! Container images without a container engine.
//!
//! An image has one layer, in the OCI image layout, in a tar file that `ctr image import`, `podman
//! load` and `docker load` (25 or newer) accept. The layer contains programs of this workspace,
//! stripped, the shared libraries that `ldd` lists, and the few files that every program expects.
//! The same programs give the same bytes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use self::layer::Layer;

mod layer;
mod libraries;
mod oci;

/// User id under which the programs run.
pub const USER: u32 = 65532;
/// Tag of all images: the workspace's version.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// Content of an image.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Name, without registry and tag.
    pub name: &'static str,
    /// The image's programs, in `/usr/bin`. The first is the entry point.
    pub programs: &'static [&'static str],
    /// Arguments if a container gives none.
    pub arguments: &'static [&'static str],
}

/// All images of the workspace (docs/decisions/009), and the one for the tests' pods.
pub const IMAGES: [Image; 4] = [
    Image { name: "opaque-node", programs: &["opaque-node", "opaque-prepare"], arguments: &[] },
    Image { name: "opaque-operator", programs: &["opaque-operator"], arguments: &[] },
    Image { name: "opaque-cli", programs: &["opaque"], arguments: &[] },
    Image { name: "opaque-e2e-pod", programs: &["e2e-pod"], arguments: &["pause"] },
];

/// The name by which pods refer to an image.
pub fn reference(name: &str) -> String {
    format!("localhost/{name}:{TAG}")
}

impl Image {
    /// Writes the image with programs from `binaries` to a tar file. An existing file with the same
    /// bytes is not touched.
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

/// The content of every image: users, name resolution, authorities of the public internet, `/tmp`.
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
