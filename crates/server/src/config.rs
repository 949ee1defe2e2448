//! What a server is told to do.

use epoll_echo::{Mode, QuitWord};
use epoll_reactor::net::Address;
use std::num::NonZeroU32;
use std::path::PathBuf;

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
    /// Where to write statistics at exit.
    pub stats_json: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![Address::Inet(([127, 0, 0, 1], 8080).into())],
            mode: Mode::Level,
            connections_max: None,
            quit_word: None,
            backlog: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            stats_json: None,
        }
    }
}
