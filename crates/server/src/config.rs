//! What a server is told to do.

use crate::Mode;
use clap::ValueEnum;
use epoll_connection::Limits;
use epoll_echo::QuitWord;
use epoll_reactor::net::Address;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// How a [`Server`](crate::Server) is to run; the flags of the program.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Address>,
    /// How connections are watched, and whether threads share them.
    pub mode: Mode,
    /// How many threads serve; as many as there are cores for this process if `None`. In the modes
    /// in which threads share connections, one more accepts them.
    pub threads: Option<NonZeroU32>,
    /// How threads share the listening, where each has connections of its own.
    pub accept: Accept,
    /// Whether each thread keeps to one core.
    pub pins: bool,
    /// The most connections at once; as many as the limit of descriptors allows if `None`.
    pub connections_max: Option<NonZeroU32>,
    /// The most connections at once from one address; as many as there may be at all if `None`.
    pub connections_per_peer_max: Option<NonZeroU32>,
    /// How many bytes one read may take, at most [`READ_BUFFER_LEN_MAX`].
    pub read_buffer_len: NonZeroU32,
    /// The line that ends a conversation.
    pub quit_word: Option<QuitWord>,
    /// How many connections may wait to be accepted.
    pub backlog: NonZeroU32,
    /// How long connections may take.
    pub timeouts: Timeouts,
    /// Where to write statistics at exit.
    pub stats_json: Option<PathBuf>,
}

/// The most threads that a server may have.
pub const THREADS_MAX: u32 = 1024;
/// The most bytes that one read may take.
pub const READ_BUFFER_LEN_MAX: u32 = 16 * 1024 * 1024;
/// Reads of 16 KiB cost twice as much for each byte of a long stream.
const READ_BUFFER_LEN: u32 = 64 * 1024;
/// Fewer bytes than this at once go through a pipe no faster than through the process.
const SPLICE_LEN_MIN: usize = 16 * 1024;

/// How several threads accept at one internet address. A UNIX socket is always shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Accept {
    /// `SO_REUSEPORT`: each thread has a queue of its own, among which the kernel spreads connections.
    #[default]
    Reuseport,
    /// `EPOLLEXCLUSIVE`: one queue; whoever waits is woken, and not all.
    Exclusive,
}

/// How long a connection may take; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// How long no byte may move either way.
    pub idle: Option<Duration>,
    /// How long a peer may take nothing while output waits for it.
    pub write: Option<Duration>,
    /// How long connections may finish after the signal to end.
    pub drain: Option<Duration>,
    /// How long a peer may leave its half open after ours is closed; counted anew while it still takes
    /// what was sent.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(5 * 60)),
            write: Some(Duration::from_secs(30)),
            drain: Some(Duration::from_secs(10)),
            linger: Some(Duration::from_secs(2)),
        }
    }
}

impl Config {
    /// The limits of the connections of a thread.
    pub(crate) fn limits(&self) -> Limits {
        let len = self.read_buffer_len.get().min(READ_BUFFER_LEN_MAX) as usize;
        let len = NonZeroUsize::new(len).unwrap_or(NonZeroUsize::MIN);
        // As much at once as a read could bring, so that what waits to be written is no more either.
        let splice_bytes_max = Some(len).filter(|len| len.get() >= SPLICE_LEN_MIN);
        Limits { read_buffer_len: len, splice_bytes_max, ..Limits::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Inet(([127, 0, 0, 1], 8080).into())],
            mode: Mode::Level,
            threads: None,
            accept: Accept::default(),
            pins: false,
            connections_max: None,
            connections_per_peer_max: None,
            read_buffer_len: NonZeroU32::new(READ_BUFFER_LEN).unwrap_or(NonZeroU32::MIN),
            quit_word: None,
            backlog: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            timeouts: Timeouts::default(),
            stats_json: None,
        }
    }
}
