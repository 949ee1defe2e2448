//! The conditions of the figures: the machine, the system, and the versions of all programs.

use rustix::thread::{CpuSet, sched_getaffinity};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cores of the servers and of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) Option<(usize, usize)>);

impl Cores {
    /// Chooses the first CPU that this process may use, and the first one after it that is not a thread of the
    /// same core, if there is one. If the process may use one CPU only, chooses none.
    pub(crate) fn choose() -> Self {
        let Ok(allowed) = sched_getaffinity(None) else { return Self(None) };
        let all: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let [server, others @ ..] = &all[..] else { return Self(None) };
        let list = format!("/sys/devices/system/cpu/cpu{server}/topology/thread_siblings_list");
        // Where the kernel does not tell, each is taken for a core.
        let siblings = cpus(&fs::read_to_string(list).unwrap_or_default());
        let apart = others.iter().find(|cpu| !siblings.contains(cpu));
        Self(apart.or(others.first()).map(|client| (*server, *client)))
    }

    pub(crate) fn server(&self) -> Option<usize> {
        self.0.map(|(server, _)| server)
    }

    pub(crate) fn client(&self) -> Option<usize> {
        self.0.map(|(_, client)| client)
    }

    fn describe(&self) -> String {
        match self.0 {
            Some((server, client)) => format!(
                "servers on core {server}, the client on core {client}; servers with two threads on \
                 all of them"
            ),
            None => "one core for servers and client alike".to_owned(),
        }
    }
}

/// Returns the numbers in a list such as `0-3,8`.
fn cpus(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

/// Names and values, in the order in which they are shown.
pub(crate) type Facts = Vec<(String, String)>;

/// The names of the facts, in their order.
const FACTS: [&str; 8] =
    ["Date", "Commit", "CPU", "Memory", "Kernel", "Network", "Pinning", "Compiler"];

/// Describes the machine and the system. `root` is the repository.
pub(crate) fn facts(root: &Path, cores: Cores, network: &str) -> Facts {
    let values = [
        first_line(Command::new("date").args(["--utc", "+%Y-%m-%d %H:%M UTC"])),
        commit(root),
        cpu(),
        memory(),
        kernel(),
        network.to_owned(),
        cores.describe(),
        first_line(Command::new("rustc").arg("--version")),
    ];
    FACTS.map(str::to_owned).into_iter().zip(values).collect()
}

/// Puts facts or versions that were read from a file back into their order; names that are not known
/// come last.
pub(crate) fn in_order(mut facts: Facts) -> Facts {
    let place = |name: &str| FACTS.iter().chain(&CRATES).position(|known| *known == name);
    facts.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    facts
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
    if line.is_empty() { "unknown".to_owned() } else { line.to_owned() }
}

fn commit(root: &Path) -> String {
    let git = |args: &[&str]| first_line(Command::new("git").arg("-C").arg(root).args(args));
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]) != "unknown";
    if is_changed { commit + " and uncommitted changes" } else { commit }
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value_of(&text, "model name").unwrap_or("unknown model");
    let cores = text.lines().filter(|line| line.starts_with("processor")).count();
    format!("{model}, {cores} {}", if cores == 1 { "core" } else { "cores" })
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = value_of(&text, "MemTotal").and_then(|value| value.split(' ').next()?.parse().ok());
    kib.map_or_else(
        || "unknown".to_owned(),
        |kib: f64| format!("{:.1} GiB", kib / f64::from(1 << 20)),
    )
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn kernel() -> String {
    let name = rustix::system::uname();
    let word = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    format!("{} {} {}", word(name.sysname()), word(name.release()), word(name.machine()))
}

/// The crates whose versions are shown.
const CRATES: [&str; 17] = [
    "epoll-server",
    "epoll-reactor",
    "epoll-timers",
    "rustix",
    "rustls",
    "ring",
    "tokio-rustls",
    "mio",
    "polling",
    "calloop",
    "tokio",
    "monoio",
    "compio",
    "async-io",
    "async-executor",
    "tokio-util",
    "hierarchical_hash_wheel_timer",
];

/// Returns the versions of the crates that take part, as the two lock files have them.
pub(crate) fn versions(root: &Path) -> Facts {
    let mut found = BTreeMap::new();
    for lock_file in ["Cargo.lock", "bench/Cargo.lock"] {
        let text = fs::read_to_string(root.join(lock_file)).unwrap_or_default();
        found.extend(packages(&text));
    }
    let version = |name: &&str| Some(((*name).to_owned(), found.get(*name)?.clone()));
    CRATES.iter().filter_map(version).collect()
}

/// Names and versions in a lock file, which cargo always writes one above the other.
fn packages(lock_file: &str) -> BTreeMap<String, String> {
    let lines = lock_file.lines().zip(lock_file.lines().skip(1));
    let quoted = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.strip_prefix(" = ")?;
        Some(value.trim_matches('"').to_owned())
    };
    lines.filter_map(|(a, b)| quoted(a, "name").zip(quoted(b, "version"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_read() {
        assert_eq!(cpus("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(cpus("4"), [4]);
        assert_eq!(cpus(""), [0; 0]);
    }

    #[test]
    fn values_are_found_by_their_keys() {
        let text = "processor\t: 0\nmodel name\t: A CPU: fast\n";
        assert_eq!(value_of(text, "model name"), Some("A CPU: fast"));
        assert_eq!(value_of(text, "cache"), None);
    }

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let text = "version = 4\n\n[[package]]\nname = \"mio\"\nversion = \"1.2.4\"\n";
        let expected = BTreeMap::from([("mio".to_owned(), "1.2.4".to_owned())]);
        assert_eq!(packages(text), expected);
    }

    #[test]
    fn facts_that_were_read_come_in_their_order() {
        let fact = |name: &str| (name.to_owned(), String::new());
        let read = ["CPU", "Date", "Incomplete"].map(fact).to_vec();
        assert_eq!(in_order(read), ["Date", "CPU", "Incomplete"].map(fact));
    }

    #[test]
    fn this_machine_can_be_described() {
        assert!(kernel().starts_with("Linux "));
        assert!(memory().ends_with(" GiB"), "{}", memory());
        assert!(cpu().contains("core"));
    }
}
