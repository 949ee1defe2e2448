//! The settings of a service.

use crate::{Mode, Restart, Supervisor};
use epoll_connection::Limits;
use epoll_reactor::net::{Address, StreamOptions};
use std::num::NonZeroU32;
use std::time::Duration;

/// The settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses to listen at. If there is none, nothing is accepted.
    pub listen: Vec<Address>,
    /// The trigger by which connections are watched, and whether threads share them.
    pub mode: Mode,
    /// The number of threads that serve, at most [`THREADS_MAX`]; `None` is one for each core that this process
    /// may use. In the modes in which threads share connections, one more thread minds timers and the drain.
    pub threads: Option<NonZeroU32>,
    /// The way in which threads accept at the same address, in the modes in which each has connections of its
    /// own.
    pub accept: Accept,
    /// Keeps each thread to one core.
    pub pins: bool,
    /// The largest number of connections at once; `None` is as many as the limit of descriptors allows.
    pub connections_max: Option<NonZeroU32>,
    /// The largest number of connections at once from one address; `None` is no limit.
    pub connections_per_peer_max: Option<NonZeroU32>,
    /// The number of connections that may wait to be accepted at each address. Sockets that the process was started
    /// with keep theirs.
    pub backlog: NonZeroU32,
    /// The options of accepted and of outgoing connections.
    pub stream: StreamOptions,
    /// The limits of each connection.
    pub limits: Limits,
    /// The time that connections may take.
    pub timeouts: Timeouts,
    /// The time for which a thread that was just busy looks for the next event again and again before it sleeps,
    /// counted from the end of its work; `None` and zero sleep at once.
    ///
    /// What comes within this time is answered sooner, by what it takes to wake a thread. The price is a core for
    /// each thread, the one that serves no connection included, for as long as events come: a thread that looks runs, and
    /// whatever else has its core waits. So it is for latency at a steady, moderate rate on a machine with cores to
    /// spare, which the clients do not use either. It is not for a machine, or a share of one, that others use, nor
    /// for fewer cores than threads. A time that is shorter than the pauses between events costs as much of a core
    /// in every pause and brings nothing. While all connections are silent, threads sleep.
    ///
    /// Timers, messages, signals and the drain are seen no later than otherwise. Each look is an [`epoll_wait`]
    /// with a timeout of zero, counted in [`Counters::spins`](epoll_reactor::Counters::spins). HAProxy's
    /// `busy-polling` does the same without a bound. The kernel's busy polling of network devices is another thing,
    /// which this does not set: see [`Epoll::set_busy_poll`](epoll_reactor::epoll_sys::Epoll::set_busy_poll).
    ///
    /// [`epoll_wait`]: https://man7.org/linux/man-pages/man2/epoll_wait.2.html
    pub busy_polling: Option<Duration>,
    /// The program that supervises the process, and is told when it serves, restarts and stops; `None` is none.
    pub supervisor: Option<Supervisor>,
    /// The signal by which the service restarts, and the program that takes over; `None` never restarts.
    pub restart: Option<Restart>,
    /// Called before the process is ended because threads are stuck after a second signal to end; for example
    /// to flush logs. It must return soon.
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
            busy_polling: None,
            supervisor: None,
            restart: None,
            before_exit: || {},
        }
    }
}
