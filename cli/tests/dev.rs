//! `opaque dev` with a test program in place of the node: processes, signals, files.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not recognize as tests"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Held while a program is written and while a process is started: a child that another test forks
/// in between would keep the file open for writing, and the system refuses to run such a file.
static PROGRAMS: Mutex<()> = Mutex::new(());

fn programs() -> MutexGuard<'static, ()> {
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn output(command: &mut Command) -> Output {
    let child = {
        let _alone = programs();
        command.spawn().unwrap()
    };
    child.wait_with_output().unwrap()
}

/// A copy of `opaque` next to a script called `opaque-node`.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let _alone = programs();
        fs::copy(env!("CARGO_BIN_EXE_opaque"), dir.path().join("opaque")).unwrap();
        let node = dir.path().join("opaque-node");
        fs::write(&node, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("opaque"));
        command.args(arguments).env("OPAQUE_HOME", self.dir.path().join("home"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
        command
    }

    fn dev(&self, more: &[&str]) -> Running {
        let data = self.data();
        let arguments = [&["dev", "--data-dir", data.to_str().unwrap()], more].concat();
        let mut command = self.command(&arguments);
        // Nodes get twice that time to end.
        command.env("OPAQUE_QUERY_DEADLINE_S", "1");
        let _alone = programs();
        Running(command.spawn().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn pid(&self, node: &str) -> Option<i32> {
        let text = fs::read_to_string(self.data().join(format!("run/{node}.pid"))).ok()?;
        text.parse().ok()
    }

    /// The node's process ID, once it runs the script.
    fn running(&self, node: &str) -> i32 {
        wait_for(|| self.pid(node).filter(|pid| alive(*pid)))
    }
}

struct Running(Child);

impl Running {
    fn signal(&self, signal: &str) {
        kill(signal, self.0.id().cast_signed());
    }

    /// Exit code, standard output and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        wait_for(|| self.0.try_wait().unwrap());
        let read = |stream: &mut dyn std::io::Read| {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let out = read(self.0.stdout.as_mut().unwrap());
        let err = read(self.0.stderr.as_mut().unwrap());
        (self.0.wait().unwrap().code(), out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kill(signal: &str, pid: i32) {
    let _alone = programs();
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Whether the process exists and is not a zombie that its parent has yet to wait for.
fn alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[expect(clippy::disallowed_methods, reason = "polls other processes; there is no runtime here")]
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const SLEEP: &str = "echo \"$@\" >&2\nexec sleep 300";
const NODES: [&str; 3] = ["shard-0-0", "shard-1-0", "shard-2-0"];

#[test]
fn starts_restarts_and_stops_its_nodes() {
    let fixture = Fixture::new(SLEEP);
    let dev = fixture.dev(&[]);
    let pids = NODES.map(|node| fixture.running(node));
    kill("-KILL", pids[1]);
    let again = wait_for(|| fixture.pid(NODES[1]).filter(|pid| *pid != pids[1] && alive(*pid)));
    assert!(alive(pids[0]) && alive(pids[2]));
    dev.signal("-TERM");
    let (code, out, err) = dev.end();
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("node shard-1-0 stopped (signal: 9"), "{out}");
    assert!(![pids[0], again, pids[2]].into_iter().any(alive));
    assert_eq!(fs::read_dir(fixture.data().join("run")).unwrap().count(), 0);
    let log = fs::read_to_string(fixture.data().join("logs/shard-2-0.log")).unwrap();
    for part in ["--name shard-2-0 --shard 2 --shards 3", "--peer-listen 127.0.0.1:", "--tls-dir"] {
        assert!(log.contains(part), "{part} in {log}");
    }
}

#[test]
fn nodes_die_with_it_whatever_kills_it() {
    let fixture = Fixture::new(SLEEP);
    let dev = fixture.dev(&["--shards", "2", "--replicas", "2"]);
    let nodes = ["shard-0-0", "shard-0-1", "shard-1-0", "shard-1-1"];
    let pids = nodes.map(|node| fixture.running(node));
    dev.signal("-KILL");
    wait_for(|| (!pids.into_iter().any(alive)).then_some(()));
}

#[test]
fn a_node_that_ignores_the_request_to_stop_is_killed() {
    let fixture = Fixture::new("trap '' TERM\nwhile :; do sleep 1; done");
    let dev = fixture.dev(&["--shards", "1"]);
    let pid = fixture.running("shard-0-0");
    dev.signal("-INT");
    let (code, out, _) = dev.end();
    assert_eq!(code, Some(0));
    assert!(out.contains("did not stop in time"), "{out}");
    assert!(!alive(pid));
}

#[test]
fn a_second_signal_kills_at_once() {
    let fixture = Fixture::new("trap '' TERM\nwhile :; do sleep 1; done");
    let mut dev = fixture.dev(&["--shards", "2"]);
    let pids = ["shard-0-0", "shard-1-0"].map(|node| fixture.running(node));
    let begun = Instant::now();
    // The signal is sent repeatedly: signals that arrive before the first is noticed count as one.
    wait_for(|| {
        dev.signal("-INT");
        dev.0.try_wait().unwrap()
    });
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let (code, out, _) = dev.end();
    assert_eq!(code, Some(0));
    assert!(out.contains("node shard-0-0 is not waited for; killing it"), "{out}");
    assert!(!pids.into_iter().any(alive));
    assert_eq!(fs::read_dir(fixture.data().join("run")).unwrap().count(), 0);
}

#[test]
fn a_node_that_cannot_start_ends_it_with_its_log() {
    let fixture = Fixture::new("echo 'no such kernel' >&2; exit 3");
    let (code, _, err) = fixture.dev(&[]).end();
    assert_eq!(code, Some(1));
    // All nodes die. Which death is noticed first depends on timing.
    assert!(err.contains("error: node shard-"), "{err}");
    assert!(err.contains("stopped (exit status: 3)"), "{err}");
    assert!(err.contains("no such kernel"), "{err}");
}

#[test]
fn two_on_one_directory_and_other_shards_are_refused() {
    let fixture = Fixture::new(SLEEP);
    let dev = fixture.dev(&["--shards", "2"]);
    fixture.running("shard-1-0");
    let (code, _, err) = fixture.dev(&[]).end();
    assert_eq!(code, Some(1));
    assert!(err.contains("another `opaque dev` runs on") && err.contains("hint: "), "{err}");
    dev.signal("-TERM");
    dev.end();
    let (code, _, err) = fixture.dev(&["--shards", "3"]).end();
    assert_eq!(code, Some(1));
    assert!(err.contains("holds a cluster of 2 shards, not 3"), "{err}");
}

#[test]
fn without_a_node_program_it_says_what_to_do() {
    let fixture = Fixture::new(SLEEP);
    fs::remove_file(fixture.dir.path().join("opaque-node")).unwrap();
    let output = output(fixture.command(&["dev"]).env("PATH", "/nonexistent"));
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("cannot find the program `opaque-node`"), "{err}");
    assert!(err.contains("make build"), "{err}");
}

#[test]
fn commands_without_a_cluster_say_what_to_do() {
    let fixture = Fixture::new(SLEEP);
    for arguments in [&["tables"][..], &["query", "SELECT 1"], &["status"], &["epochs", "t"]] {
        let output = output(&mut fixture.command(arguments));
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(err.starts_with("error: no cluster is known"), "{err}");
        assert!(err.contains("hint: start one with `opaque dev`"), "{err}");
    }
    let usage = output(&mut fixture.command(&["query"]));
    assert_eq!(usage.status.code(), Some(2));
    assert!(!Path::new(&fixture.data()).exists(), "nothing was made");
}
