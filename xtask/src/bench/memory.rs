//! Peak memory of this process.

/// Largest resident memory of this process so far, in MB; NaN if the system does not report it, as outside Linux.
pub(crate) fn peak_memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

/// Resets the peak of [`peak_memory_mb`] to the current memory, on Linux.
pub(crate) fn reset_peak_memory() {
    let _fails_outside_linux = std::fs::write("/proc/self/clear_refs", "5");
}
