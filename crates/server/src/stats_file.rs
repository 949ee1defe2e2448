//! The file of `--stats-json`, which is written at exit.

use crate::udp::UdpStats;
use anyhow::Context;
use epoll_service::ThreadStats;
use nix::fcntl::OFlag;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Creates the file. A pipe that nobody reads is refused instead of waited for.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options
        .open(path)
        .with_context(|| format!("failed to create the file of --stats-json {}", path.display()))
}

/// Writes everything to `file`: the sums, the CPU time, what was done with datagrams, and each thread's part under
/// `threads`.
pub(crate) fn write(
    file: &mut File,
    threads: &[ThreadStats],
    udp: Option<&UdpStats>,
) -> anyhow::Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the CPU time")?;
    let mut all = as_json(&ThreadStats::sum(threads));
    all.as_object_mut().map(|all| all.remove("thread"));
    all["cpu"] = json!({
        "user_us": microseconds(usage.user_time()),
        "system_us": microseconds(usage.system_time()),
    });
    if let Some(udp) = udp {
        all["udp"] = json!({
            "received": udp.received,
            "echoed": udp.echoed,
            "may_loop": udp.may_loop,
            "too_many": udp.too_many,
            "unsent": udp.unsent,
        });
    }
    all["threads"] = threads.iter().map(as_json).collect();
    let text = format!("{all:#}\n");
    // The process before this one may have written its own since the file was created. A pipe has no length.
    let _ = file.set_len(0);
    file.write_all(text.as_bytes()).context("failed to write the file of --stats-json")
}

fn as_json(of_thread: &ThreadStats) -> Value {
    let ThreadStats { thread, stats, reactor, accept, cut } = of_thread;
    json!({
        "thread": thread,
        "connections": {
            "opened": stats.opened,
            "refused": stats.refused,
            "refused_peer": stats.refused_peer,
            "refused_memory": stats.refused_memory,
            "header_wrong": stats.header_wrong,
            "header_missing": stats.header_missing,
            "header_late": stats.header_late,
            "unwatched": stats.unwatched,
            "bytes_received": stats.received,
            "bytes_sent": stats.sent,
            "longest_s": stats.longest_s,
            "cut": cut,
            "closed": stats.closed_by_reason,
        },
        "accept": {
            "accepted": accept.accepted,
            "aborted": accept.aborted,
            "shed": accept.shed,
            "pauses": accept.pauses,
        },
        "reactor": {
            "waits": reactor.waits,
            "spins": reactor.spins,
            "events": reactor.events,
            "stale": reactor.stale,
            "adds": reactor.adds,
            "mods": reactor.mods,
            "dels": reactor.dels,
            "revisits": reactor.revisits,
            "wakes": reactor.wakes,
            "batch_max": reactor.batch_max,
        },
    })
}

fn microseconds(time: TimeVal) -> i64 {
    time.tv_sec() * 1_000_000 + time.tv_usec()
}
