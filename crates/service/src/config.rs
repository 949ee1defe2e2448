//! What a service is told to do.

use crate::Mode;
use epoll_connection::Limits;
use epoll_reactor::net::{Address, StreamOptions};
use std::num::NonZeroU32;
use std::time::Duration;

/// The settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses to listen at.
    pub listen: Vec<Address>,
    /// The trigger by which connections are watched, and whether threads share them.
    pub mode: Mode,
    /// The number of threads that serve; as many as there are cores for this process if `None`. In the
    /// modes in which threads share connections, one more accepts them.
    pub threads: Option<NonZeroU32>,
    /// The way in which threads share the listening, where each has connections of its own.
    pub accept: Accept,
    /// Keeps each thread to one core.
    pub pins: bool,
    /// The largest number of connections at once; what the limit of descriptors allows if `None`.
    pub connections_max: Option<NonZeroU32>,
    /// The largest number of connections at once from one address; no limit if `None`.
    pub connections_per_peer_max: Option<NonZeroU32>,
    /// The number of connections that may wait to be accepted.
    pub backlog: NonZeroU32,
    /// The options of accepted and of outgoing connections.
    pub stream: StreamOptions,
    /// The limits of each connection.
    pub limits: Limits,
    /// The time that connections may take.
    pub timeouts: Timeouts,
    /// Called before the process is ended because threads are stuck after a second signal to end: to flush
    /// logs. It must not wait for long.
    pub before_exit: fn(),
}

/// The largest number of threads that a server may have.
pub const THREADS_MAX: u32 = 1024;

/// The way in which several threads accept at one internet address. A UNIX socket is always shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// `SO_REUSEPORT`: each thread has a queue of its own, among which the kernel spreads connections.
    #[default]
    Reuseport,
    /// `EPOLLEXCLUSIVE`: one queue; the kernel wakes one or a few of the threads that wait.
    Exclusive,
}

/// The time that a connection may take; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time that an outgoing connection may take to be established.
    pub connect: Option<Duration>,
    /// The time for which no byte may move either way.
    pub idle: Option<Duration>,
    /// The time for which a peer may take nothing while output waits for it.
    pub write: Option<Duration>,
    /// The time that connections may take to finish after the signal to end.
    pub drain: Option<Duration>,
    /// The time for which a peer may leave its half open after ours is closed; counted anew while it still
    /// takes what was sent.
    pub linger: Option<Duration>,
}

impl Default for Timeouts {
    /// 10 seconds to connect, 5 minutes idle, 30 seconds to write, 10 seconds to drain, 2 to linger.
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(10)),
            idle: Some(Duration::from_secs(5 * 60)),
            write: Some(Duration::from_secs(30)),
            drain: Some(Duration::from_secs(10)),
            linger: Some(Duration::from_secs(2)),
        }
    }
}

impl Config {
    /// Returns the default configuration, with these addresses to listen at.
    #[must_use]
    pub fn at(listen: impl IntoIterator<Item = Address>) -> Self {
        Self { listen: listen.into_iter().collect(), ..Self::default() }
    }
}

impl Default for Config {
    /// Level-triggered, with a thread for each core, and no address.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            mode: Mode::Level,
            threads: None,
            accept: Accept::default(),
            pins: false,
            connections_max: None,
            connections_per_peer_max: None,
            backlog: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            stream: StreamOptions::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            before_exit: || {},
        }
    }
}
