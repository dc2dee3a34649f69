//! Tests in a real Kubernetes, one behaviour per file, each in a namespace of its own: `make e2e`.
//!
//! They are ignored in `make test`, which has no cluster.

mod all_quiet;
mod api_server;
mod api_server_away;
mod bucket;
mod cert_manager;
mod certificate_authority_change;
mod certificate_renewal;
mod certificate_revocation;
mod deletion;
mod drain;
mod epochs;
mod first_answer;
mod helm_test;
mod killed_container;
mod killed_node;
mod leader_handover;
mod object_store;
mod operator_failover;
mod pods;
mod rolling_update;
mod sources;
mod support;
mod tables;
mod tls;
mod waiting;
