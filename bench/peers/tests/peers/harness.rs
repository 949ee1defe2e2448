//! A peer in a process of its own, ended by its id, and its clients.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// A test that has waited so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A peer that serves, until this goes out of scope.
pub(crate) struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    #[track_caller]
    pub(crate) fn start(program: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self::spawn(command.args(["--listen", "127.0.0.1:0"]).args(flags))
    }

    /// One whose system calls of these names are told, a line each. `None`: there is no strace.
    #[track_caller]
    pub(crate) fn start_traced(
        program: &str,
        flags: &[&str],
        calls: &str,
    ) -> Option<(Self, Receiver<String>)> {
        let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
        if has_strace.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            eprintln!("left out: strace is not installed");
            return None;
        }
        let mut command = Command::new("strace");
        // The child is the peer and strace a process of its own, which ends with it.
        command.args([
            "-D",
            "-ttt",
            "-s",
            "0",
            "-e",
            &format!("trace={calls}"),
            "-e",
            "signal=none",
        ]);
        command.arg(program).args(["--listen", "127.0.0.1:0"]).args(flags);
        let mut peer = Self::spawn(command.stderr(Stdio::piped()));
        let stderr = BufReader::new(peer.child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        Some((peer, lines))
    }

    #[track_caller]
    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, first_line) = mpsc::channel();
        // Ends with the peer at the latest.
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            sender.send(line)
        });
        let line = first_line.recv_timeout(PATIENCE).unwrap_or_default();
        let address = line.trim_end().strip_prefix("listening on ");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            let _ = child.kill();
            panic!("{command:?} has printed {line:?}, and ended with {:?}", child.wait());
        };
        Self { child, address }
    }

    /// Ends of pipes that it has.
    pub(crate) fn pipe_ends(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that is gone by now is none.
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that was not waited for keeps its id, so this reaches no other process.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The byte at this place of the stream with this number.
pub(crate) fn byte(stream: usize, at: usize) -> u8 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    mixed.wrapping_add(stream as u64 * 31).to_le_bytes()[0]
}

/// What a program says that does not start.
#[track_caller]
pub(crate) fn refusal(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(!output.status.success(), "{program} {arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}
