//! Tests in a real Kubernetes, one behaviour per file, each in a namespace of its own: `make e2e`.
//!
//! They are ignored in `make test`, which has no cluster.

mod api_server;
mod first_answer;
mod killed_container;
mod object_store;
mod pods;
mod support;
