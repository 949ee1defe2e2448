//! What a connection does while much is sent to a protocol that passes everything: bytes go through a
//! pipe, not through the process. Invariant: a pipe that is left in its slot is empty, so no byte of a
//! connection reaches another.
//!
//! Kernel facts: (a) a splice that brings nothing does not say why, a read does; (b) one that stops
//! short has not always filled the socket, and only a socket that was filled is reported when it has
//! room again; a send that stops short has filled it; (c) a pipe holds a number of pieces: of small
//! ones it takes few bytes, so that many small messages are read with fewer calls than spliced.

use super::advance::Progress;
use super::output::taken;
use super::{Connection, Flags, failed};
use crate::{Limits, Protocol, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};
use std::io::{self, Read};
use std::num::NonZeroUsize;

/// The number of splices of a step that may be short: the last one of a message is.
const SHORT_SPLICES_MAX: u32 = 2;

/// Returns how many bytes at once are worth a pipe.
fn splice_threshold(limits: &Limits) -> usize {
    limits.splice_bytes_max.map_or(usize::MAX, |len| len.get().div_ceil(4))
}

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Returns whether what comes next should be spliced.
    pub(super) fn may_stream(
        &self,
        readiness: Readiness,
        thread: &ThreadState<P>,
        progress: &Progress,
    ) -> bool {
        let others = self.flags - Flags::READABLE - Flags::STREAMING;
        if !others.is_empty() || thread.limits().splice_bytes_max.is_none() {
            return false;
        }
        let len = progress.last_read;
        let is_much = len == thread.input.len() && len >= splice_threshold(thread.limits());
        let is_going_on =
            self.flags.contains(Flags::STREAMING) && len == 0 && self.is_all_bytes(readiness);
        (is_much || is_going_on) && self.protocol.passes_everything(&thread.local)
    }

    /// Goes on after a [`Step::Splice`] for the same `readiness`: bytes go through the pipe in `slot`,
    /// which is empty again afterwards. Never answers another `Splice`.
    ///
    /// The slot is left without a pipe if the transport cannot be spliced, or if what did not fit it
    /// cannot be had back from the pipe. Without one bytes are copied, one read for each `Splice`;
    /// limits that do not allow it are better then.
    pub fn splice(
        &mut self,
        readiness: Readiness,
        slot: &mut Option<T::Pipe>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let before = (self.interest(), self.awaits());
        let step = self.stream(readiness, slot, thread);
        match self.resume(Err(step), before, readiness, token, thread, Progress::default()) {
            // The step that asked for it may have changed something.
            Step::Wait => Step::Changed,
            step => step,
        }
    }

    /// Splices until the transport is dry or takes no more, or the step has moved enough.
    fn stream(
        &mut self,
        readiness: Readiness,
        slot: &mut Option<T::Pipe>,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let limits = thread.limits();
        let len_max = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
        let (mut moved, mut short) = (0, 0);
        while moved < limits.step_bytes_max.max(1) {
            let len = match self.splice_once(slot, len_max) {
                Ok(len) => len,
                Err(step) => return step,
            };
            if len == 0 {
                let is_dry = moved > 0 && self.is_all_bytes(readiness);
                if !is_dry || moved < splice_threshold(limits) {
                    self.flags.remove(Flags::STREAMING);
                }
                // If it may not be dry a read is to tell.
                self.flags.set(Flags::READABLE, !is_dry);
                return if is_dry { Step::Wait } else { Step::Yield };
            }
            moved += len;
            if len < splice_threshold(limits) {
                short += 1;
                if short > SHORT_SPLICES_MAX {
                    self.flags.remove(Flags::STREAMING);
                    return Step::Yield;
                }
            }
        }
        Step::Yield
    }

    /// Splices once, back to the peer; zero if nothing comes that way.
    fn splice_once(&mut self, slot: &mut Option<T::Pipe>, len_max: usize) -> Result<usize, Step> {
        // It comes back empty or not at all: what it holds must never reach another connection.
        let Some(mut pipe) = slot.take() else { return Ok(0) };
        let transport = &mut self.transport;
        let len = match transport.fill(&mut pipe, len_max) {
            Ok(len) => len,
            Err(error) if is_for_ever(&error) => return Ok(0),
            Err(error) => {
                *slot = Some(pipe);
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(0),
                    io::ErrorKind::Interrupted => Err(Step::Yield),
                    _ => Err(failed(error)),
                };
            }
        };
        if len == 0 {
            *slot = Some(pipe);
            return Ok(0);
        }
        self.received += len as u64;
        let drained = transport.drain(&mut pipe, len);
        let sent = taken(drained, || transport.drain(&mut pipe, len));
        let left = len - *sent.as_ref().unwrap_or(&0);
        let mut rest = vec![0; left];
        if left > 0 {
            pipe.read_exact(&mut rest).map_err(failed)?;
        }
        *slot = Some(pipe);
        self.sent += sent.map_err(failed)? as u64;
        if left > 0 {
            // Only a send that stops short has filled the socket.
            let write = self.transport.write(&rest);
            self.written(write, &rest, &mut Progress::default())?;
        }
        Ok(len)
    }
}

/// Returns whether the transport can never be spliced.
fn is_for_ever(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied)
}
