//! The controller of OpaqueClusters.

use std::sync::Arc;
use std::time::Duration;

use opaque_crds::OpaqueCluster;
use tokio::sync::watch;

use crate::context::Context;
use crate::controller::{self, Reconciler};
use crate::error::Error;
use crate::labels;
use crate::observe::Touched;

/// Runs until `stop` is true.
///
/// # Errors
/// When it cannot run at all.
pub async fn controller(context: Arc<Context>, stop: watch::Receiver<bool>) -> Result<(), Error> {
    controller::run(context, Clusters, stop).await
}

struct Clusters;

impl Reconciler for Clusters {
    const NAME: &'static str = "cluster";
    type Root = OpaqueCluster;

    fn roots(&self, _context: &Context, touched: &Touched) -> Vec<(String, String)> {
        let namespace = touched.namespace().to_owned();
        match touched.kind {
            "OpaqueCluster" | "OpaqueShardMap" => vec![(namespace, touched.name().to_owned())],
            _ => touched
                .label(labels::CLUSTER)
                .map(|cluster| vec![(namespace, cluster.to_owned())])
                .unwrap_or_default(),
        }
    }

    async fn reconcile(
        &self,
        _context: &Context,
        _cluster: OpaqueCluster,
    ) -> Result<Option<Duration>, Error> {
        Ok(None)
    }
}
