//! The state that the connections of a thread share: buffers, and the turn. Invariant: the output is empty
//! between two steps.

use crate::context::Changes;
use crate::turn::Turn;
use crate::{Clocks, CloseReason, Context, Forward, Limits, Protocol, Request};
use epoll_reactor::Token;
use epoll_reactor::epoll_sys::Timestamp;
use std::fmt;

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
        let turn = Turn::new(thread, limits, clocks);
        Self { local, turn, input, output: Vec::new(), forward: None }
    }

    /// Says that threads share the connections, so that none can be [linked](Context::link), and no answer
    /// is [sent late](crate::Limits::sends_late): another thread may have the connection next.
    #[must_use]
    pub fn without_links(mut self) -> Self {
        self.turn.has_links = false;
        self.turn.limits.sends_late = false;
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
        self.turn.begin(now);
    }

    /// Returns the time of the turn, which is read when somebody first asks for it.
    #[inline]
    pub fn now(&mut self) -> Timestamp {
        self.turn.now()
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
