//! Maps and lists that the API server treats as a single value: adding an entry changes the whole.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::RoleBinding;
use serde_json::{Value, json};

use super::harness::{Kind, Test};

impl Test {
    /// Merges `value` at `pointer` and waits until the former value is restored.
    async fn put_back<K: Kind>(&self, name: &str, pointer: &str, value: &Value) -> Result<()> {
        let at = |object: &K| -> Result<Value> {
            let object = serde_json::to_value(object)?;
            object.pointer(pointer).cloned().with_context(|| format!("no {pointer}"))
        };
        let before = at(&self.get::<K>(name).await?)?;
        let fields = pointer.split('/').skip(1).collect::<Vec<_>>();
        let patch = fields.iter().rev().fold(value.clone(), |below, field| json!({*field: below}));
        self.merge::<K>(name, &patch).await?;
        self.until(&format!("{pointer} of {} {name} is put back", K::kind(&())), async || {
            Ok(at(&self.get::<K>(name).await?)? == before)
        })
        .await
    }
}

#[tokio::test]
async fn what_drifts_in_a_field_of_one_value_is_put_back() -> Result<()> {
    let test = Test::serving("drift").await?;
    let pods = test.pods().await?;
    let extra = json!({"drift": "x"});
    test.put_back::<Service>("demo-query", "/spec/selector", &extra).await?;
    test.put_back::<NetworkPolicy>("demo", "/spec/podSelector/matchLabels", &extra).await?;
    test.put_back::<PodDisruptionBudget>("demo-shard-1", "/spec/selector/matchLabels", &extra)
        .await?;
    test.put_back::<StatefulSet>("demo-shard-0", "/spec/template/spec/nodeSelector", &extra)
        .await?;
    let everyone = json!([{
        "kind": "Group", "name": "system:authenticated", "apiGroup": "rbac.authorization.k8s.io",
    }]);
    test.put_back::<RoleBinding>("demo-node", "/subjects", &everyone).await?;
    let anywhere = json!([{"ports": [{"port": 7200, "protocol": "TCP"}]}]);
    test.put_back::<NetworkPolicy>("demo", "/spec/ingress", &anywhere).await?;
    test.settle().await?;
    ensure!(test.pods().await? == pods, "pods were replaced");
    Ok(())
}
