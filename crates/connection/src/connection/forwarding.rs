//! Forwarding: bytes that one connection reads are sent by another one of the same thread, the receiver.
//! They are copied only if the receiver has no room. Invariant: a sender whose bytes wait in the receiver
//! reads nothing, so a receiver holds at most one read, or one pipe, of each sender.

use super::forward::{Forward, Progress};
use super::{Connection, Flags, failed};
use crate::{Flow, Link, Protocol, Request, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};
use std::io::Read;
use std::ops::Range;

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Sends what another connection forwards, after the output that waits already. If a part of it has to
    /// wait, the thread is [asked](Request::ResumeForwarding) to resume the sender when it is sent.
    ///
    /// `slot` holds the pipe of the sender's [`splice`](Self::splice). The pipe comes back empty. It does not
    /// come back if bytes that did not fit the transport could not be read out of it. A connection that takes
    /// no more bytes leaves them in the pipe, for [`Forward::drop_piped`].
    pub fn receive_forward(
        &mut self,
        forward: &mut Forward,
        slot: &mut Option<T::Pipe>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let ends_output = self.flags.intersects(Flags::ENDS_OUTPUT | Flags::OUTPUT_CLOSED);
        if ends_output || !self.is_open() {
            // The bytes are dropped, as a message to this connection would be.
            return Step::Wait;
        }
        let before = self.registered();
        let sent = self.send_forward(forward, slot, token, thread);
        if self.pending() > 0 {
            forward.set_waiting();
            self.cold_mut().add_sender(forward.from);
            self.note_duplex(thread);
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
        forward: &mut Forward,
        slot: &mut Option<T::Pipe>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Result<(), Step> {
        let piped = std::mem::take(&mut forward.piped);
        if piped == 0 {
            return self.send_forwarded(forward.bytes(), token, thread);
        }
        let Some(mut pipe) = slot.take() else { return Ok(()) };
        if self.protocol.forwards_to().is_some() && self.pending() == 0 {
            return self.send_pipe(pipe, piped, slot);
        }
        // The protocol may transform the bytes, or they go after output that waits.
        let mut bytes = vec![0; piped];
        pipe.read_exact(&mut bytes).map_err(failed)?;
        *slot = Some(pipe);
        self.send_forwarded(&bytes, token, thread)
    }

    fn send_forwarded(
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
        if !is_transformed && !thread.output.is_empty() {
            // What the protocol has written goes before the bytes.
            thread.output.extend_from_slice(bytes);
            is_transformed = true;
        }
        if is_transformed {
            // A write finds out whether there is room, unless output waits for it already.
            return self.flush(Readiness::empty(), thread, &mut progress);
        }
        if self.pending() > 0 {
            self.cold_mut().append_output(bytes);
            return Ok(());
        }
        let write = self.transport.write(bytes);
        self.written(write, bytes, &mut progress)
    }

    /// Goes on with the step that answered [`Step::Forward`], after the bytes were given to the receiver or
    /// dropped. Gives the thread its buffer back.
    pub fn forwarded(
        &mut self,
        forward: Forward,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let Forward { is_waiting, readiness, progress, .. } = forward;
        // A splice may have moved much, so other connections come first.
        let begun = if forward.is_spliced() && !is_waiting { Err(Step::Yield) } else { Ok(()) };
        forward.return_buffer(thread);
        let before = self.registered();
        if is_waiting {
            // Bytes that do not fit the receiver are copied. A read brings fewer of them than a splice.
            self.flags.remove(Flags::STREAMING);
            let was_paused = self.flags.contains(Flags::PAUSED);
            self.flags.insert(Flags::PAUSED);
            let cold = self.cold_mut();
            cold.waits_for_receiver = true;
            cold.is_paused_by_protocol = was_paused;
        }
        match self.resume(begun, before, readiness, token, thread, progress) {
            // The step that forwarded may have changed something.
            Step::Wait => Step::Changed,
            step => step,
        }
    }

    /// Reads again after the receiver has sent the bytes that waited in it, or is gone. Does nothing if the
    /// connection waits for no receiver.
    pub fn resume_forwarding(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.waits_for_receiver) else {
            return Step::Wait;
        };
        cold.waits_for_receiver = false;
        if !std::mem::take(&mut cold.is_paused_by_protocol) {
            self.end_pause();
        }
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Returns the connection to which the protocol forwards everything that arrives, if there is one and it
    /// can be linked.
    pub(super) fn forwards_to(&self, thread: &ThreadState<P>) -> Option<Link> {
        if self.protocol.passes_everything(&thread.local) {
            return None;
        }
        let other = self.protocol.forwards_to()?;
        let is_own = thread.turn.has_links && other.thread() == thread.turn.thread;
        is_own.then_some(Link(other.token()))
    }

    /// Notes, and returns, whether input is read even while output waits for room.
    pub(super) fn note_duplex(&mut self, thread: &ThreadState<P>) -> bool {
        let is_duplex =
            !self.flags.contains(Flags::FINISHING) && self.forwards_to(thread).is_some();
        self.cold_mut().is_duplex = is_duplex;
        is_duplex
    }

    /// Applies [`Flow::Pause`](crate::Flow::Pause).
    pub(super) fn pause(&mut self) {
        self.flags.insert(Flags::PAUSED);
        if let Some(cold) = self.cold.as_mut().filter(|cold| cold.is_held()) {
            cold.is_paused_by_protocol = true;
        }
    }

    /// Applies [`Flow::Read`](crate::Flow::Read). While bytes wait in their receiver, or more was received than
    /// is allowed, the pause goes on; it then ends with that wait.
    pub(super) fn end_pause(&mut self) {
        match self.cold.as_mut().filter(|cold| cold.is_held()) {
            Some(cold) => cold.is_paused_by_protocol = false,
            None => self.flags.remove(Flags::PAUSED | Flags::SILENCED),
        }
    }

    /// Leaves a part of `buffer` with the thread, for the owner to give to the connection `to`.
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
            // The receiver uses the thread's output before this connection sends its own.
            self.cold_mut().append_output(&thread.output);
            thread.clear_output();
        }
        thread.forward = Some(Forward {
            from: token,
            to,
            buffer,
            range,
            is_borrowed,
            ..Forward::piped(token, to, 0)
        });
    }

    /// Asks the owner to resume the senders whose bytes waited in this connection.
    pub(super) fn resume_senders(&mut self, thread: &mut ThreadState<P>) {
        let Some(cold) = &mut self.cold else { return };
        thread.turn.requests.extend(cold.take_senders().into_iter().map(Request::ResumeForwarding));
    }
}

impl Forward {
    /// Returns whether the bytes were spliced into the owner's pipe.
    fn is_spliced(&self) -> bool {
        self.range.is_empty()
    }

    /// Drops the pipe in `slot` if it still holds the bytes, which must not reach another connection.
    pub fn drop_piped<T>(&mut self, slot: &mut Option<T>) {
        if std::mem::take(&mut self.piped) > 0 {
            *slot = None;
        }
    }

    /// Gives the thread its buffer back; for an owner whose sender is gone, in place of
    /// [`forwarded`](Connection::forwarded).
    pub fn return_buffer<P: Protocol + ?Sized>(self, thread: &mut ThreadState<P>) {
        if self.is_borrowed {
            thread.input = self.buffer;
        }
    }
}
