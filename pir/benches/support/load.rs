//! How busy the machine is.

/// The load average, which says how far to trust the figures.
pub(crate) fn average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
