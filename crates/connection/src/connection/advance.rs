//! The loop of every step that is not the usual case. Each round sends, ends, asks the protocol or reads, in
//! this order of precedence.

use super::forward::Progress;
use super::{Connection, Exit, Flags, failed, is_all_bytes};
use crate::context::Changes;
use crate::{
    Awaits, CloseReason, Consumed, Context, Flow, Misuse, Protocol, Step, ThreadState, Transport,
};
use epoll_reactor::{Interest, Readiness, Token};
use std::io;

/// The number of rounds of a step after which other connections get their turn, even if few bytes were moved:
/// a protocol that answers `Produce` and writes nothing must not stop its thread.
const ROUNDS_MAX: usize = 1024;

/// The states that the owner registers for a connection.
pub(super) type Registered = (Option<Interest>, Awaits);

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Goes on where the usual case was left.
    #[cold]
    #[inline(never)]
    pub(super) fn leave(
        &mut self,
        exit: Exit,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let before = self.registered();
        let mut progress = Progress::default();
        let begun = match exit {
            Exit::Unusual => self.begin(readiness, token, thread),
            Exit::NothingRead(read) => {
                self.flags.insert(Flags::READABLE);
                self.nothing_read(read, token, thread)
            }
            // The transport claims to have read more than fits the buffer.
            Exit::Input(_) => Err(failed(io::ErrorKind::InvalidData.into())),
            Exit::NotDry(len) if len > thread.input.len() => {
                Err(failed(io::ErrorKind::InvalidData.into()))
            }
            Exit::Consumed { consumed, changes, len } => {
                self.note_usual_read(len, readiness, thread, &mut progress);
                let first = Some((consumed, changes));
                self.receive_read(len, first, token, thread, &mut progress)
            }
            Exit::Late { passes, len } => {
                self.note_usual_read(len, readiness, thread, &mut progress);
                if passes {
                    thread.output.extend_from_slice(&thread.input[..len]);
                }
                if !self.flags.contains(Flags::READABLE) {
                    self.put_off(token, thread);
                    return Step::Wait;
                }
                // There is more to do for it, so it is sent before that.
                Ok(())
            }
            Exit::CutShort { write, passed, len } => {
                self.note_usual_read(len, readiness, thread, &mut progress);
                self.written_usually(write, passed, len, thread, &mut progress)
            }
            Exit::NotDry(len) => {
                self.note_usual_read(len, readiness, thread, &mut progress);
                progress.written = len;
                Ok(())
            }
        };
        self.resume(begun, before, readiness, token, thread, progress)
    }

    /// Begins a step of a connection that has a flag set.
    fn begin(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Result<(), Step> {
        if self.flags.contains(Flags::CONNECTING) {
            return self.establish(token, thread);
        }
        if readiness.may_read() {
            self.flags.insert(Flags::READABLE);
            if self.flags.contains(Flags::PAUSED) {
                self.flags.insert(Flags::SILENCED);
            }
        }
        self.peer_is_gone(readiness)
    }

    fn note_usual_read(
        &mut self,
        len: usize,
        readiness: Readiness,
        thread: &ThreadState<P>,
        progress: &mut Progress,
    ) {
        *progress = Progress { read: len, last_read: len, ..Progress::default() };
        self.note_read(len, thread.input.len(), readiness);
    }

    /// Keeps what the write of the usual case did not take.
    fn written_usually(
        &mut self,
        write: io::Result<usize>,
        passed: bool,
        len: usize,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        if passed {
            return self.written(write, &thread.input[..len], progress);
        }
        let output = std::mem::take(&mut thread.output);
        let written = self.written(write, &output, progress);
        thread.output = output;
        thread.clear_output();
        written
    }

    /// Finds out whether an outgoing connection is established.
    fn establish(&mut self, token: Token, thread: &mut ThreadState<P>) -> Result<(), Step> {
        match self.transport.is_connected() {
            Ok(true) => {
                self.flags.remove(Flags::CONNECTING);
                self.flags.insert(Flags::READABLE);
                self.set_per_s(thread);
                self.call(token, thread, P::on_open)
            }
            Ok(false) => Err(Step::Wait),
            Err(error) => Err(Step::Done(CloseReason::ConnectFailed(error.kind()))),
        }
    }

    /// Ends a connection whose event reports that the peer is gone, if no read or write will find that out.
    ///
    /// `HUP` alone ends none whose own half was closed before, and none whose bytes wait in a receiver: what is
    /// left in their transport is read when the pause is over.
    fn peer_is_gone(&mut self, readiness: Readiness) -> Result<(), Step> {
        let does_io = !self.flags.intersects(Flags::PAUSED | Flags::PEER_FINISHED)
            || self.flags.intersects(Flags::BLOCKED | Flags::FINISHING);
        if does_io {
            Ok(())
        } else if readiness.contains(Readiness::ERR) {
            Err(Step::Done(CloseReason::Failed(io::ErrorKind::ConnectionReset)))
        } else if !readiness.contains(Readiness::HUP) {
            Ok(())
        } else if self.flags.contains(Flags::PEER_FINISHED) || !self.has_use_for_input() {
            Err(Step::Done(CloseReason::PeerClosed))
        } else {
            self.cold_mut().is_hung_up = true;
            Ok(())
        }
    }

    /// Returns whether input that the peer sent before it was gone is still of use.
    fn has_use_for_input(&self) -> bool {
        let forwards = self.cold.as_ref().is_some_and(|cold| cold.waits_for_receiver);
        let is_paced = self.cold.as_ref().is_some_and(|cold| cold.is_paced);
        forwards || is_paced || self.flags.contains(Flags::OUTPUT_CLOSED)
    }

    /// Goes on after what `begun` has come to, as far as `readiness` and the budget allow.
    pub(super) fn resume(
        &mut self,
        begun: Result<(), Step>,
        before: Registered,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        mut progress: Progress,
    ) -> Step {
        let failed = self.cold.as_mut().and_then(|cold| cold.failed.take());
        let mut round = failed.map_or(begun, Err);
        let step = loop {
            match round {
                Ok(()) => {
                    progress.rounds += 1;
                    round = self.advance(readiness, token, thread, &mut progress);
                }
                Err(step) => break step,
            }
        };
        let step = match step {
            // The pause may have begun in this step, and an edge-triggered end is not reported again.
            Step::Wait => self.peer_is_gone(readiness).err().unwrap_or(Step::Wait),
            step => step,
        };
        if self.flags.contains(Flags::PAUSED) && !is_all_bytes(readiness) {
            // An edge-triggered end is not reported again, and no read finds it during a pause.
            self.cold_mut().is_end_announced = true;
        }
        if let Step::Done(reason) = step {
            self.on_close(reason, token, thread);
            return step;
        }
        self.stay_paced();
        let has_changed = self.has_changed(before);
        match step {
            Step::Forward => {
                if let Some(forward) = &mut thread.forward {
                    (forward.readiness, forward.progress) = (readiness, progress);
                }
                step
            }
            Step::Wait if has_changed => Step::Changed,
            step => step,
        }
    }

    /// Makes one round: does what takes precedence, or returns the step that ends the loop.
    fn advance(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let flushed = self.flush(readiness, thread, progress);
        if flushed == Err(Step::Wait) && self.note_duplex(thread) {
            return self.advance_input(readiness, token, thread, progress);
        }
        flushed?;
        if self.flags.contains(Flags::FINISHING) {
            return self.advance_to_end(readiness, token, thread, progress);
        }
        if self.flags.contains(Flags::ENDS_OUTPUT) && !self.flags.contains(Flags::OUTPUT_CLOSED) {
            self.say_last_words(readiness, token, thread, progress)?;
            return self.close_output();
        }
        if self.flags.contains(Flags::PEER_FINISHED | Flags::OUTPUT_CLOSED) {
            return Err(Step::Done(CloseReason::PeerClosed));
        }
        let is_over_budget = progress.is_over(thread);
        if self.flags.contains(Flags::WRITTEN_DUE) {
            if is_over_budget {
                return Err(Step::Yield);
            }
            self.flags.remove(Flags::WRITTEN_DUE);
            return self.call(token, thread, P::on_written);
        }
        self.advance_input(readiness, token, thread, progress)
    }

    /// Does the part of a round that shows input, or reads.
    fn advance_input(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        if self.flags.contains(Flags::PAUSED) && !self.end_pace(thread) {
            return Err(Step::Wait);
        }
        let is_over_budget = progress.is_over(thread);
        if self.flags.contains(Flags::KEPT | Flags::FRESH) {
            if is_over_budget {
                return Err(Step::Yield);
            }
            return self.receive_kept(token, thread, progress);
        }
        if self.flags.contains(Flags::PEER_FINISHED) || !self.flags.contains(Flags::READABLE) {
            if self.flags.contains(Flags::FINISH_WHEN_DRY) {
                self.flags.insert(Flags::FINISHING);
                return Ok(());
            }
            return Err(Step::Wait);
        }
        if self.may_stream(readiness, thread, progress) {
            self.flags.insert(Flags::STREAMING);
            return Err(Step::Splice);
        }
        if is_over_budget {
            return Err(Step::Yield);
        }
        if self.begin_pace(thread) {
            return Err(Step::Wait);
        }
        // If a read is better now, it is better in the next steps as well.
        self.flags.remove(Flags::STREAMING);
        self.read(readiness, token, thread, progress)
    }

    /// Ends the connection: last words, then the end of our half, then the peer's.
    fn advance_to_end(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        // What arrives is discarded, so it has to be reported even after a pause.
        self.flags.remove(Flags::PAUSED | Flags::SILENCED);
        self.drop_kept();
        if !self.flags.contains(Flags::OUTPUT_CLOSED) {
            self.say_last_words(readiness, token, thread, progress)?;
            if !self.flags.contains(Flags::PEER_FINISHED) {
                return self.close_output();
            }
        }
        if self.flags.contains(Flags::PEER_FINISHED) {
            return Err(Step::Done(CloseReason::PeerClosed));
        }
        if !self.flags.contains(Flags::READABLE) {
            return Err(Step::Wait);
        }
        if progress.is_over(thread) {
            return Err(Step::Yield);
        }
        self.discard(readiness, thread, progress)
    }

    /// Calls `on_finish`, once, and sends what it writes.
    fn say_last_words(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        if self.cold.as_ref().is_some_and(|cold| cold.has_said_last_words) {
            return Ok(());
        }
        // A protocol that has ended its output may still write its last words.
        let ends_output = self.flags & Flags::ENDS_OUTPUT;
        self.flags.remove(ends_output);
        let called = self.call(token, thread, |protocol, context| {
            protocol.on_finish(context);
            Flow::Keep
        });
        self.flags.insert(ends_output);
        called?;
        if thread.output.is_empty() {
            return Ok(());
        }
        self.cold_mut().has_said_last_words = true;
        self.flush(readiness, thread, progress)
    }

    /// Closes our half once everything is sent.
    fn close_output(&mut self) -> Result<(), Step> {
        self.transport.shutdown_write().map_err(failed)?;
        self.flags.insert(Flags::OUTPUT_CLOSED);
        if self.flags.contains(Flags::PEER_FINISHED) {
            return Err(Step::Done(CloseReason::PeerClosed));
        }
        Ok(())
    }

    /// Calls the protocol and applies its answer.
    pub(super) fn call(
        &mut self,
        token: Token,
        thread: &mut ThreadState<P>,
        callback: impl FnOnce(&mut P, &mut Context<'_, P::Local, P::Message>) -> Flow,
    ) -> Result<(), Step> {
        let mut changes = Changes::default();
        let pending = self.pending();
        let output_before = thread.output.len();
        let mut context = Context {
            local: &mut thread.local,
            output: &mut thread.output,
            turn: &mut thread.turn,
            changes: &mut changes,
            token,
            pending,
            is_transformed: false,
        };
        let flow = callback(&mut self.protocol, &mut context);
        let has_written = thread.output.len() > output_before;
        self.apply(flow, changes, has_written)
    }

    /// Applies the answer of a callback.
    pub(super) fn apply(
        &mut self,
        flow: Flow,
        changes: Changes,
        has_written: bool,
    ) -> Result<(), Step> {
        if has_written && self.flags.intersects(Flags::ENDS_OUTPUT | Flags::OUTPUT_CLOSED) {
            return Err(Step::Done(CloseReason::Misuse(Misuse::WroteAfterEnd)));
        }
        if let Some(deadline) = changes.deadline {
            self.set_deadline(deadline);
        }
        if changes.ends_output {
            self.flags.insert(Flags::ENDS_OUTPUT);
        }
        match flow {
            Flow::Keep => {}
            Flow::Read => self.end_pause(),
            Flow::Pause => self.pause(),
            Flow::Produce => self.flags.insert(Flags::WRITTEN_DUE),
            Flow::Finish => self.flags.insert(Flags::FINISHING),
            Flow::Abort => return Err(Step::Done(CloseReason::Aborted)),
        }
        Ok(())
    }

    fn set_deadline(&mut self, deadline: Option<epoll_reactor::epoll_sys::Timestamp>) {
        if deadline.is_none() && self.cold.is_none() {
            return;
        }
        self.cold_mut().set_deadline(deadline);
    }

    pub(super) fn on_close(
        &mut self,
        reason: CloseReason,
        token: Token,
        thread: &mut ThreadState<P>,
    ) {
        // First of all: the callback may panic.
        self.resume_senders(thread);
        let _ = self.call(token, thread, |protocol, context| {
            protocol.on_close(reason, context);
            Flow::Keep
        });
        thread.clear_output();
    }

    /// Returns the reason for the end of a connection whose peer has closed its half after ours.
    pub(super) fn reason_after_lingering(&self) -> CloseReason {
        if self.flags.contains(Flags::DRAINED) {
            CloseReason::Drained
        } else {
            CloseReason::Finished
        }
    }

    pub(super) fn registered(&self) -> Registered {
        (self.interest(), self.awaits())
    }

    /// Returns whether the owner has to look at the connection. What messages have changed is forgotten:
    /// the owner is told by this answer, whichever it is.
    pub(super) fn has_changed(&mut self, before: Registered) -> bool {
        let has_changed = self
            .cold
            .as_mut()
            .is_some_and(|cold| std::mem::take(&mut cold.has_changed) || cold.is_timer_late);
        has_changed || self.registered() != before
    }

    pub(super) fn note_read(&mut self, len: usize, room: usize, readiness: Readiness) {
        let is_dry = len < room && self.is_all_bytes(readiness);
        self.flags.set(Flags::READABLE, !is_dry);
    }

    /// Returns whether neither `readiness` nor what was reported during a pause announces more than bytes.
    pub(super) fn is_all_bytes(&self, readiness: Readiness) -> bool {
        is_all_bytes(readiness) && self.cold.as_ref().is_none_or(|cold| !cold.is_end_announced)
    }
}

impl Progress {
    /// Returns whether the step has moved enough.
    pub(super) fn is_over<P: Protocol>(self, thread: &ThreadState<P>) -> bool {
        self.read.max(self.written) >= thread.limits().step_bytes_max.max(1)
            || self.rounds > ROUNDS_MAX
    }
}

impl Consumed {
    /// Returns whether reading goes on.
    #[inline]
    pub(super) fn continues(self) -> bool {
        matches!(self.flow, Flow::Keep | Flow::Read)
    }
}
