//! Opaque's operator.
#![forbid(unsafe_code)]
