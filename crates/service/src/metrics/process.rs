//! The time at which this process was started, as the kernel tells it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the start of this process in seconds since 1970; that of the call where `/proc` is missing.
pub(super) fn start_time() -> f64 {
    let read = |path| fs::read_to_string(path).ok();
    let told = read("/proc/self/stat")
        .zip(read("/proc/stat"))
        .and_then(|(own, system)| start_of(&own, &system, rustix::param::clock_ticks_per_second()));
    told.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
    })
}

/// Reads the two files, see proc(5): a process begins so many ticks after the system did.
fn start_of(own: &str, system: &str, ticks_per_second: u64) -> Option<f64> {
    // The name of a program may have anything in it. What follows begins with field 3.
    let (_, fields) = own.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    let booted: u64 = booted.trim().parse().ok()?;
    Some(booted as f64 + ticks as f64 / ticks_per_second.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_so_many_ticks_after_that_of_the_system() {
        let own = "7 (a ) 1 b) S 1 7 7 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 1 0 250 4096 1";
        let system = "cpu 1 2 3\nbtime 1000\nprocesses 9\n";
        assert_eq!(start_of(own, system, 100), Some(1002.5));
        assert_eq!(start_of(own, "cpu 1 2 3\n", 100), None);
        assert_eq!(start_of("7 (a) S 1", system, 100), None);
    }

    #[test]
    fn this_process_was_started_before_now_and_not_long_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // The kernel rounds the time of the boot to a second.
        let start = start_time();
        assert!(start <= now + 1.0 && now - start < 24.0 * 3600.0, "{start} {now}");
    }
}
