//! A turn of a thread's loop as callbacks see it: the limits, the time, and the requests of protocols to the
//! service. Each clock is read at most once a turn.

use crate::ConnectionId;
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::{ClockTime, Realtime, Timestamp};
use epoll_reactor::net::Address;
use std::num::{NonZeroU64, NonZeroUsize};

/// The limits of every connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The length of the buffer that connections read into, one for the thread. It is also what a connection may keep
    /// of a message whose length its protocol has not [asked for](crate::Consumed::need).
    pub read_buffer_len: NonZeroUsize,
    /// The number of bytes that a connection may read and write in a step before others get their turn.
    pub step_bytes_max: usize,
    /// The number of bytes of output that may gather before they are sent within a step.
    pub output_max: usize,
    /// The length of the longest message that a protocol may [ask for](crate::Consumed::need).
    ///
    /// The buffer of a message longer than `read_buffer_len` grows with what has come of it: to four times as much, or
    /// by one `read_buffer_len`. A client that only announces a long message takes no memory for it.
    pub input_max: usize,
    /// The number of bytes to [splice](crate::Step::Splice) at once if a protocol
    /// [passes](crate::Protocol::passes_everything) or [forwards](crate::Protocol::forwards_to) everything.
    /// `None` never splices. Splicing begins after a read that filled the buffer, if that is a quarter of this or
    /// more.
    ///
    /// With messages of 256 KiB and 1 MiB, a splice costs this process less CPU time than a copy. Peers on the
    /// same host gain as well if their cores share no cache with this one; otherwise they may pay up to 38 %
    /// more for several long streams over TCP. A message barely longer than the read buffer may cost both sides
    /// more than a copy.
    ///
    /// A splice to a peer that has reset its TCP connection raises `SIGPIPE`, which Rust programs ignore unless
    /// they say otherwise.
    pub splice_bytes_max: Option<NonZeroUsize>,
    /// The number of bytes that a connection may receive a second, on average; `None` is no limit.
    ///
    /// A connection that has received more pauses until it is paid for, so its peer is held up by TCP, and nothing is
    /// lost. A read may bring `read_buffer_len` bytes at once, a longer message that the protocol asked for even more:
    /// a limit that is much lower means long pauses, for which a shorter buffer is the cure. Nothing is spliced. A
    /// connection keeps about 160 bytes for it. It takes the limit over when it is opened, and another one by
    /// [`apply_limits`](crate::Connection::apply_limits).
    pub bytes_per_s_max: Option<NonZeroU64>,
    /// Answers are sent at the end of the turn, not when each is complete: peers are not woken while others
    /// are being served, so fewer of them wait for a core, but each waits for the others. Each connection
    /// keeps its answer until then. It does nothing where threads share connections.
    pub sends_late: bool,
}

const READ_BUFFER_LEN: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

impl Default for Limits {
    /// 64 KiB for the buffer and for output, 256 KiB a step, messages of up to 1 MiB, no splicing, as many bytes a
    /// second as come, and answers sent as soon as they are complete.
    fn default() -> Self {
        Self {
            read_buffer_len: READ_BUFFER_LEN,
            step_bytes_max: 256 * 1024,
            output_max: 64 * 1024,
            input_max: 1024 * 1024,
            splice_bytes_max: None,
            bytes_per_s_max: None,
            sends_late: false,
        }
    }
}

/// The clocks that protocols see. Nothing here reads any other.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The clock of deadlines.
    pub monotonic: fn() -> Timestamp,
    /// The clock of dates.
    pub realtime: fn() -> ClockTime<Realtime>,
}

impl Default for Clocks {
    /// Returns the clocks of the system.
    fn default() -> Self {
        Self { monotonic: Timestamp::now, realtime: ClockTime::now }
    }
}

/// A request of a protocol to the service, to be done when the events of the turn are handled.
#[derive(Debug)]
pub enum Request<M> {
    /// Send the message to this connection.
    Send(ConnectionId, M),
    /// Send the message to every connection.
    Broadcast(M),
    /// Begin an outgoing connection.
    Connect {
        /// The connection that asked for it.
        from: ConnectionId,
        /// The address to connect to.
        address: Address,
        /// The message that the protocol of the new connection is made from.
        message: M,
    },
    /// Call [`resume_forwarding`](crate::Connection::resume_forwarding) of this connection of the thread: the
    /// receiver has sent what it forwarded, or is gone.
    ResumeForwarding(Token),
    /// Call [`settle`](crate::Connection::settle) of this connection of the thread: its answer
    /// [is late](Limits::sends_late).
    Settle(Token),
}

/// The state of a thread that callbacks can reach, besides the protocol's own.
#[derive(Debug)]
pub(crate) struct Turn<M> {
    pub(crate) requests: Vec<Request<M>>,
    pub(crate) limits: Limits,
    pub(crate) thread: u32,
    /// The connections of the thread are its own, so they can be linked.
    pub(crate) has_links: bool,
    now: Option<Timestamp>,
    wall_clock: Option<ClockTime<Realtime>>,
    clocks: Clocks,
}

impl<M> Turn<M> {
    pub(crate) fn new(thread: u32, limits: Limits, clocks: Clocks) -> Self {
        Self {
            requests: Vec::new(),
            limits,
            thread,
            has_links: true,
            now: None,
            wall_clock: None,
            clocks,
        }
    }

    /// Forgets the times of the turn before.
    #[inline]
    pub(crate) fn begin(&mut self, now: Option<Timestamp>) {
        self.now = now;
        self.wall_clock = None;
    }

    #[inline]
    pub(crate) fn now(&mut self) -> Timestamp {
        let clock = self.clocks.monotonic;
        *self.now.get_or_insert_with(clock)
    }

    #[inline]
    pub(crate) fn wall_clock(&mut self) -> ClockTime<Realtime> {
        let clock = self.clocks.realtime;
        *self.wall_clock.get_or_insert_with(clock)
    }
}
