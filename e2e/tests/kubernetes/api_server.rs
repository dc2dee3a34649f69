//! The API server comes back after a crash, and its audit log shows who sent which request.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use opaque_e2e::harness::audit::Call;
use opaque_e2e::harness::{self, Audit, Faults, measured};
use opaque_e2e::poll;

use crate::support::web;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn the_api_server_comes_back_and_pods_can_be_made() -> Result<()> {
    harness::run_alone("api", async |namespace| {
        let away = Faults::new()?.restart_api_server(namespace).await?;
        measured("API server killed to ready", away);
        namespace.apply(&web(1)).await?;
        namespace.ready("web-0", Duration::from_secs(120)).await.map(drop)
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn every_write_is_in_the_audit_log() -> Result<()> {
    harness::run("audit", async |namespace| {
        let audit = Audit::new()?;
        let mark = audit.mark()?;
        let object: ConfigMap = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "noted"},
        }))?;
        namespace.api().create(&PostParams::default(), &object).await?;
        // The log is written after the response.
        let noted = || async {
            let calls = audit.since(mark)?.into_iter();
            let mine = |call: &Call| call.namespace == namespace.name() && call.name == "noted";
            Ok(calls.filter(Call::is_write).find(mine))
        };
        let (call, _) = poll::until("the call is noted", Duration::from_secs(20), noted).await?;
        assert_eq!((call.user.as_str(), call.code), ("admin", 201));
        assert_eq!((call.verb.as_str(), call.resource.as_str()), ("create", "configmaps"));
        Ok(())
    })
    .await
}
