//! Who takes part: our server in its modes, and the same server written with other crates.

use crate::bench::Paths;
use std::path::PathBuf;

/// The reference of every ratio: a loop that is written straight on the system calls.
pub(crate) const FLOOR: &str = "floor";
/// The reference once more, in a process of its own: how far from 1 its ratio is, is noise.
pub(crate) const FLOOR_AGAIN: &str = "floor again";

/// Our server's program; those of the others are in another folder.
const OURS: &str = "epoll-server";

/// An echo server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) label: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) threads: u32,
    /// Whether it is one of those that are measured under `--quick` too.
    pub(crate) is_main: bool,
}

/// All of them, the reference first.
pub(crate) fn all(paths: &Paths) -> Vec<Contestant> {
    vec![
        peer(paths, FLOOR, "peer-floor", 1).main(),
        peer(paths, FLOOR_AGAIN, "peer-floor", 1).main(),
        ours(paths, "level", 1).main(),
        ours(paths, "edge", 1).main(),
        ours(paths, "oneshot", 1).main(),
        ours(paths, "edge-shared", 1),
        peer(paths, "mio", "peer-mio", 1).main(),
        peer(paths, "polling", "peer-polling", 1).main(),
        peer(paths, "calloop", "peer-calloop", 1).main(),
        peer(paths, "tokio", "peer-tokio", 1).main(),
        peer(paths, "async-io", "peer-async-io", 1),
        peer(paths, "std threads", "peer-threads", 1),
        peer(paths, FLOOR, "peer-floor", 2),
        ours(paths, "level", 2),
        ours(paths, "edge", 2),
        ours(paths, "oneshot", 2),
        ours(paths, "edge-shared", 2),
        peer(paths, "tokio", "peer-tokio", 2),
    ]
}

/// Our server, one thread or several.
pub(crate) fn ours(paths: &Paths, mode: &str, threads: u32) -> Contestant {
    let shown = if mode == "oneshot" { "one-shot" } else { mode };
    // Left to itself, it takes as many threads as there are cores.
    let args = ["--log", "error", "--mode", mode, "--threads", &threads.to_string()];
    let args = args.map(str::to_owned).to_vec();
    Contestant::new(shown, paths.programs.join(OURS), args, threads)
}

/// The reference with a read buffer of so many bytes. It reads once for each report.
pub(crate) fn a_read_a_report(paths: &Paths, read_buffer: u32) -> Contestant {
    let args = vec!["--read-buffer".to_owned(), read_buffer.to_string()];
    Contestant::new("floor, a read a report", paths.bench_programs.join("peer-floor"), args, 1)
}

fn peer(paths: &Paths, label: &str, program: &str, threads: u32) -> Contestant {
    let count = (threads > 1).then(|| ["--threads".to_owned(), threads.to_string()]);
    let args = count.into_iter().flatten().collect();
    Contestant::new(label, paths.bench_programs.join(program), args, threads)
}

impl Contestant {
    fn new(label: &str, program: PathBuf, args: Vec<String>, threads: u32) -> Self {
        let mut label = label.to_owned();
        if threads > 1 {
            label += &format!(", {threads} threads");
        }
        Self { label, program, args, threads, is_main: false }
    }

    fn main(mut self) -> Self {
        self.is_main = true;
        self
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.program.ends_with(OURS)
    }

    /// How it is started by hand, from the root of the repository.
    pub(crate) fn command_line(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let folder = if self.is_ours() { "target/release" } else { "bench/target/release" };
        let words = self.args.iter().map(|word| format!(" {word}"));
        words.fold(format!("{folder}/{program}"), |line, word| line + &word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_the_floor_comes_first() {
        let all = all(&Paths::default());
        let names: BTreeSet<_> = all.iter().map(|c| &c.label).collect();
        assert_eq!(names.len(), all.len());
        assert_eq!(all[0].label, FLOOR);
    }

    #[test]
    fn a_command_line_can_be_typed() {
        let contestant = ours(&Paths::default(), "oneshot", 2);
        assert_eq!(contestant.label, "one-shot, 2 threads");
        assert_eq!(
            contestant.command_line(),
            "target/release/epoll-server --log error --mode oneshot --threads 2"
        );
        let peer = peer(&Paths::default(), "tokio", "peer-tokio", 2);
        assert_eq!(peer.command_line(), "bench/target/release/peer-tokio --threads 2");
    }
}
