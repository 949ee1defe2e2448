//! Bytes of one connection that go to another one of the same thread, without being copied where that
//! one has room. Invariant: a connection whose bytes wait for room in another one reads nothing, so each
//! connection holds at most what one step of each of its sources brought.

use super::advance::Progress;
use super::{Connection, Flags};
use crate::{Flow, Protocol, Request, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};
use std::ops::Range;

/// Bytes that a connection forwards to another one, see [`Step::Forward`].
///
/// While it is taken the thread lacks its read buffer: no connection may make a step before
/// [`forwarded`](Connection::forwarded) has brought it back.
#[derive(Debug)]
pub struct Forward {
    from: Token,
    to: Token,
    buffer: Box<[u8]>,
    range: Range<usize>,
    /// The buffer is the thread's.
    is_borrowed: bool,
    is_waiting: bool,
    /// The step that goes on afterwards.
    pub(super) readiness: Readiness,
    pub(super) progress: Progress,
}

impl Forward {
    /// Returns the connection that the bytes come from.
    #[must_use]
    pub fn from(&self) -> Token {
        self.from
    }

    /// Returns the connection that the bytes are for.
    #[must_use]
    pub fn to(&self) -> Token {
        self.to
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }

    /// Returns the readiness of the step that forwards.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    /// Creates what a connection with this name would forward: for tests of its receiver.
    #[cfg(feature = "test-kit")]
    #[must_use]
    pub fn of(from: Token, to: Token, bytes: &[u8]) -> Self {
        Self {
            from,
            to,
            buffer: bytes.into(),
            range: 0..bytes.len(),
            is_borrowed: false,
            is_waiting: false,
            readiness: Readiness::empty(),
            progress: Progress::default(),
        }
    }

    /// Returns whether the receiver has yet to send a part of the bytes.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Says that the receiver has yet to send a part of the bytes, and will ask for
    /// [`resume_forwarding`](Connection::resume_forwarding).
    pub fn wait(&mut self) {
        self.is_waiting = true;
    }
}

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Sends what another connection forwards, after what waits to be sent. If a part of it has to wait,
    /// the thread is [asked](Request::ResumeForwarding) to tell the sender when it is sent.
    pub fn receive_forward(
        &mut self,
        forward: &mut Forward,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let ends_output = self.flags.intersects(Flags::ENDS_OUTPUT | Flags::OUTPUT_CLOSED);
        if ends_output || !self.is_open() {
            // Dropped, as a message to it would be.
            return Step::Wait;
        }
        let before = self.registered();
        let sent = self.send_forward(forward.bytes(), token, thread);
        if self.pending() > 0 {
            forward.wait();
            self.cold_mut().feeders.push(forward.from);
        }
        let has_changed = self.has_changed(before);
        match sent {
            Err(Step::Done(reason)) => {
                self.on_close(reason, token, thread);
                Step::Done(reason)
            }
            _ if has_changed => Step::Changed,
            _ => Step::Wait,
        }
    }

    fn send_forward(
        &mut self,
        bytes: &[u8],
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Result<(), Step> {
        let mut is_transformed = false;
        self.call(token, thread, |protocol, context| {
            is_transformed = protocol.on_forwarded(bytes, context);
            Flow::Keep
        })?;
        let mut progress = Progress::default();
        if is_transformed {
            // Nothing is known of the room, so it is tried, unless something waits for it.
            return self.flush(Readiness::empty(), thread, &mut progress);
        }
        if self.pending() > 0 {
            self.cold_mut().append_output(bytes);
            return Ok(());
        }
        let write = self.transport.write(bytes);
        self.written(write, bytes, &mut progress)
    }

    /// Goes on after a [`Step::Forward`], whose bytes were given away, or are dropped. The thread has its
    /// buffer again.
    pub fn forwarded(
        &mut self,
        forward: Forward,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let Forward { is_waiting, readiness, progress, .. } = forward;
        forward.return_buffer(thread);
        let before = self.registered();
        if is_waiting {
            let was_paused = self.flags.contains(Flags::PAUSED);
            self.flags.insert(Flags::PAUSED);
            let cold = self.cold_mut();
            cold.waits_for_receiver = true;
            cold.is_paused_besides = was_paused;
        }
        match self.resume(Ok(()), before, readiness, token, thread, progress) {
            // The step that forwarded may have changed something.
            Step::Wait => Step::Changed,
            step => step,
        }
    }

    /// Goes on after the receiver of what was forwarded has sent it, or is gone. Does nothing if the
    /// connection waits for no receiver.
    pub fn resume_forwarding(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.waits_for_receiver) else {
            return Step::Wait;
        };
        cold.waits_for_receiver = false;
        if !std::mem::take(&mut cold.is_paused_besides) {
            self.end_pause();
        }
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Does as [`Flow::Pause`](crate::Flow::Pause) says.
    pub(super) fn pause(&mut self) {
        self.flags.insert(Flags::PAUSED);
        if let Some(cold) = self.cold.as_mut().filter(|cold| cold.waits_for_receiver) {
            cold.is_paused_besides = true;
        }
    }

    /// Does as [`Flow::Read`](crate::Flow::Read) says, unless bytes wait for their receiver.
    pub(super) fn end_pause(&mut self) {
        match self.cold.as_mut().filter(|cold| cold.waits_for_receiver) {
            Some(cold) => cold.is_paused_besides = false,
            None => self.flags.remove(Flags::PAUSED | Flags::SILENCED),
        }
    }

    /// Leaves a part of `buffer` to the owner, who takes it to the connection `to`.
    pub(super) fn set_forward(
        &mut self,
        to: Token,
        buffer: Box<[u8]>,
        range: Range<usize>,
        is_borrowed: bool,
        token: Token,
        thread: &mut ThreadState<P>,
    ) {
        if !thread.output.is_empty() {
            // The next one to use the thread's output is the receiver.
            self.cold_mut().append_output(&thread.output);
            thread.clear_output();
        }
        thread.forward = Some(Forward {
            from: token,
            to,
            buffer,
            range,
            is_borrowed,
            is_waiting: false,
            readiness: Readiness::empty(),
            progress: Progress::default(),
        });
    }

    /// Has the connections told that wait for this one to send what they have forwarded.
    pub(super) fn release_feeders(&mut self, thread: &mut ThreadState<P>) {
        let Some(cold) = &mut self.cold else { return };
        let feeders = std::mem::take(&mut cold.feeders);
        thread.turn.requests.extend(feeders.into_iter().map(Request::ResumeForwarding));
    }
}

impl Forward {
    /// Gives the thread its buffer back, where the connection that has forwarded is gone.
    pub fn return_buffer<P: Protocol + ?Sized>(self, thread: &mut ThreadState<P>) {
        if self.is_borrowed {
            thread.input = self.buffer;
        }
    }
}
