//! `opaque-bench` as users run it, on the smallest matrix that it accepts.
#![expect(clippy::unwrap_used, reason = "test helpers, which clippy does not recognize as tests")]

use std::{
    fs,
    process::{Command, Output},
};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opaque-bench"));
    command.args(arguments).output().unwrap()
}

#[test]
fn figures_are_json_and_a_chart() {
    let dir = tempfile::tempdir().unwrap();
    let chart = dir.path().join("chart.svg");
    let chart_name = chart.to_str().unwrap();
    let output = bench(&[
        "--size=64MiB",
        "--batch=1,2",
        "--repeat=1",
        "--threads=2",
        "--format=json",
        "--plot",
        chart_name,
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let measured: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured = measured.as_array().unwrap();
    assert_eq!(measured.len(), 2);
    let bytes = measured[0]["size_bytes"].as_u64().unwrap();
    assert!((64 << 20..96 << 20).contains(&bytes), "{bytes}");
    assert_eq!((&measured[1]["batch"], &measured[1]["keys"]), (&2.into(), &"inline".into()));
    assert!(fs::read_to_string(chart).unwrap().starts_with("<svg "));
}

#[test]
fn what_cannot_be_measured_says_what_can() {
    for (arguments, says) in [
        (
            &["--size=64MiB", "--shards=16", "--bucket-bytes=8192"][..],
            "use fewer --shards, or a larger --size",
        ),
        (&["--size=63MiB"], "from 64MiB to 4GiB"),
        (&["--over=cluster", "--size=2GiB"], "tables of up to 1GiB, not 2GiB"),
        (&["--over=cluster", "--plot=x.svg"], "--plot supports only --over engine"),
    ] {
        let output = bench(arguments);
        assert!(!output.status.success() && output.stdout.is_empty());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn clients_of_a_temporary_cluster_are_served_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_opaque-bench"))
        .args(["--over", "cluster", "--size", "64MiB", "--shards", "2"])
        .args(["--batch", "2", "--clients", "2", "--time", "1s", "--format", "json"])
        .env("OPAQUE_HOME", home.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let served: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = &served[0];
    assert!(one["size_bytes"].as_u64().unwrap() >= 64 << 20);
    assert_eq!((&one["shards"], &one["clients"], &one["batch"]), (&2.into(), &2.into(), &2.into()));
    assert!(one["fewest_requests"].as_u64().unwrap() > 0);
    let number = |key: &str| one[key].as_f64().unwrap();
    assert!(number("cold_start_s") > 0.0 && number("cold_start_mb_s_per_core") > 0.0);
    assert!(number("p50_ms") <= number("p99_ms") && number("lookups_per_s") > 0.0);
    assert!(number("bytes_up") > number("bytes_down"));
    // The user's profile and keys are not touched.
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
