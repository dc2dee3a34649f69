//! Nothing is left of a control plane, however its test ends.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use opaque_e2e::ControlPlane;
use opaque_e2e::processes::is_running;
use tokio::time::{Instant, sleep};

/// Set in the child that is killed. The child starts a control plane and waits to be killed.
const VICTIM: &str = "OPAQUE_E2E_VICTIM";

#[tokio::test]
async fn dropping_a_control_plane_ends_its_servers() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let processes = control_plane.processes();
    assert!(processes.iter().all(|&process| is_running(process)));
    drop(control_plane);
    assert!(!processes.iter().any(|&process| is_running(process)));
    Ok(())
}

#[tokio::test]
async fn killing_the_test_ends_its_servers() -> Result<()> {
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "the_victim", "--ignored", "--nocapture", "--test-threads=1"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()?;
    let processes = read_processes(victim.stdout.take().context("no output")?)?;
    assert!(processes.iter().all(|&process| is_running(process)));
    victim.kill()?;
    victim.wait()?;

    let limit = Instant::now() + Duration::from_secs(20);
    while processes.iter().any(|&process| is_running(process)) {
        assert!(Instant::now() < limit, "{processes:?} outlived the test");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Not a test by itself. This is the process that [`killing_the_test_ends_its_servers`] kills.
#[tokio::test]
#[ignore = "it waits to be killed by another test"]
async fn the_victim() -> Result<()> {
    ensure!(std::env::var_os(VICTIM).is_some(), "nothing would kill it");
    let control_plane = ControlPlane::start().await?;
    let [etcd, apiserver] = control_plane.processes();
    println!("<{etcd} {apiserver}>");
    std::future::pending::<()>().await;
    drop(control_plane);
    Ok(())
}

fn read_processes(mut output: impl Read) -> Result<Vec<u32>> {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with('>') {
        output.read_exact(&mut byte).context("the victim ended early")?;
        text.push(char::from(byte[0]));
    }
    let (_, list) = text.trim_end_matches('>').rsplit_once('<').context("no list")?;
    list.split(' ').map(|number| number.parse().context("no process id")).collect()
}
