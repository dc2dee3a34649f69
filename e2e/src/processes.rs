//! The processes of this machine, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

/// A process as it was a moment ago.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Process id in the namespace of this process.
    pub id: u32,
    /// Process id of the parent.
    pub parent: u32,
    /// Program and arguments.
    pub command: Vec<String>,
}

impl Seen {
    /// File name of the program.
    pub fn program(&self) -> &str {
        self.command.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
    }

    /// Process id in the innermost namespace: 1 for the first process of a container.
    pub fn inner_id(&self) -> Option<u32> {
        self.status("NSpid:")?.split_whitespace().next_back()?.parse().ok()
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> Option<u64> {
        self.status("VmRSS:")?.split_whitespace().next()?.parse().ok()
    }

    /// A line of `/proc/ID/status`, such as `VmRSS:`.
    fn status(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(folder(self.id).join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
    }

    /// Whether one of the process's control groups has `part` in its path.
    pub fn is_in_group(&self, part: &str) -> bool {
        let groups = fs::read_to_string(folder(self.id).join("cgroup"));
        groups.is_ok_and(|groups| groups.contains(part))
    }
}

/// All processes except zombies.
pub fn all() -> Result<Vec<Seen>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // The process may have ended in between.
        found.extend(look(id));
    }
    Ok(found)
}

/// All descendants of a process.
pub fn below(ancestor: u32) -> Result<Vec<Seen>> {
    let mut rest = all()?;
    let mut family = BTreeSet::from([ancestor]);
    let mut found = Vec::new();
    loop {
        let (next, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| family.contains(&process.parent));
        if next.is_empty() {
            return Ok(found);
        }
        family.extend(next.iter().map(|process| process.id));
        found.extend(next);
        rest = others;
    }
}

/// Whether a process runs. A zombie does not.
pub fn is_running(id: u32) -> bool {
    look(id).is_some()
}

/// Sends a signal, such as `KILL`.
pub async fn signal(id: u32, signal: &str) -> Result<()> {
    if id <= 1 {
        bail!("not a process of ours: {id}");
    }
    let id = id.to_string();
    crate::command::run("kill", &["-s", signal, &id], std::time::Duration::from_secs(5))
        .await
        .map(drop)
}

fn look(id: u32) -> Option<Seen> {
    let stat = fs::read_to_string(folder(id).join("stat")).ok()?;
    // The name in brackets may contain anything, even brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let line = fs::read(folder(id).join("cmdline")).ok()?;
    let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    let command = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Seen { id, parent, command })
}

fn folder(id: u32) -> std::path::PathBuf {
    Path::new("/proc").join(id.to_string())
}
