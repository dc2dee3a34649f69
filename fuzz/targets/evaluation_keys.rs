//! Evaluation keys are either refused or accepted by SEAL. SEAL never aborts.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use opaque_fuzz::expand;
use opaque_seal::{Bfv, EVALUATION_KEYS_BYTES, EvaluationKeys};

static BFV: LazyLock<Arc<Bfv>> = LazyLock::new(|| Bfv::new().expect("the parameter set"));

fuzz_target!(|input: &[u8]| {
    let bytes = expand(input);
    if EvaluationKeys::from_bytes(&BFV, &bytes).is_ok() {
        assert_eq!(bytes.len(), EVALUATION_KEYS_BYTES);
    }
});
