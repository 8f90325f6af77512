//! How much memory this process has taken.

/// Largest resident memory of this process so far; NaN where the system does not tell.
pub(crate) fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

/// Counts the peak from now on, where the system can.
pub(crate) fn forget_peak_memory() {
    let _only_linux_can = std::fs::write("/proc/self/clear_refs", "5");
}
