//! Manifests of the harness' pods, and the query of most tests.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Service;
use opaque_e2e::cluster::pod_image;
use opaque_e2e::harness::{Namespace, QueryLoop, product};
use opaque_e2e::poll;
use tempfile::TempDir;

/// A private query to table `weather`.
pub(crate) const SQL: &str = "SELECT country, temperature FROM weather WHERE city = 'Santiago'";
/// The complete answer.
pub(crate) const ANSWER: &str = "country,temperature\nCL,21\n";

/// Asks [`SQL`] again and again. The folder holds the client's files.
pub(crate) async fn queries(namespace: &Namespace) -> Result<(QueryLoop, TempDir)> {
    let (question, folder) = product::question(namespace, SQL, &[ANSWER]).await?;
    Ok((QueryLoop::start(question).await?, folder))
}

/// Waits until a Service that was deleted exists again.
pub(crate) async fn service_is_back(
    namespace: &Namespace,
    name: &str,
    deleted: Option<String>,
) -> Result<()> {
    let services = namespace.api::<Service>();
    let back = || async {
        let found = services.get_opt(name).await?;
        Ok(found.filter(|service| service.metadata.uid != deleted))
    };
    poll::until("the deleted Service is back", Duration::from_secs(90), back).await.map(drop)
}

/// A StatefulSet `web` that serves its pods' names, with a headless Service and one with an
/// address.
pub(crate) fn web(replicas: u32) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{clusterIP: None, selector: {{app: web}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: vip}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: web
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 2
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: web
          image: {image}
          args: [serve, --port, "8080"]
          env: [{{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}]
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
"#,
        image = pod_image()
    )
}
