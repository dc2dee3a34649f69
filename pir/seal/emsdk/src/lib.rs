//! A stand-in for crate `emsdk` in the build script of `seal_fhe`.
//!
//! **What.** SEAL's build script can also target WebAssembly, for which `emsdk` downloads a
//! compiler. Opaque builds SEAL only for servers and command-line programs, so this code never
//! runs. The script must still compile.
//!
//! **Why.** The real crate depends on reqwest and OpenSSL. That is more than a hundred crates, all
//! built before the build of SEAL's C++ can start.

use std::path::{Path, PathBuf};

/// A build of SEAL for WebAssembly, which is not supported.
pub struct Config;

impl Config {
    /// Accepts any source folder.
    pub fn new<P: AsRef<Path>>(_path: P) -> Self {
        Self
    }

    /// Accepts any variable of CMake.
    #[must_use]
    pub fn define(self, _name: &str, _value: &str) -> Self {
        self
    }

    /// Fails the build: SEAL is not built for WebAssembly here.
    pub fn build(self) -> PathBuf {
        panic!(
            "opaque-seal is not built for WebAssembly: build without it (opaque-client without its default features)"
        )
    }
}
