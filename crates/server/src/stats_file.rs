//! The file of `--stats-json`. Invariant: a reader of a regular file finds complete statistics of one moment.

use crate::escape::escaped;
use crate::udp::UdpStats;
use anyhow::Context;
use epoll_service::ThreadStats;
use nix::fcntl::OFlag;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Value, json};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of a new file, before the umask.
const MODE: u32 = 0o666;

/// The file for statistics.
#[derive(Debug)]
pub(crate) struct StatsFile {
    /// The name as it was given.
    name: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A regular file, or none yet: each write replaces it.
    Replaced(PathBuf),
    /// A pipe, a terminal or another device, or the file of a standard stream, which is written to.
    Open(File),
}

impl StatsFile {
    /// Creates the file with the statistics of a server that has done nothing, so that a reader never sees those of an
    /// earlier run, and an error is known at once. A pipe that nobody reads is refused instead of waited for.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let name = escaped(&path.to_string_lossy()).into_owned();
        let create = || -> anyhow::Result<Target> {
            if fs::metadata(path).is_ok_and(|file| !file.is_file() || is_standard_stream(&file)) {
                let mut options = OpenOptions::new();
                options.append(true).custom_flags(OFlag::O_NONBLOCK.bits());
                return Ok(Target::Open(options.open(path)?));
            }
            // A symbolic link is kept, and the file that it leads to replaced.
            let path = followed(path);
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

/// Returns the path that a symbolic link leads to, which need not be there.
fn followed(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        // Relative to the folder of the link; one that begins with a slash takes its place.
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// Returns whether this file is that of stdout or stderr, whose later lines would go to a file without a name.
fn is_standard_stream(file: &Metadata) -> bool {
    let of = |stream: BorrowedFd<'_>| {
        let stream = stream.try_clone_to_owned().and_then(|stream| File::from(stream).metadata());
        stream.is_ok_and(|stream| (stream.dev(), stream.ino()) == (file.dev(), file.ino()))
    };
    of(io::stdout().as_fd()) || of(io::stderr().as_fd())
}

fn write_all(mut file: &File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())
}

/// Writes a file beside the one at `path`, and puts it in its place, with the mode of the one before.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let before = fs::metadata(path).ok().map(|file| file.permissions());
    let file = tempfile::Builder::new()
        .prefix(".stats-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    if let Some(before) = before {
        // The umask has no part in it.
        file.as_file().set_permissions(before)?;
    }
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
