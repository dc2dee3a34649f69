//! Tests in a real Kubernetes, one behaviour per file, each in a separate namespace: `make e2e`.
//!
//! `make test` ignores them, since it has no cluster.

mod all_quiet;
mod api_server;
mod api_server_away;
mod bucket;
mod cert_manager;
mod certificate_authority_change;
mod certificate_renewal;
mod certificate_revocation;
mod credentials;
mod cut_off;
mod deletion;
mod drain;
mod epochs;
mod first_answer;
mod helm_test;
mod killed_container;
mod killed_node;
mod leader_handover;
mod lost_map;
mod missing_manifest;
mod network_faults;
mod object_store;
mod operator_failover;
mod pods;
mod refused;
mod rolling_update;
mod sources;
mod support;
mod tables;
mod tls;
mod tokens;
mod too_large;
mod two_releases;
mod unreachable;
mod waiting;
