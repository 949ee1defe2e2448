//! The calls of the owner besides readiness: messages, deadlines, the drain, the end. Invariants: but for
//! `on_close`, none of them calls the protocol of a connection that is not open; a `finish` or `end` while it
//! is connecting takes effect when it is established.

use super::forward::Progress;
use super::{Connection, Flags};
use crate::{CloseReason, Protocol, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Tells the protocol that the connection is established, as the first step of one that was
    /// accepted.
    pub fn open(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        let called = self.call(token, thread, P::on_open);
        // The usual case: nothing was written, and nothing is asked for.
        let is_quiet = self.flags.is_empty() && self.cold.is_none() && thread.output.is_empty();
        // Otherwise no step may be the usual one.
        let is_quiet = is_quiet && thread.limits().bytes_per_s_max.is_none();
        if is_quiet && called.is_ok() {
            return Step::Wait;
        }
        self.set_per_s(thread);
        self.resume(called, before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Gives the protocol a message. Returns `true` for the first message of a turn: the owner calls
    /// [`settle`](Self::settle) once, after the last one. A connection that is not established yet, or is about
    /// to end, gets no message.
    pub fn message(
        &mut self,
        message: &P::Message,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> bool {
        if !self.is_open() {
            return false;
        }
        let before = self.registered();
        let called =
            self.call(token, thread, |protocol, context| protocol.on_message(message, context));
        if !thread.output.is_empty() {
            self.cold_mut().append_output(&thread.output);
            thread.clear_output();
        }
        let called = called.and_then(|()| self.send_gathered(thread));
        if let Err(step) = called {
            self.cold_mut().failed = Some(step);
        }
        if self.registered() != before {
            // `settle` does not see what was registered before.
            self.cold_mut().has_changed = true;
        }
        let is_settled = !self.flags.contains(Flags::UNSETTLED);
        self.flags.insert(Flags::UNSETTLED);
        is_settled
    }

    /// Sends what the protocol has written for messages if it has reached `output_max`, before `settle`: so it
    /// takes no more memory than other output, and a peer that reads does not seem to be stalled.
    fn send_gathered(&mut self, thread: &mut ThreadState<P>) -> Result<(), Step> {
        if self.pending() < thread.limits().output_max.max(1) || self.flags.contains(Flags::BLOCKED)
        {
            return Ok(());
        }
        match self.flush(Readiness::empty(), thread, &mut Progress::default()) {
            Err(Step::Wait) => Ok(()),
            flushed => flushed,
        }
    }

    /// Sends what the protocol has written for messages, and goes on as it has answered them.
    pub fn settle(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        self.flags.remove(Flags::UNSETTLED);
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Tells the protocol that its deadline has passed, or ends a pause, after the owner has compared
    /// [`deadline`](Self::deadline) with the time. The owner's timer has fired, so any deadline that is set from
    /// here on answers [`Step::Changed`].
    pub fn expire(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        let mut is_due = true;
        if let Some(cold) = &mut self.cold {
            let mut later = None;
            if cold.is_paced {
                // It may be the end of the pause.
                let now = thread.turn.now();
                later = cold.deadline().filter(|deadline| *deadline > now);
                is_due = cold.deadline().is_some() && later.is_none();
            }
            cold.set_timer_time(None);
            cold.set_deadline(later);
        }
        // First: what follows may wait for room, and the end of the pause would be due for ever.
        self.end_pace(thread);
        if !self.is_open() {
            return Step::Wait;
        }
        let called = if is_due { self.call(token, thread, P::on_deadline) } else { Ok(()) };
        self.resume(called, before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Tells the protocol that the service begins to drain. One that is not established yet is not told.
    pub fn drain(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        if !self.is_open() {
            return Step::Wait;
        }
        let called = self.call(token, thread, P::on_drain);
        if self.flags.contains(Flags::FINISHING) {
            self.flags.insert(Flags::DRAINED);
        }
        self.resume(called, before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Returns whether a drain has to wait for the connection even if no byte moves: a part of a message is
    /// kept, or the protocol is [busy](Protocol::is_busy).
    pub fn is_busy(&self) -> bool {
        self.flags.contains(Flags::KEPT) || self.protocol.is_busy()
    }

    /// Ends the connection as soon as the transport is dry and the protocol is not paused: everything that
    /// has arrived is shown to the protocol, then our half is closed. One that is not established yet is
    /// opened first.
    pub fn finish(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        if self.flags.contains(Flags::FINISHING) {
            return Step::Wait;
        }
        let before = self.registered();
        // Bytes may have arrived that were not reported yet.
        self.flags.insert(Flags::FINISH_WHEN_DRY | Flags::DRAINED | Flags::READABLE);
        if self.flags.contains(Flags::CONNECTING) {
            return Step::Wait;
        }
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Ends the connection as soon as everything that was written is sent: no more input is shown to the
    /// protocol. One that is not established yet is opened first.
    pub fn end(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        if self.flags.contains(Flags::FINISHING) {
            return Step::Wait;
        }
        let before = self.registered();
        self.flags.insert(Flags::FINISHING | Flags::DRAINED | Flags::READABLE);
        if self.flags.contains(Flags::CONNECTING) {
            return Step::Wait;
        }
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Tells the protocol that the owner closes the connection, or that it took too long to be established.
    /// The owner drops it then.
    pub fn close(&mut self, token: Token, thread: &mut ThreadState<P>) {
        let reason = if self.flags.contains(Flags::CONNECTING) {
            CloseReason::ConnectFailed(std::io::ErrorKind::TimedOut)
        } else {
            CloseReason::ClosedByOwner
        };
        self.on_close(reason, token, thread);
    }

    /// Tells the protocol of an outgoing connection that it could not be watched.
    pub fn fail_to_connect(&mut self, kind: std::io::ErrorKind, thread: &mut ThreadState<P>) {
        self.on_close(CloseReason::ConnectFailed(kind), Token::detached(0), thread);
    }

    /// Says that the connection is dropped because a callback has panicked: nothing is called any more, and
    /// those whose bytes wait in it go on.
    pub fn abandon(&mut self, thread: &mut ThreadState<P>) {
        self.resume_senders(thread);
    }

    /// Returns whether the protocol may be called: it is neither connecting nor about to end.
    pub(super) fn is_open(&self) -> bool {
        !self.flags.intersects(Flags::CONNECTING | Flags::FINISHING)
            && self.cold.as_ref().is_none_or(|cold| cold.failed.is_none())
    }
}
