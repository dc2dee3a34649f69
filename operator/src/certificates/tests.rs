//! Plans, played through on a model of the API server, the nodes and cert-manager.

mod contents;
mod foreign;
mod own;
mod property;
mod world;
