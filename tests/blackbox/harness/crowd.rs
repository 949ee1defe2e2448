//! Many connections at once, and the lock that keeps tests from being many at once.

use super::{client, converse, is_echoed};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that are opened before the server is asked whether it has them: a fraction of its
/// backlog, so none is dropped and sent again a second later.
const WAVE: usize = 200;

static ALONE: Mutex<()> = Mutex::new(());

/// Keeps other tests that ask for it waiting while this one uses memory, descriptors or CPU in
/// plenty, or measures. The limit of descriptors is raised as far as it goes.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    // A test that failed has left nothing behind that another could stumble over.
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a limit");
    guard
}

/// Connections that have all been served once.
pub(crate) struct Crowd {
    pub(crate) streams: Vec<TcpStream>,
}

impl Crowd {
    #[track_caller]
    pub(crate) fn of(server: SocketAddr, count: usize) -> Self {
        let mut streams: Vec<TcpStream> = Vec::with_capacity(count);
        while streams.len() < count {
            let wave = WAVE.min(count - streams.len());
            let first = streams.len();
            streams.extend((0..wave).map(|_| client(server)));
            for stream in &mut streams[first..] {
                converse(stream, b"welcome");
            }
        }
        Self { streams }
    }

    /// Sends a message of its own on every connection, and only then reads the echoes.
    #[track_caller]
    pub(crate) fn all_are_served(&mut self) {
        let message = |at: usize| format!("{at:08}{:56}", "the same length for everyone");
        for (at, stream) in self.streams.iter_mut().enumerate() {
            stream.write_all(message(at).as_bytes()).expect("a message that is taken");
        }
        for (at, stream) in self.streams.iter_mut().enumerate() {
            is_echoed(stream, message(at).as_bytes());
        }
    }
}
