//! Starts and signals node processes.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use super::{
    DevError,
    layout::{Layout, Node},
};

/// A log that is larger than this is renamed at the next start.
const LOG_BYTES: u64 = 16 << 20;

/// Path of the node program: in the directory of this program, else on PATH.
pub(crate) fn node_binary() -> Result<PathBuf, DevError> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("opaque-node")));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("opaque-node"));
    beside.into_iter().chain(on_path).find(|file| file.is_file()).ok_or(DevError::NoBinary)
}

/// Starts a node. The kernel kills it when the calling thread ends, for any reason.
pub(crate) fn start(
    binary: &Path,
    layout: &Layout,
    node: &Node,
    threads: Option<u16>,
) -> Result<Child, DevError> {
    let log = log(&layout.log_file(node))?;
    let address = |port| format!("127.0.0.1:{port}");
    let mut command = Command::new(binary);
    command
        .args(["--name", &node.name])
        .args(["--shard", &node.shard.to_string()])
        .args(["--shards", &layout.shards().to_string()])
        .args(["--client-listen", &address(node.client_port)])
        .args(["--peer-listen", &address(node.peer_port)])
        .args(["--client-address", &address(node.client_port)])
        .args(["--peer-address", &address(node.peer_port)])
        .arg("--store")
        .arg(layout.store_dir())
        .arg("--coordination")
        .arg(layout.coordination_dir())
        .arg("--tls-dir")
        .arg(layout.node_tls_dir(node))
        // The cluster is reachable only from this machine, so every local client may load.
        .args(["--loader", "*"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // A separate process group: Ctrl-C in the terminal reaches only `opaque dev`, which then
        // stops the nodes in order.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(threads) = threads {
        command.args(["--threads", &threads.to_string()]);
    }
    if env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "info");
    }
    die_with_this_thread(&mut command);
    let child =
        command.spawn().map_err(|source| DevError::Spawn { binary: binary.to_owned(), source })?;
    let pid = child.id().unwrap_or_default().to_string();
    let path = layout.pid_file(node);
    fs::write(&path, pid).map_err(|source| DevError::Files { path, source })?;
    Ok(child)
}

/// Requests that a child drains and ends.
pub(crate) fn terminate(child: &Child) {
    if let Some(pid) = child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
        // SAFETY: `kill` reads no memory. The child has not been waited for (`id` is `Some`), so
        // the process ID still belongs to it.
        #[expect(unsafe_code, reason = "std has no way to send SIGTERM")]
        unsafe {
            libc::kill(pid, libc::SIGTERM);
        }
    }
}

/// The last lines of a node's log.
pub(crate) fn log_end(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(8));
    last.map(|line| format!("  {line}\n")).collect()
}

/// Opens a log for appending.
fn log(path: &Path) -> Result<File, DevError> {
    let fault = |source| DevError::Files { path: path.to_owned(), source };
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        fs::rename(path, path.with_extension("log.1")).map_err(fault)?;
    }
    File::options().create(true).append(true).open(path).map_err(fault)
}

/// Makes the kernel kill the child when the thread that starts it ends.
fn die_with_this_thread(command: &mut Command) {
    let parent = std::process::id();
    let ask = move || {
        // SAFETY: `prctl(PR_SET_PDEATHSIG)` takes a number and touches no memory.
        #[expect(unsafe_code, reason = "std has no parent-death signal")]
        let asked = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        if asked != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before the call.
        if std::os::unix::process::parent_id() != parent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl, getppid; the
    // errors are built without allocating.
    #[expect(unsafe_code, reason = "a call in the child, before its program starts")]
    unsafe {
        command.pre_exec(ask);
    }
}
