//! CPU time and memory of a process, as the kernel accounts for them.

use anyhow::{Context, ensure};
use std::fs;

/// The CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// CPU time of all threads, in user mode and in the kernel.
    pub(crate) cpu_us: f64,
    /// Pages in memory.
    pub(crate) memory_bytes: f64,
}

/// Asks the kernel about a process.
///
/// # Errors
///
/// The process is gone, or the kernel does not tell.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let mut cpu_us = 0.0;
    // Nanoseconds, where /proc/PID/stat counts ticks of 10 ms. /proc/PID/schedstat is the first
    // thread's alone.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the server is gone")?;
    for task in tasks {
        let path = task.context("the server is gone")?.path().join("schedstat");
        // A thread may end between the two calls.
        let Ok(text) = fs::read_to_string(path) else { continue };
        cpu_us += cpu(&text).context("the kernel does not tell CPU times")?;
    }
    ensure!(cpu_us > 0.0, "the kernel does not tell CPU times");
    // It walks the page tables. VmRSS in /proc/PID/status may be off by dozens of pages for each CPU.
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let memory_bytes = memory(&rollup.context("the server is gone")?)
        .context("the kernel does not tell what is in memory")?;
    Ok(Usage { cpu_us, memory_bytes })
}

/// Reads the first number of a `schedstat`: nanoseconds on a CPU.
fn cpu(schedstat: &str) -> Option<f64> {
    let ns: f64 = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(ns / 1e3)
}

fn memory(rollup: &str) -> Option<f64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(cpu("559660500 604488119 19077\n"), Some(559_660.5));
        assert_eq!(cpu(""), None);
        assert_eq!(memory("5581-7ffc [rollup]\nRss:      1024 kB\nPss: 9 kB\n"), Some(1_048_576.0));
        assert_eq!(memory("Pss: 9 kB\n"), None);
    }

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let before = usage(std::process::id()).unwrap();
        let pages = vec![1_u8; 8 << 20];
        let mut after = usage(std::process::id()).unwrap();
        assert!(after.memory_bytes >= before.memory_bytes + 4e6, "{} pages", pages.len());
        let mut sum = 0_u64;
        while after.cpu_us < before.cpu_us + 5_000.0 {
            sum = std::hint::black_box(sum + 1);
            if sum.is_multiple_of(100_000) {
                after = usage(std::process::id()).unwrap();
            }
        }
    }
}
