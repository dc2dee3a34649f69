//! What Opaque's servers need to be operated: elections, health, metrics.
#![forbid(unsafe_code)]
