//! Exit codes, which `opaque --help` documents. No cluster runs.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not recognize as tests"
)]

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

fn opaque(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opaque"));
    command.args(arguments).env("OPAQUE_HOME", home).env_remove("OPAQUE_PROFILE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that knows a cluster of one address at which nothing listens.
fn unreachable(home: &Path, arguments: &[&str]) -> Output {
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    let file = home.join("ca.crt");
    std::fs::write(&file, ca.pem()).unwrap();
    let known = ["--cluster", "https://127.0.0.1:1", "--ca", file.to_str().unwrap()];
    opaque(home, &[arguments, &known].concat()).output().unwrap()
}

#[test]
fn each_way_to_end_has_its_code() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| opaque(home.path(), arguments).output().unwrap();
    let unreachable = |arguments: &[&str]| unreachable(home.path(), arguments);
    let two = "SELECT * FORM t; SELECT 1";
    let wrong = "SELECT * FORM t; SELECT FROM FROM";
    for (code, output) in [
        (0, run(&["profiles", "--format", "csv"])),
        (
            0,
            unreachable(&[
                "query",
                "SELECT 2 + 3 AS five",
                "--format",
                "csv",
                "--expect",
                "five\n5",
            ]),
        ),
        // No cluster is known.
        (1, run(&["tables"])),
        (1, run(&["query", "-f", "/nowhere.sql", "--cluster", "https://127.0.0.1:1"])),
        (2, run(&["query"])),
        (2, run(&["tables", "--profile", "../other"])),
        (2, run(&["bench"])),
        (3, unreachable(&["query", "SELECT * FORM t"])),
        (4, unreachable(&["tables"])),
        (4, unreachable(&["query", "SELECT * FROM t"])),
        (5, unreachable(&["query", "SELECT 2 + 3 AS five", "--expect", "6"])),
        // Several statements: their common code, or else 1.
        (3, unreachable(&["query", wrong])),
        (1, unreachable(&["query", &format!("{wrong}; SELECT * FROM t")])),
        (3, unreachable(&["query", two])),
    ] {
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert_eq!(code == 0, error.is_empty(), "{error}");
    }
}

#[test]
fn the_help_lists_every_code() {
    let home = tempfile::tempdir().unwrap();
    let help = opaque(home.path(), &["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let codes = help.split("Exit codes:").nth(1).unwrap();
    for code in 0..=5 {
        assert!(codes.contains(&format!("\n  {code}  ")), "{code} in {codes}");
    }
    assert!(codes.contains("130"), "{codes}");
}

#[test]
fn without_profiles_it_says_what_writes_one() {
    let home = tempfile::tempdir().unwrap();
    let output = opaque(home.path(), &["profiles"]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("`opaque dev`"));
}

#[test]
fn without_a_command_and_a_terminal_it_shows_help() {
    let home = tempfile::tempdir().unwrap();
    let output = opaque(home.path(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("Usage: opaque"));
    assert!(output.stdout.is_empty());
}

#[cfg(feature = "shell")]
#[test]
fn a_shell_without_a_terminal_says_what_to_run() {
    let home = tempfile::tempdir().unwrap();
    let output = opaque(home.path(), &["shell"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("needs a terminal") && error.contains("opaque query -f"), "{error}");
}

/// Shells report it as 128 + 2.
#[test]
fn ctrl_c_ends_a_command_by_its_signal() {
    let home = tempfile::tempdir().unwrap();
    let mut command = opaque(home.path(), &["query", "-", "--cluster", "https://127.0.0.1:1"]);
    // It waits for its input.
    let mut waiting: Child = command.stdin(Stdio::piped()).spawn().unwrap();
    let killed = Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(waiting.wait().unwrap().signal(), Some(2));
}
