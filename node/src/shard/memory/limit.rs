//! Memory limit of this process: the smallest limit of its control groups, or the machine's memory.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Version 1 writes "no limit" as the largest multiple of a page that fits into an `i64`.
const NO_LIMIT: u64 = 1 << 60;

/// The most memory that this process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// In bytes.
    pub bytes: u64,
    /// Origin of the limit.
    pub origin: Origin,
}

/// Origin of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--memory-limit-mib`.
    Flag,
    /// A control group: in a pod, `resources.limits.memory` of the container.
    ControlGroup,
    /// The machine's memory.
    Machine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "--memory-limit-mib",
            Self::ControlGroup => "the limit of its container",
            Self::Machine => "the memory of the machine",
        })
    }
}

impl Limit {
    /// The limit of this process: `flag` if given, or else the system's limit. `None` if the system
    /// does not state any.
    pub fn detect(flag: Option<u64>) -> Option<Self> {
        Self::from_files(flag, |path| std::fs::read_to_string(path).ok())
    }

    /// Like [`detect`](Self::detect), with the content of files from `read`.
    fn from_files(flag: Option<u64>, read: impl Fn(&Path) -> Option<String>) -> Option<Self> {
        if let Some(bytes) = flag {
            return Some(Self { bytes, origin: Origin::Flag });
        }
        let machine = read(Path::new("/proc/meminfo")).as_deref().and_then(total);
        let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
        let group = files(&groups).iter().filter_map(|file| parse(&read(file)?)).min();
        match (group, machine) {
            (Some(group), machine) if machine.is_none_or(|machine| group < machine) => {
                Some(Self { bytes: group, origin: Origin::ControlGroup })
            }
            (_, machine) => machine.map(|bytes| Self { bytes, origin: Origin::Machine }),
        }
    }
}

/// The files that may limit the memory of a process with this `/proc/self/cgroup`: those in its
/// groups and in every group around them, whose limits count as well.
///
/// In a namespace the path may name a folder that is not mounted. The topmost file then belongs to
/// the process.
fn files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (PathBuf::from(CGROUPS), "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let relative = Path::new(path.trim_start_matches('/'));
        files.extend(relative.ancestors().map(|group| root.join(group).join(file)));
    }
    files
}

/// The limit in a control group's file. `None` for "no limit" and for anything else.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < NO_LIMIT)
}

/// The memory of the machine, from `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       24670124 kB\nMemFree:         1019548 kB\n";
    const MACHINE: u64 = 24_670_124 * 1024;

    fn limit(files: &[(&str, &str)]) -> Option<(u64, Origin)> {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        Limit::from_files(None, read).map(|limit| (limit.bytes, limit.origin))
    }

    #[test]
    fn the_smallest_limit_counts_whichever_version_states_it() {
        let machine = ("/proc/meminfo", MEMINFO);
        // A container with version 2: a namespace whose root is the container's group.
        let own = [("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "536870912\n")];
        let group = Some((512 << 20, Origin::ControlGroup));
        assert_eq!(limit(&[machine, own[0], own[1]]), group);
        // A service: it has no limit, but the slice around it has one.
        let slice = [
            ("/proc/self/cgroup", "0::/system.slice/opaque.service\n"),
            ("/sys/fs/cgroup/system.slice/opaque.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "536870912\n"),
        ];
        assert_eq!(limit(&[machine, slice[0], slice[1], slice[2]]), group);
        // Version 1, with a path of the host that the container does not see.
        let first = [
            ("/proc/self/cgroup", "12:cpu,cpuacct:/kubepods/x\n5:memory:/kubepods/x\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n"),
        ];
        assert_eq!(limit(&[machine, first[0], first[1]]), group);
        // Both versions are mounted: the one with a limit counts.
        let both = ("/sys/fs/cgroup/memory.max", "268435456\n");
        let quarter = Some((256 << 20, Origin::ControlGroup));
        assert_eq!(limit(&[machine, first[0], first[1], both]), quarter);
    }

    #[test]
    fn without_a_limit_the_machine_is_the_limit() {
        let machine = ("/proc/meminfo", MEMINFO);
        let none = Some((MACHINE, Origin::Machine));
        assert_eq!(limit(&[machine]), none);
        let max = [("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(limit(&[machine, max[0], max[1]]), none);
        let huge = [
            ("/proc/self/cgroup", "5:memory:/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&[machine, huge[0], huge[1]]), none);
        // A limit above the machine's memory does not count.
        let more =
            [("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "99999999999\n")];
        assert_eq!(limit(&[machine, more[0], more[1]]), none);
        for damaged in
            ["", "MemTotal: much\n", "MemTotal: 12 pages\n", "MemTotal: 1844674407370955161 kB"]
        {
            assert_eq!(limit(&[("/proc/meminfo", damaged)]), None, "{damaged:?}");
        }
        assert_eq!(limit(&[]), None);
    }

    #[test]
    fn a_flag_comes_before_everything() {
        let limit = Limit::from_files(Some(7), |_| Some(MEMINFO.to_owned()));
        assert_eq!(limit, Some(Limit { bytes: 7, origin: Origin::Flag }));
    }

    #[test]
    fn this_machine_has_memory() {
        if cfg!(target_os = "linux") {
            assert!(Limit::detect(None).is_some_and(|limit| limit.bytes > 64 << 20));
        }
    }
}
