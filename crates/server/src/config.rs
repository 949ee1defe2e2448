//! What a server is told to do.

use epoll_echo::{Mode, QuitWord};
use epoll_reactor::net::Address;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// How a [`Server`](crate::Server) is to run; the flags of the program.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<Address>,
    /// How connections are watched.
    pub mode: Mode,
    /// The most connections at once; as many as the limit of descriptors allows if `None`.
    pub connections_max: Option<NonZeroU32>,
    /// The line that ends a conversation.
    pub quit_word: Option<QuitWord>,
    /// How many connections may wait to be accepted.
    pub backlog: NonZeroU32,
    /// How long connections may take.
    pub timeouts: Timeouts,
    /// Where to write statistics at exit.
    pub stats_json: Option<PathBuf>,
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
    /// How long a peer may leave its half open after ours is closed.
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

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Inet(([127, 0, 0, 1], 8080).into())],
            mode: Mode::Level,
            connections_max: None,
            quit_word: None,
            backlog: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            timeouts: Timeouts::default(),
            stats_json: None,
        }
    }
}
