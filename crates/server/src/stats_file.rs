//! The file of `--stats-json`. Invariant: whoever reads a regular file finds the statistics of one moment, whole.

use crate::escape::escaped;
use crate::udp::UdpStats;
use anyhow::Context;
use epoll_service::ThreadStats;
use nix::fcntl::OFlag;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The permissions of a new file, of which the umask takes some.
const MODE: u32 = 0o666;

/// The file for statistics.
#[derive(Debug)]
pub(crate) struct StatsFile {
    /// As it was given.
    name: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A regular file, or none yet: each write replaces it.
    Replaced(PathBuf),
    /// A pipe, a terminal or another device, which is written to.
    Open(File),
}

impl StatsFile {
    /// Creates the file with the statistics of a server that has done nothing: nobody takes those of an earlier one
    /// for its own, and what cannot be written is known at once. A pipe that nobody reads is refused instead of
    /// waited for.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let name = escaped(&path.to_string_lossy()).into_owned();
        let create = || -> anyhow::Result<Target> {
            // A symbolic link is kept, and what it leads to replaced.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
                let mut options = OpenOptions::new();
                options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
                return Ok(Target::Open(options.open(path)?));
            }
            replace(&path, &text(&[], None)?)?;
            Ok(Target::Replaced(path))
        };
        let target = create()
            .with_context(|| format!("failed to create the file of --stats-json {name}"))?;
        Ok(Self { name, target })
    }

    /// Writes everything: the sums, the CPU time, what was done with datagrams, and each thread's part under
    /// `threads`.
    pub(crate) fn write(
        &self,
        threads: &[ThreadStats],
        udp: Option<&UdpStats>,
    ) -> anyhow::Result<()> {
        let text = text(threads, udp)?;
        let written = match &self.target {
            Target::Replaced(path) => replace(path, &text),
            Target::Open(file) => write_all(file, &text),
        };
        written.with_context(|| format!("failed to write the file of --stats-json {}", self.name))
    }
}

fn write_all(mut file: &File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())
}

/// Writes a file beside the one at `path`, and puts it in its place.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let permissions = Permissions::from_mode(MODE);
    let file = tempfile::Builder::new()
        .prefix(".stats-")
        .permissions(permissions)
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    write_all(file.as_file(), text)?;
    file.persist(path).map(drop).map_err(io::Error::from)
}

fn text(threads: &[ThreadStats], udp: Option<&UdpStats>) -> anyhow::Result<String> {
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
    Ok(format!("{all:#}\n"))
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
