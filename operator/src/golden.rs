//! Golden files: texts that people read, or whose changes restart pods.

use std::path::Path;

/// Compares a text with a file below `src`. `OPAQUE_UPDATE_GOLDEN=1 cargo test -p opaque-operator
/// golden` rewrites it.
pub(crate) fn check(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
    if std::env::var_os("OPAQUE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs; it would be:\n{text}", path.display());
}
