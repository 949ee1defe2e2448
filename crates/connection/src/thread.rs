//! What the connections of a thread have in common: buffers, limits, the time of the turn, and what
//! protocols ask of the service. Invariant: the output is empty between two steps.

use crate::context::Changes;
use crate::{CloseReason, ConnectionId, Context, Forward, Protocol};
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::{ClockTime, Realtime, Timestamp};
use epoll_reactor::net::Address;
use std::fmt;
use std::num::NonZeroUsize;

/// The limits of every connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The length of the buffer that connections read into, one for the thread.
    pub read_buffer_len: NonZeroUsize,
    /// The number of bytes that a connection may read and write in a step before others get their turn.
    pub step_bytes_max: usize,
    /// The number of bytes of output that may gather before they are sent within a step.
    pub output_max: usize,
    /// The length of the longest message that a protocol may [ask for](crate::Consumed::need).
    pub input_max: usize,
    /// The number of bytes to move through a pipe at once where a
    /// [protocol passes everything](Protocol::passes_everything); `None` moves no bytes like that. See
    /// [`Step::Splice`](crate::Step::Splice). A peer that has reset a TCP connection then raises
    /// `SIGPIPE`, which Rust programs ignore unless they say otherwise.
    pub splice_bytes_max: Option<NonZeroUsize>,
}

const READ_BUFFER_LEN: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

impl Default for Limits {
    /// 64 KiB for the buffer and for output, 256 KiB a step, messages of up to 1 MiB, no splicing.
    fn default() -> Self {
        Self {
            read_buffer_len: READ_BUFFER_LEN,
            step_bytes_max: 256 * 1024,
            output_max: 64 * 1024,
            input_max: 1024 * 1024,
            splice_bytes_max: None,
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
    /// The clocks of the system.
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
    /// Call [`resume_forwarding`](crate::Connection::resume_forwarding) of this connection of the thread:
    /// what it has forwarded is sent.
    ResumeForwarding(Token),
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

/// The state that all connections of a thread share; every step is given it.
///
/// # Examples
///
/// See [the crate's page](crate).
pub struct ThreadState<P: Protocol + ?Sized> {
    /// The state that the protocol has once for each thread.
    pub local: P::Local,
    pub(crate) turn: Turn<P::Message>,
    pub(crate) input: Box<[u8]>,
    pub(crate) output: Vec<u8>,
    pub(crate) forward: Option<Forward>,
}

impl<P: Protocol + ?Sized> ThreadState<P> {
    /// Returns the state of the thread with this number.
    #[must_use]
    pub fn new(thread: u32, local: P::Local, limits: Limits, clocks: Clocks) -> Self {
        let input = vec![0; limits.read_buffer_len.get()].into();
        let turn = Turn {
            requests: Vec::new(),
            limits,
            thread,
            has_links: true,
            now: None,
            wall_clock: None,
            clocks,
        };
        Self { local, turn, input, output: Vec::new(), forward: None }
    }

    /// Says that threads share the connections, so that none can be [linked](Context::link).
    #[must_use]
    pub fn without_links(mut self) -> Self {
        self.turn.has_links = false;
        self
    }

    /// Returns whether a connection has answered [`Step::Forward`](crate::Step::Forward).
    #[inline]
    #[must_use]
    pub fn has_forward(&self) -> bool {
        self.forward.is_some()
    }

    /// Takes the bytes that a connection forwards.
    pub fn take_forward(&mut self) -> Option<Forward> {
        self.forward.take()
    }

    /// Begins a turn of the loop: protocols that ask for the time get `now`, or have it read.
    #[inline]
    pub fn begin_turn(&mut self, now: Option<Timestamp>) {
        self.turn.now = now;
        self.turn.wall_clock = None;
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.turn.limits
    }

    /// Returns the limits, to change them.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.turn.limits
    }

    /// Returns whether protocols have asked for something.
    #[inline]
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.turn.requests.is_empty()
    }

    /// Takes what protocols have asked for, in order, in exchange for an empty list.
    pub fn swap_requests(&mut self, empty: &mut Vec<Request<P::Message>>) {
        debug_assert!(empty.is_empty());
        std::mem::swap(&mut self.turn.requests, empty);
    }

    /// Tells a protocol that its connection could not be made, or was not; see
    /// [`Protocol::on_close`].
    pub fn refuse(&mut self, mut protocol: P, reason: CloseReason, token: Token)
    where
        P: Sized,
    {
        let mut changes = Changes::default();
        let mut context = Context {
            local: &mut self.local,
            output: &mut self.output,
            turn: &mut self.turn,
            changes: &mut changes,
            token,
            pending: 0,
            is_transformed: false,
        };
        protocol.on_close(reason, &mut context);
        self.output.clear();
    }

    /// Empties the output. One long answer must not cost the thread its length for ever.
    #[inline]
    pub(crate) fn clear_output(&mut self) {
        self.output.clear();
        if self.output.capacity() / 2 > self.turn.limits.output_max {
            self.shrink_output();
        }
    }

    #[cold]
    fn shrink_output(&mut self) {
        self.output.shrink_to(self.turn.limits.output_max);
    }

    /// Drops what a callback that has panicked left behind, and replaces what it took along: without a
    /// buffer every read would look like the end of its stream.
    pub fn recover(&mut self) {
        self.output = Vec::new();
        self.forward = None;
        if self.input.is_empty() {
            // The callback had it.
            self.input = vec![0; self.turn.limits.read_buffer_len.get()].into();
        }
    }
}

impl<P: Protocol + ?Sized> fmt::Debug for ThreadState<P>
where
    P::Local: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadState")
            .field("local", &self.local)
            .field("limits", &self.turn.limits)
            .finish_non_exhaustive()
    }
}
