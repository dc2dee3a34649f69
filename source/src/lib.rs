//! Rows of a table from a file.
#![forbid(unsafe_code)]
