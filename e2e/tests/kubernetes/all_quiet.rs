//! A cluster in steady state only renews Leases, an invalid object is not retried forever, and an
//! operator needs no additional memory for unrelated Secrets.
//!
//! The test takes two minutes, concurrently with all others (`harness::run_beside_all`), since even
//! a restart of the API server must cause no writes. `OPAQUE_E2E_STEADY_S=600 make e2e
//! TESTS=all_quiet` extends it to ten minutes. Its name makes it start first, since tests start in
//! the order of their names.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use opaque_e2e::cluster::BUCKET;
use opaque_e2e::harness::audit::{Call, Mark};
use opaque_e2e::harness::{self, Audit, Faults, Lead, Namespace, Question, lead, product};
use opaque_e2e::poll;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::support::{ANSWER, SQL};

const LIMIT: Duration = Duration::from_secs(120);
/// Variable with the duration of the steady state, in seconds.
const STEADY: &str = "OPAQUE_E2E_STEADY_S";
/// Duration without the variable.
const TWO_MINUTES: u64 = 120;
/// How long nothing may be written before the steady state begins.
const SETTLED: Duration = Duration::from_secs(10);
/// Requests are counted for each span of this length.
const SPAN: Duration = Duration::from_secs(20);
/// With fewer spans than this, an ordinary one cannot be told from others, since other tests
/// restart the API server in between.
const ENOUGH: usize = 5;

/// Number of unrelated Secrets.
const FOREIGN: usize = 2000;
/// Size of each in bytes. Keeping all of them would take much more than [`GROWTH`].
const FOREIGN_BYTES: usize = 6000;
/// Secrets that are created concurrently.
const AT_A_TIME: usize = 16;
/// How much an operator's memory may grow, in KiB.
const GROWTH: u64 = 10 << 10;

/// Requests of an operator, in addition to renewals, in an ordinary span. Each watch of its sixteen
/// kinds ends about every five minutes and is started again.
const CALLS: usize = 20;
/// Requests in a span in which the API server is restarted twice, as other tests do. After each
/// restart, the operator lists and watches all kinds again, after some tries. A loop would cause
/// thousands of requests.
const CALLS_AFTER_RESTARTS: usize = 400;
/// The selector that every list and watch of Secrets must have.
const OWN_SECRETS: &str = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dopaque-operator";

#[tokio::test]
#[ignore = "needs a cluster: make e2e"]
async fn in_steady_state_only_leases_are_written() -> Result<()> {
    harness::run_beside_all("quiet", Quiet::prepare, Quiet::stays).await
}

/// A cluster at rest.
struct Quiet {
    audit: Audit,
    /// Before anything was installed.
    start: Mark,
    /// Since when nothing was written, and the position in the log up to which this was checked.
    settled: (Instant, Mark),
    operator: Operator,
    /// Resident memory of the operator in KiB, without the unrelated Secrets and with them.
    memory: (u64, u64),
    question: (Question, TempDir),
}

impl Quiet {
    async fn prepare(namespace: &Namespace) -> Result<Self> {
        let (audit, faults) = (Audit::new()?, Faults::new()?);
        let start = audit.mark()?;
        product::serve(namespace, 2, 2, &[]).await?;
        let question = product::question(namespace, SQL, &[ANSWER]).await?;
        product::ask(&question.0).await?;
        an_invalid_cluster(namespace).await?;
        let lead = Lead::of(namespace, lead::OPERATOR).await?;
        let operator = Operator { lead, faults };
        let before = operator.memory(namespace).await?;
        let (settled, ()) =
            tokio::try_join!(settled(namespace, &audit), foreign_secrets(namespace))?;
        let memory = (before, operator.memory(namespace).await?);
        Ok(Self { audit, start, settled, operator, memory, question })
    }

    async fn stays(namespace: &Namespace, quiet: Self) -> Result<()> {
        let Self { audit, start, settled, operator, memory: (before, after), question } = quiet;
        steady(namespace, &audit, settled).await?;
        let look = || async { Ok(Some(operator.memory(namespace).await?)) };
        let (end, _) = poll::until("the operator's memory is seen", LIMIT, look).await?;
        println!(
            "measured: resident memory of the operator: {before} KiB, with {FOREIGN} foreign Secrets {after} KiB, at the end {end} KiB"
        );
        ensure!(after.max(end) <= before + GROWTH, "the operator keeps foreign Secrets");
        reads_only_own_secrets(namespace, &audit.since(start)?)?;
        product::ask(&question.0).await
    }
}

/// Applies a cluster with an old name of a protected field, which no CEL rule knows.
async fn an_invalid_cluster(namespace: &Namespace) -> Result<()> {
    let url = format!("s3://{BUCKET}/{}", namespace.name());
    let other = format!("{url}/invalid");
    let changes = [
        ("name: demo\n", "name: invalid\n"),
        (&url, &other),
        ("      containers:", "      serviceAccount: admin\n      containers:"),
    ];
    product::apply_cluster_with(namespace, 1, 1, &changes).await?;
    product::condition(namespace, "opaquecluster/invalid", "Degraded", "True", LIMIT).await?;
    let reason = "--output=jsonpath={.status.conditions[?(@.type=='Degraded')].reason}";
    let reason = namespace.kubectl(&["get", "opaquecluster/invalid", reason]).await?;
    ensure!(reason == "InvalidSpec", "{reason}");
    Ok(())
}

/// Waits until nothing was written for a while. Returns since when.
async fn settled(namespace: &Namespace, audit: &Audit) -> Result<(Instant, Mark)> {
    let mut mark = audit.mark()?;
    let mut quiet = Instant::now();
    let look = || {
        let calls = audit.next(&mut mark);
        if calls.as_ref().is_ok_and(|calls| !writes(namespace, calls).is_empty()) {
            quiet = Instant::now();
        }
        let settled = quiet.elapsed() > SETTLED;
        async move { calls.map(|_| settled.then_some(())) }
    };
    poll::until("nothing is written any more", LIMIT, look).await?;
    Ok((quiet, mark))
}

/// Watches for the whole time. Fails at the first write.
async fn steady(
    namespace: &Namespace,
    audit: &Audit,
    (start, mut mark): (Instant, Mark),
) -> Result<()> {
    let seconds = std::env::var(STEADY).map_or(Ok(TWO_MINUTES), |text| text.parse());
    let duration = Duration::from_secs(seconds.with_context(|| format!("{STEADY} is no number"))?);
    let mut renewals: BTreeMap<String, usize> = BTreeMap::new();
    let mut spans = Vec::new();
    while start.elapsed() < duration {
        // The test is about the passing of time, so there is no condition to wait for.
        sleep(SPAN.min(duration.saturating_sub(start.elapsed()))).await;
        let calls = audit.next(&mut mark)?;
        let written = writes(namespace, &calls);
        ensure!(
            written.is_empty(),
            "{} writes within {:?}: {written:#?}",
            written.len(),
            start.elapsed()
        );
        let ours = |call: &&Call| call.is_by_accounts_of(namespace.name());
        for call in calls.iter().filter(ours).filter(|call| call.is_renewal()) {
            *renewals.entry(call.user.clone()).or_default() += 1;
        }
        let asked = |call: &&Call| call.user == operator(namespace) && !call.is_renewal();
        let asked = calls.iter().filter(asked).count();
        ensure!(
            asked <= CALLS_AFTER_RESTARTS,
            "the operator has asked {asked} times within {SPAN:?}"
        );
        spans.push(asked);
    }
    println!(
        "measured: no write in {:.0} s, but renewals of Leases:",
        start.elapsed().as_secs_f64()
    );
    for (account, count) in &renewals {
        println!("measured:   {count} by {account}");
    }
    println!("measured: requests of the operator except renewals, by spans of {SPAN:?}: {spans:?}");
    spans.sort_unstable();
    let ordinary = spans.get(spans.len() / 2).copied().context("no span")?;
    ensure!(
        ordinary <= CALLS || spans.len() < ENOUGH,
        "the operator sends {ordinary} requests in an ordinary span of {SPAN:?}"
    );
    // Without these renewals, the log would be incomplete.
    for account in [operator(namespace), account(namespace, "demo-node")] {
        ensure!(renewals.contains_key(&account), "no renewal by {account}: {renewals:?}");
    }
    Ok(())
}

/// Writes by our programs in this namespace, without renewals.
fn writes<'a>(namespace: &Namespace, calls: &'a [Call]) -> Vec<&'a Call> {
    let ours = |call: &&Call| {
        call.is_by_accounts_of(namespace.name()) && call.is_write() && !call.is_renewal()
    };
    calls.iter().filter(ours).collect()
}

fn account(namespace: &Namespace, name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", namespace.name())
}

fn operator(namespace: &Namespace) -> String {
    account(namespace, "opaque-operator")
}

/// Creates unrelated Secrets.
async fn foreign_secrets(namespace: &Namespace) -> Result<()> {
    let api = namespace.api::<Secret>();
    let text = "x".repeat(FOREIGN_BYTES);
    let make = |number: usize| {
        let (api, text) = (api.clone(), text.clone());
        async move {
            let secret: Secret = serde_json::from_value(serde_json::json!({
                "metadata": {"name": format!("foreign-{number}")}, "stringData": {"text": text},
            }))?;
            api.create(&PostParams::default(), &secret).await?;
            anyhow::Ok(())
        }
    };
    stream::iter(0..FOREIGN).map(make).buffer_unordered(AT_A_TIME).try_collect().await
}

/// The active operator.
struct Operator {
    lead: Lead,
    faults: Faults,
}

impl Operator {
    /// Resident memory of its process, in KiB. Fails if another operator has become active.
    async fn memory(&self, namespace: &Namespace) -> Result<u64> {
        let (lead, now) = (&self.lead, Lead::of(namespace, lead::OPERATOR).await?);
        ensure!(now.identity == lead.identity, "{now:?} took over from {lead:?}");
        let process = self.faults.process(namespace, &lead.pod, "operator").await?;
        process.resident().context("the operator has ended")
    }
}

/// Checks that every list of Secrets selects the operator's, and that no unrelated one is read by
/// name.
fn reads_only_own_secrets(namespace: &Namespace, calls: &[Call]) -> Result<()> {
    let read = |call: &&Call| {
        call.user == operator(namespace) && call.resource == "secrets" && !call.is_write()
    };
    let reads: Vec<_> = calls.iter().filter(read).collect();
    for call in &reads {
        let own = match call.verb.as_str() {
            "get" => !call.name.starts_with("foreign-"),
            _ => call.uri.contains(OWN_SECRETS),
        };
        ensure!(own, "the operator reads foreign Secrets: {call:?}");
    }
    ensure!(reads.iter().any(|call| call.verb == "watch"), "no watch of Secrets: {reads:?}");
    println!("measured: {} reads of Secrets by the operator, only of its own ones", reads.len());
    Ok(())
}
