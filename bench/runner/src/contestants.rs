//! The echo servers that take part: ours in its modes, and the same server written with other crates
//! and in other languages. A new one is one entry of [`all`].

use crate::paths::Paths;
use crate::results::{Contestant, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The reference of every ratio: a loop that is written straight on the system calls.
const FLOOR: &str = "floor";
const FLOOR_PROGRAM: &str = "peer-floor";

/// Our server's program; those of the others are in another folder.
const OURS: &str = "epoll-server";

/// An echo server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct EchoServer {
    pub(crate) contestant: Contestant,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    /// `true` if it is measured under `--quick` too.
    pub(crate) is_main: bool,
    /// `true` if the program may be missing. A missing program of any other contestant is an error.
    is_optional: bool,
    /// `true` if it needs io_uring, which the kernel or a sandbox may not permit.
    is_on_io_uring: bool,
}

/// Returns all of them, the reference first, whether or not they are here.
fn all(paths: &Paths) -> Vec<EchoServer> {
    let floor = || peer(paths, FLOOR, FLOOR_PROGRAM, 1).role(Role::Floor);
    vec![
        floor().main(),
        floor().role(Role::FloorAgain).main(),
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
        peer(paths, "libuv", "peer-libuv", 1).unless_missing(),
        peer(paths, "libevent", "peer-libevent", 1).unless_missing(),
        peer(paths, "bufferevent", "peer-bufferevent", 1).unless_missing(),
        peer(paths, "libev", "peer-libev", 1).unless_missing(),
        peer(paths, "go", "peer-go", 1).unless_missing(),
        peer(paths, "liburing", "peer-uring", 1).unless_missing().on_io_uring(),
        peer(paths, "monoio", "peer-monoio", 1).on_io_uring(),
        peer(paths, "compio", "peer-compio", 1).on_io_uring(),
        peer(paths, FLOOR, FLOOR_PROGRAM, 2).role(Role::Floor),
        ours(paths, "level", 2),
        ours(paths, "edge", 2),
        ours(paths, "oneshot", 2),
        ours(paths, "edge-shared", 2),
        peer(paths, "tokio", "peer-tokio", 2),
        peer(paths, "go", "peer-go", 2).unless_missing(),
    ]
}

/// Returns the contestants that can be measured here, the reference first.
pub(crate) fn present(paths: &Paths) -> Vec<EchoServer> {
    all(paths).into_iter().filter(|one| one.missing().is_none()).collect()
}

/// Returns a sentence for each contestant that is left out.
pub(crate) fn left_out(paths: &Paths) -> Vec<String> {
    let missing = |one: &EchoServer| {
        Some(format!("{} is left out: {}.", one.contestant.label(), one.missing()?))
    };
    all(paths).iter().filter_map(missing).collect()
}

/// Returns our server with one thread or several.
pub(crate) fn ours(paths: &Paths, mode: &str, threads: u32) -> EchoServer {
    let shown = if mode == "oneshot" { "one-shot" } else { mode };
    // Left to itself, it takes as many threads as there are cores.
    let args = ["--log", "error", "--mode", mode, "--threads", &threads.to_string()];
    let args = args.map(str::to_owned).to_vec();
    EchoServer::new(shown, paths.programs.join(OURS), args, threads).role(Role::Ours)
}

/// Returns the reference with a read buffer of so many bytes. It reads once for each event.
pub(crate) fn one_read_per_event(paths: &Paths, read_buffer: u32) -> EchoServer {
    let args = vec!["--read-buffer".to_owned(), read_buffer.to_string()];
    let program = paths.bench_programs.join(FLOOR_PROGRAM);
    EchoServer::new("floor, a read a report", program, args, 1).role(Role::Floor)
}

/// Returns a program of the folder of peers.
fn peer(paths: &Paths, name: &str, program: &str, threads: u32) -> EchoServer {
    let count = (threads > 1).then(|| ["--threads".to_owned(), threads.to_string()]);
    let args = count.into_iter().flatten().collect();
    EchoServer::new(name, paths.bench_programs.join(program), args, threads)
}

impl EchoServer {
    fn new(name: &str, program: PathBuf, args: Vec<String>, threads: u32) -> Self {
        let contestant = Contestant { threads, ..Contestant::new(name, Role::Peer) };
        Self {
            contestant,
            program,
            args,
            is_main: false,
            is_optional: false,
            is_on_io_uring: false,
        }
    }

    pub(crate) fn role(mut self, role: Role) -> Self {
        self.contestant.role = role;
        self
    }

    fn main(mut self) -> Self {
        self.is_main = true;
        self
    }

    /// Leaves it out where its program is missing: its compiler or library may not be installed.
    fn unless_missing(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// Leaves it out where io_uring is not permitted.
    fn on_io_uring(mut self) -> Self {
        self.is_on_io_uring = true;
        self
    }

    /// Returns the reason why it cannot be measured here, as the program `build-peers` has noted it, or the
    /// kernel has answered.
    fn missing(&self) -> Option<String> {
        if self.program.is_file() {
            return if self.is_on_io_uring { refusal_of(&self.program) } else { None };
        }
        if !self.is_optional {
            return None;
        }
        let noted = fs::read_to_string(self.program.with_extension("left-out"));
        let noted = noted.ok().map(|text| text.trim_end().to_owned());
        Some(noted.unwrap_or_else(|| format!("there is no {}", self.program.display())))
    }

    /// Returns the command line that starts it by hand, from the root of the repository.
    pub(crate) fn command_line(&self) -> String {
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = self.contestant.role.is_ours();
        let folder = if is_ours { "target/release" } else { "bench/target/release" };
        let words = self.args.iter().map(|word| format!(" {word}"));
        words.fold(format!("{folder}/{program}"), |line, word| line + &word)
    }
}

/// Returns the complaint of a program for which io_uring is not permitted. The first one that is asked answers for
/// all.
fn refusal_of(program: &Path) -> Option<String> {
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    REFUSAL.get_or_init(|| try_io_uring(program)).clone()
}

/// Starts a program, and ends it when it listens or has said why it cannot.
fn try_io_uring(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.args(["--listen", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Whatever else is wrong with it, measuring it will say so.
    let mut child = command.spawn().ok()?;
    if let Some(stdout) = &child.stdout {
        let mut readable = [PollFd::new(stdout, PollFlags::IN)];
        let _ = poll(&mut readable, Some(&Timespec { tv_sec: 5, tv_nsec: 0 }));
    }
    let _ = child.kill();
    let said =
        String::from_utf8_lossy(&child.wait_with_output().ok()?.stderr).trim_end().to_owned();
    said.contains("does not permit io_uring").then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_the_floor_comes_first() {
        let all = all(&Paths::default());
        let names: BTreeSet<_> = all.iter().map(|one| one.contestant.label()).collect();
        assert_eq!(names.len(), all.len());
        let roles = [all[0].contestant.role, all[1].contestant.role];
        assert_eq!(roles, [Role::Floor, Role::FloorAgain]);
        assert_eq!(all[0].program, all[1].program);
    }

    #[test]
    fn a_command_line_can_be_typed() {
        let server = ours(&Paths::default(), "oneshot", 2);
        assert_eq!(server.contestant.label(), "one-shot, 2 threads");
        assert_eq!(
            server.command_line(),
            "target/release/epoll-server --log error --mode oneshot --threads 2"
        );
        let peer = peer(&Paths::default(), "tokio", "peer-tokio", 2);
        assert_eq!(peer.command_line(), "bench/target/release/peer-tokio --threads 2");
    }

    #[test]
    fn only_an_optional_contestant_without_a_program_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { bench_programs: folder.path().to_owned(), ..Paths::default() };
        let server = peer(&paths, "go", "peer-go", 1);
        assert_eq!(server.missing(), None);
        let server = server.unless_missing();
        assert!(server.missing().unwrap().contains("/peer-go"));
        fs::write(folder.path().join("peer-go.left-out"), "go is not installed\n").unwrap();
        assert_eq!(server.missing().unwrap(), "go is not installed");
        assert!(left_out(&paths).contains(&"go is left out: go is not installed.".to_owned()));
        let label = |one: EchoServer| one.contestant.label();
        assert!(!present(&paths).into_iter().map(label).any(|label| label == "go"));
        fs::write(folder.path().join("peer-go"), "").unwrap();
        assert_eq!(server.missing(), None);
        assert!(present(&paths).into_iter().map(label).any(|label| label == "go"));
    }
}
