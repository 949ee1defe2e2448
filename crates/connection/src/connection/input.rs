//! Reading, and showing the protocol what was read. Invariant: between two steps the thread has its buffer,
//! unless a [`Forward`](crate::Forward) holds it or a callback has panicked.

use super::forward::Progress;
use super::{Connection, Flags, failed};
use crate::context::Changes;
use crate::{
    CloseReason, Consumed, Context, Flow, Link, Misuse, Protocol, Step, ThreadState, Transport,
};
use epoll_reactor::{Readiness, Token};
use std::io;
use std::ops::Range;

/// The progress of a protocol with its input.
struct Received {
    /// The number of bytes that it has consumed.
    consumed: usize,
    /// The length that the rest has to have before it is shown again.
    need: usize,
    /// The rest is to be shown as soon as nothing forbids it.
    is_fresh: bool,
    /// The connection that bytes are forwarded to, and where in the input they are.
    forward: Option<(Token, Range<usize>)>,
    /// The end of the step, if it has come.
    outcome: Result<(), Step>,
}

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Reads once and shows the protocol what there is.
    pub(super) fn read(
        &mut self,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        // A `Forward` may hold the thread's buffer: a read into none would look like the end of the stream.
        debug_assert!(thread.forward.is_none(), "a step before bytes are forwarded");
        let room = thread.input.len();
        let kept = self.kept();
        let need = self.cold.as_ref().map_or(0, |cold| cold.need());
        if kept >= room || need > room {
            return self.read_long(need, readiness, token, thread, progress);
        }
        // Behind the place of the kept input: a message that was split is shown in one piece.
        let read = self.transport.read(&mut thread.input[kept..]);
        let len = match checked(read, room - kept) {
            Ok(len) if len > 0 => len,
            other => return self.nothing_read(other, token, thread),
        };
        self.count_read(len, room - kept, readiness, progress);
        self.charge(len, thread);
        if kept + len < need {
            // Only what is new is copied, or a message in many pieces would be copied for each of them.
            self.cold_mut().append_input(&thread.input[kept..kept + len], need);
            self.flags.insert(Flags::KEPT);
            return Ok(());
        }
        if let Some(cold) = &self.cold {
            thread.input[..kept].copy_from_slice(cold.input());
        }
        self.drop_kept();
        self.receive_read(kept + len, None, token, thread, progress)
    }

    /// Reads once into a buffer of the connection, which grows up to the length that the protocol has asked for.
    /// A thread with a shorter buffer than the one before gets by without: one byte more is room enough.
    fn read_long(
        &mut self,
        need: usize,
        readiness: Readiness,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let cold = self.cold.get_or_insert_default();
        let kept = cold.input().len();
        if cold.room().is_empty() {
            // It grows with what has come: a length that is only announced takes nothing from others.
            let len_max = (4 * kept).max(kept + thread.input.len());
            cold.grow_input(need.min(len_max).max(kept + 1));
        }
        let room = cold.room();
        let room_len = room.len();
        let len = match checked(self.transport.read(room), room_len) {
            Ok(len) if len > 0 => len,
            other => return self.nothing_read(other, token, thread),
        };
        cold.filled(len);
        let kept = cold.input().len();
        self.flags.insert(Flags::KEPT);
        self.count_read(len, room_len, readiness, progress);
        self.charge(len, thread);
        if kept >= need {
            self.flags.insert(Flags::FRESH);
        }
        Ok(())
    }

    fn count_read(
        &mut self,
        len: usize,
        room: usize,
        readiness: Readiness,
        progress: &mut Progress,
    ) {
        self.received += len as u64;
        progress.read += len;
        progress.last_read = len;
        self.note_read(len, room, readiness);
    }

    /// Handles a read that brought no bytes: the end of the stream, nothing for now, or an error.
    pub(super) fn nothing_read(
        &mut self,
        read: io::Result<usize>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Result<(), Step> {
        match read {
            Ok(_) => {
                self.flags.remove(Flags::READABLE);
                self.flags.insert(Flags::PEER_FINISHED);
                let kept = self.take_kept();
                let rest = kept.as_ref().map_or(&[][..], |(input, at, end)| &input[*at..*end]);
                self.call(token, thread, |protocol, context| {
                    protocol.on_peer_finished(rest, context)
                })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.flags.remove(Flags::READABLE);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Step::Yield),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads once, after our half is closed, and discards what the read brings.
    pub(super) fn discard(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        match checked(self.transport.read(&mut thread.input), thread.input.len()) {
            Ok(0) => Err(Step::Done(self.reason_after_lingering())),
            Ok(len) => {
                progress.read += len;
                self.note_read(len, thread.input.len(), readiness);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.flags.remove(Flags::READABLE);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Step::Yield),
            Err(error) => Err(failed(error)),
        }
    }

    /// Shows the protocol the first `len` bytes of the thread's buffer; of these it has answered `first`
    /// already, if that is given.
    pub(super) fn receive_read(
        &mut self,
        len: usize,
        first: Option<(Consumed, Changes)>,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let mut input = std::mem::take(&mut thread.input);
        let mut received = self.receive(&mut input[..len], first, token, thread, progress);
        let rest = &input[received.consumed.min(len)..len];
        if !rest.is_empty() && !self.is_finishing() {
            self.cold_mut().keep(rest);
            self.flags.insert(Flags::KEPT);
        }
        match received.forward.take() {
            Some((to, range)) => self.set_forward(to, input, range, true, token, thread),
            None => thread.input = input,
        }
        self.after_receiving(&received, token, thread)
    }

    /// Shows the protocol the input that is kept.
    pub(super) fn receive_kept(
        &mut self,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let Some((mut input, at, end)) = self.take_kept() else { return Ok(()) };
        let mut received = self.receive(&mut input[at..end], None, token, thread, progress);
        let rest = end.min(at + received.consumed);
        let is_kept = rest < end && !self.is_finishing();
        self.flags.set(Flags::KEPT, is_kept);
        if let Some((to, range)) = received.forward.take() {
            if is_kept {
                self.cold_mut().keep(&input[rest..end]);
            }
            let range = at + range.start..at + range.end;
            self.set_forward(to, input, range, false, token, thread);
        } else if is_kept {
            self.cold_mut().keep_from(input, rest, end);
        }
        self.after_receiving(&received, token, thread)
    }

    /// Notes what the rest of the input waits for, and bounds it.
    fn after_receiving(
        &mut self,
        received: &Received,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Result<(), Step> {
        let Received { need, is_fresh, outcome, .. } = *received;
        let forwards = outcome == Err(Step::Forward);
        let is_over = !matches!(outcome, Ok(()) | Err(Step::Wait)) && !forwards;
        if need > 0 {
            // Nothing may be kept: the message begins with what arrives next.
            self.flags.insert(Flags::KEPT);
        }
        if let Some(cold) = &mut self.cold {
            cold.set_need(need);
        } else if need > 0 {
            self.cold_mut().set_need(need);
        }
        self.flags.set(Flags::FRESH, is_fresh && self.flags.contains(Flags::KEPT));
        // The thread's buffer is with what is forwarded.
        let has_room = need > self.kept() || self.kept() < thread.input.len() || forwards;
        let fits = has_room && need <= thread.limits().input_max;
        if is_over || self.is_finishing() || is_fresh || fits {
            return outcome;
        }
        // Even while output waits: the buffer would be made as soon as it is sent.
        self.call(token, thread, |protocol, context| match protocol.on_overflow(context) {
            Flow::Finish => Flow::Finish,
            _ => Flow::Abort,
        })
        .map_err(|step| match step {
            Step::Done(CloseReason::Aborted) => Step::Done(CloseReason::InputTooLong),
            step => step,
        })
    }

    /// Shows the protocol `input`, message by message.
    fn receive(
        &mut self,
        input: &mut [u8],
        mut first: Option<(Consumed, Changes)>,
        token: Token,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Received {
        let mut received =
            Received { consumed: 0, need: 0, is_fresh: false, forward: None, outcome: Ok(()) };
        while received.consumed < input.len() {
            let shown = &mut input[received.consumed..];
            let shown_len = shown.len();
            // What a first answer was given for has been written already.
            let output_before = if first.is_some() { 0 } else { thread.output.len() };
            let (consumed, changes) =
                first.take().unwrap_or_else(|| self.show(shown, token, thread));
            if consumed.bytes > shown_len || consumed.passed > consumed.bytes {
                received.outcome = Err(Step::Done(CloseReason::Misuse(Misuse::ConsumedTooMuch)));
                break;
            }
            let is_answer = consumed.to.is_none();
            let has_written =
                thread.output.len() > output_before || (is_answer && consumed.passed > 0);
            let at = received.consumed;
            received.consumed += consumed.bytes;
            received.need = consumed.need;
            let applied = self.apply(consumed.flow, changes, has_written);
            let is_last = consumed.bytes == shown_len || !consumed.continues();
            let passed = &shown[..consumed.passed];
            received.outcome = applied.and_then(|()| match consumed.to {
                Some(Link(to)) if !passed.is_empty() => {
                    received.forward = Some((to, at..at + passed.len()));
                    Err(Step::Forward)
                }
                _ => self.pass(passed, is_last, thread, progress),
            });
            let rest = shown_len - consumed.bytes;
            let stops = Flags::FINISHING | Flags::PAUSED | Flags::WRITTEN_DUE;
            if received.outcome.is_err() || self.flags.intersects(stops) {
                received.is_fresh = rest > 0 && consumed.need <= rest;
                break;
            }
            if consumed.bytes == 0 || consumed.need > rest {
                break;
            }
            if thread.output.len() >= thread.limits().output_max {
                // The loop sends it, and comes back if it was taken and the budget allows it.
                received.is_fresh = rest > 0;
                break;
            }
        }
        received
    }

    /// Shows the protocol `input` once.
    fn show(
        &mut self,
        input: &mut [u8],
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> (Consumed, Changes) {
        let mut changes = Changes::default();
        if self.protocol.passes_everything(&thread.local) {
            return (Consumed::pass(input.len()), changes);
        }
        if let Some(link) = self.forwards_to(thread) {
            return (Consumed::forward(input.len(), link), changes);
        }
        let mut context = Context {
            local: &mut thread.local,
            output: &mut thread.output,
            turn: &mut thread.turn,
            changes: &mut changes,
            token,
            pending: 0,
            is_transformed: false,
        };
        (self.protocol.on_input(input, &mut context), changes)
    }

    fn take_kept(&mut self) -> Option<(Box<[u8]>, usize, usize)> {
        self.flags.remove(Flags::KEPT | Flags::FRESH);
        self.cold.as_mut().map(|cold| cold.take_input())
    }

    pub(super) fn drop_kept(&mut self) {
        drop(self.take_kept());
    }
}

/// Refuses the outcome of a read that says it has read more than there was `room` for.
fn checked(read: io::Result<usize>, room: usize) -> io::Result<usize> {
    match read {
        Ok(len) if len > room => Err(io::ErrorKind::InvalidData.into()),
        read => read,
    }
}
