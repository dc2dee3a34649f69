//! Compares the memory that manifests predict for a load with the memory that a process really
//! uses.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "other tests publish squares")]
#[path = "support/publish.rs"]
mod publish;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use opaque_node::coordination::Map;
use opaque_node::map::placement::{self, Shards};
use opaque_node::shard::loader::Loader;
use opaque_node::shard::pool::CpuPool;
use opaque_node::shard::served::resident_bytes;
use opaque_pir::table::{ColumnType, Value};
use opaque_store::{Store, UnixMillis};

/// Tells the measuring process where the store is.
const STORE: &str = "OPAQUE_TEST_STORE";
const MIB: u64 = 1 << 20;
/// The memory that a node reserves for its program, and thus the tolerance for the system's
/// numbers.
const MARGIN: u64 = 64 * MIB;

/// A table of wide rows: a whole plane, and a few partitions of several MiB.
async fn publish_wide_rows(store: &Store) {
    let columns = [("n", ColumnType::Int), ("text", ColumnType::Text)];
    let row = |n: i64| [Value::Int(n), Value::Text(format!("{n:06}").repeat(550))];
    publish::publish(store, "wide", columns, (0..4_000).map(row), 1).await;
}

/// A number of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kibibytes: u64 =
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// Runs in a process that has done nothing else, like a node at its start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_load_takes_what_its_manifests_say"]
async fn measure() {
    let store = Store::open(&std::env::var(STORE).unwrap()).unwrap();
    let map = Map {
        generation: 1,
        placement: placement::VERSION,
        shards: Shards::equal(1).unwrap(),
        tables: [("wide".to_owned(), 1)].into(),
        owners: [].into(),
        proposed_at: UnixMillis(0),
    };
    let loader = Loader::new(0, store, CpuPool::new(2, 8).unwrap(), 2);
    let plan = loader.plan(&map, None, &[]).await.unwrap();
    let need = plan.need();
    let before = status("VmRSS");
    let serving = Arc::new(loader.carry_out(plan, &|_| {}).await.unwrap());
    let (after, peak) = (status("VmRSS") - before, status("VmHWM") - before);
    println!(
        "measured: resident {} of {} MiB, at the peak {} of {} MiB",
        after / MIB,
        need.resident / MIB,
        peak / MIB,
        (need.resident + need.building) / MIB,
    );
    assert_eq!(need.resident, resident_bytes([&serving]));
    assert!(need.resident > 80 * MIB, "too small to measure");
    assert!(after + MIB >= need.resident, "{after} of {} bytes", need.resident);
    // The allocator may keep memory that building released. The next load reuses it.
    assert!(after <= need.resident + need.building + MARGIN, "{after} of {need:?}");
    assert!(peak <= need.resident + need.building + MARGIN, "{peak} of {need:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_load_takes_what_its_manifests_say() {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = directory.path();
    publish_wide_rows(&Store::open(path.to_str().unwrap()).unwrap()).await;
    let mut measuring = Command::new(std::env::current_exe().unwrap());
    measuring.args(["--exact", "measure", "--ignored", "--nocapture"]).env(STORE, path);
    let output = measuring.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}
