//! What the machine has, for defaults that follow from it.

/// Assumed where the machine does not say.
const USUAL_MEMORY: u64 = 8 << 30;

/// Memory that this process may count on, in bytes: the machine's, or that of its control group.
pub(super) fn memory_bytes() -> u64 {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let machine = total_of(&read("/proc/meminfo"));
    let group = read("/sys/fs/cgroup/memory.max").trim().parse().ok();
    machine.into_iter().chain(group).min().unwrap_or(USUAL_MEMORY)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::total_of;

    #[test]
    fn total_is_read_in_kibibytes() {
        assert_eq!(total_of("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert_eq!(total_of("MemTotal: lots\n"), None);
    }
}
