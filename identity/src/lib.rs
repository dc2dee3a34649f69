//! Who a node is: its URI and what its certificate allows.
#![forbid(unsafe_code)]
