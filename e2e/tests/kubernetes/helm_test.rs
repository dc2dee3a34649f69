//! `helm test` sends a private query, and fails if the answer is not the expected one.

use anyhow::{Result, ensure};
use opaque_e2e::harness::{self, measured, product};
use tokio::time::Instant;

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn helm_test_asks_and_compares() -> Result<()> {
    harness::run("helm-test", async |namespace| {
        product::serve(namespace, 1, 1, &["test.cluster=demo"]).await?;
        let start = Instant::now();
        let report = namespace.helm(&["test", "opaque", "--logs"]).await?;
        measured("helm test", start.elapsed());
        ensure!(report.contains("Phase:          Succeeded"), "{report}");
        ensure!(report.contains("country,temperature\nCL,21\n"), "{report}");

        let chart = product::root().join("charts/opaque").display().to_string();
        // A raw string avoids the parsing of commas by `--set`.
        let expect = r#"test.expect="country,temperature\nCL,99\n""#;
        let upgrade = ["upgrade", "opaque", &chart, "--reuse-values", "--set-json", expect];
        namespace.helm(&upgrade).await?;
        let Err(failure) = namespace.helm(&["test", "opaque"]).await else {
            anyhow::bail!("helm test accepts a wrong answer");
        };
        let failure = format!("{failure:#}");
        ensure!(failure.contains("opaque-operator-test failed"), "{failure}");
        // The pod remains, for its log.
        let log = namespace.kubectl(&["logs", "opaque-operator-test", "--container=query"]).await?;
        ensure!(log.contains("the answer is not the expected one"), "{log}");
        ensure!(log.contains("CL,21"), "{log}");
        Ok(())
    })
    .await
}
