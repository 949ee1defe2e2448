//! What the owner of a connection tells it, besides what is ready. Invariant: the protocol is called only
//! while the connection is open, and no call of the owner is lost while it is connecting.

use super::advance::Progress;
use super::{Connection, Flags};
use crate::{CloseReason, Protocol, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Tells the protocol that the connection is established, as the first step of one that was
    /// accepted.
    pub fn open(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        let called = self.call(token, thread, P::on_open);
        self.resume(called, before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Gives the protocol a message. Returns whether [`settle`](Self::settle) has to be called, once,
    /// after all messages of the turn. A connection that is not open, or is about to end, gets none.
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

    /// Sends early what messages have had the protocol write if it is much: it takes no more memory than
    /// output otherwise does, and a peer that reads is not taken for one that does not.
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

    /// Sends what messages had the protocol write, and goes on as it answered.
    pub fn settle(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        self.flags.remove(Flags::UNSETTLED);
        self.resume(Ok(()), before, Readiness::empty(), token, thread, Progress::default())
    }

    /// Tells the protocol that its deadline has passed. The owner has compared it with the time, and its
    /// timer has fired: whatever deadline is set next answers [`Step::Changed`].
    pub fn expire(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        let before = self.registered();
        if let Some(cold) = &mut self.cold {
            cold.deadline = None;
            cold.timer_time = None;
        }
        if !self.is_open() {
            return Step::Wait;
        }
        let called = self.call(token, thread, P::on_deadline);
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

    /// Ends the connection as soon as the transport is dry and the protocol is not paused: everything that
    /// has arrived is shown to the protocol, then our half is closed. One that is not established yet is
    /// opened first.
    pub fn finish(&mut self, token: Token, thread: &mut ThreadState<P>) -> Step {
        if self.flags.contains(Flags::FINISHING) {
            return Step::Wait;
        }
        let before = self.registered();
        // What has arrived is not known to have been reported.
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

    /// Returns whether the protocol may be called: it is neither connecting nor about to end.
    pub(super) fn is_open(&self) -> bool {
        !self.flags.intersects(Flags::CONNECTING | Flags::FINISHING)
            && self.cold.as_ref().is_none_or(|cold| cold.failed.is_none())
    }
}
