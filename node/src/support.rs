//! What tests of several modules share.

#[path = "../../store/src/tests/disk.rs"]
pub(crate) mod disk;
