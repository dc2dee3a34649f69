//! BFV for Opaque (bodies follow; this fixes the public types).

mod types;

pub use types::{
    Bfv, EVALUATION_KEYS_BYTES, EncryptedSecret, EvaluationKeys, PlaneTable, SealError,
    hint_product,
};

#[cfg(feature = "secrets")]
pub mod secrets;
