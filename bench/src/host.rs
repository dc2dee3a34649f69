//! What the machine reports: memory, processor time, and read bandwidth.

use std::{fs, hint::black_box, path::Path, time::Duration};

use opaque_pir::scan::plain_read;
use rayon::prelude::*;

/// Larger than any cache of a core or its neighbours.
const SCRATCH_BYTES: usize = 256 << 20;
/// Bytes that one task reads.
const CHUNK: usize = 1 << 20;

/// Resident memory of this process; 0 if the system does not report it.
pub(crate) fn resident_bytes() -> u64 {
    // This file uses kibibytes; `statm` uses pages of a size that varies.
    kibibytes("/proc/self/status", "VmRSS:").unwrap_or(0)
}

/// Bytes that can be allocated without swapping, within the limit of a container. `None` if the
/// system does not report it.
pub(crate) fn available_bytes() -> Option<u64> {
    let free = kibibytes("/proc/meminfo", "MemAvailable:")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max");
    let limit = limit.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    Some(free.min(limit))
}

/// The processor's name and the number of processors.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let name = name.map_or("unknown processor", |(_, name)| name.trim());
    format!("{name}, {} processors", processors())
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The load average of the last minute, which indicates how reliable the figures are.
pub(crate) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The value of a line `name 123 kB` of a file, in bytes.
fn kibibytes(path: impl AsRef<Path>, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// Processor time of all threads of this process.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local `timespec`, which the call writes and does not keep.
    #[expect(unsafe_code, reason = "std does not tell a process's time")]
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    if done == 0 { Duration::new(seconds, nanoseconds) } else { Duration::ZERO }
}

/// Reads all bytes on the current rayon pool with almost no arithmetic, which measures the memory's
/// bandwidth.
pub(crate) fn read(parts: &[&[u8]]) {
    let chunks = parts.par_iter().flat_map(|part| part.par_chunks(CHUNK));
    black_box(chunks.map(plain_read).reduce(|| 0, u64::wrapping_add));
}

/// Memory that is read only to empty caches.
pub(crate) struct Scratch(Vec<u8>);

impl Scratch {
    pub(crate) fn new() -> Self {
        // The pages are written, because unwritten ones would all map to the system's single page
        // of zeros.
        Self(vec![1; SCRATCH_BYTES])
    }

    /// Bytes of this memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    /// Reads the memory, so that caches hold nothing else.
    pub(crate) fn evict(&self) {
        read(&[&self.0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells() {
        assert!(resident_bytes() > 1 << 20);
        assert!(available_bytes().unwrap() > 1 << 20);
        assert!(machine().ends_with(" processors"));
        let before = processor_time();
        black_box((0..1_000_000u64).fold(0, |sum, x| black_box(sum ^ x)));
        assert!(processor_time() > before);
    }
}
