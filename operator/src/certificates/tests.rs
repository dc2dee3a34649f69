//! Runs plans on a model of the API server, the nodes and cert-manager.

mod contents;
mod external_issuer;
mod own_issuer;
mod property;
mod world;
