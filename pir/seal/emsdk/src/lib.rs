//! Takes the place of crate `emsdk` in the build script of `seal_fhe`.
//!
//! **What.** SEAL's build script can also target WebAssembly, for which `emsdk` downloads a
//! compiler. Opaque builds SEAL for servers and command lines only, where this code never runs. The
//! script must still compile.
//!
//! **Why.** The real crate brings reqwest and OpenSSL, more than a hundred crates, and all of them
//! are built before SEAL's C++ may start.

use std::path::{Path, PathBuf};

/// A build of SEAL for WebAssembly, which there is not.
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

    /// Ends the build: SEAL is not built for WebAssembly here.
    pub fn build(self) -> PathBuf {
        panic!(
            "opaque-seal is not built for WebAssembly: build without it (opaque-client without its default features)"
        )
    }
}
