//! Splicing: long streams to a protocol that passes or forwards everything go through a pipe, and do not come
//! into the process. Invariant: a pipe in its slot is empty, or holds the bytes of the thread's [`Forward`],
//! so no byte reaches a connection that it is not for.
//!
//! Kernel facts: (a) a splice that brings nothing does not say why, a read does; (b) one that stops
//! short has not always filled the socket, and only a socket that was filled is reported when it has
//! room again; a send that stops short has filled it; (c) a pipe holds a number of pieces, whatever their
//! length: if they are small it holds few bytes, and a read takes fewer calls than a splice.

use super::forward::Progress;
use super::output::taken;
use super::{Connection, Flags, failed};
use crate::{Forward, Limits, Link, Protocol, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};
use std::io::{self, Read};
use std::num::NonZeroUsize;

/// The number of short splices that a step may make: the last one of a message is short.
const SHORT_SPLICES_MAX: u32 = 2;

/// The flags that are about output alone.
const OUTPUT_FLAGS: Flags =
    Flags::BLOCKED.union(Flags::WRITTEN_DUE).union(Flags::ENDS_OUTPUT).union(Flags::OUTPUT_CLOSED);

/// Returns the number of bytes from which on a splice is cheaper than a read.
fn splice_threshold(limits: &Limits) -> usize {
    limits.splice_bytes_max.map_or(usize::MAX, |len| len.get().div_ceil(4))
}

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Returns whether to splice next, instead of a read.
    pub(super) fn may_stream(
        &self,
        readiness: Readiness,
        thread: &ThreadState<P>,
        progress: &Progress,
    ) -> bool {
        let forwards = self.forwards_to(thread).is_some();
        // A protocol that forwards everything reads whatever its output waits for.
        let usual = Flags::READABLE | Flags::STREAMING;
        let usual = if forwards { usual | OUTPUT_FLAGS } else { usual };
        let limits = thread.limits();
        if !usual.contains(self.flags) || limits.splice_bytes_max.is_none() {
            return false;
        }
        if self.per_s().is_some() {
            return false;
        }
        let len = progress.last_read;
        let is_much = len == thread.input.len() && len >= splice_threshold(thread.limits());
        let is_going_on =
            self.flags.contains(Flags::STREAMING) && len == 0 && self.is_all_bytes(readiness);
        (is_much || is_going_on) && (forwards || self.protocol.passes_everything(&thread.local))
    }

    /// Goes on after a [`Step::Splice`] for the same `readiness`: bytes go through the pipe in `slot`. Never
    /// answers another `Splice`. Afterwards the pipe is empty, unless the answer is [`Step::Forward`]: then it
    /// holds the bytes to forward, and belongs to [`receive_forward`](Self::receive_forward).
    ///
    /// The slot is left without a pipe if the transport cannot be spliced, or if bytes that did not fit the
    /// transport could not be read out of the pipe. Without a pipe each `Splice` is a read, which copies; an
    /// owner that cannot have a pipe does better to set
    /// [`splice_bytes_max`](Limits::splice_bytes_max) to `None`.
    pub fn splice(
        &mut self,
        readiness: Readiness,
        slot: &mut Option<T::Pipe>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let before = self.registered();
        let step = match self.forwards_to(thread) {
            Some(link) => self.fill_for(link, slot, token, thread),
            None => self.stream(readiness, slot, thread),
        };
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
                // If it may not be dry, a read finds out.
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

    /// Fills the pipe once with bytes to forward. The receiver empties it.
    fn fill_for(
        &mut self,
        link: Link,
        slot: &mut Option<T::Pipe>,
        token: Token,
        thread: &mut ThreadState<P>,
    ) -> Step {
        let limits = thread.limits();
        let len_max = limits.splice_bytes_max.map_or(0, NonZeroUsize::get);
        let len = match self.fill(slot, len_max) {
            Ok(Some((pipe, len))) => {
                *slot = Some(pipe);
                len
            }
            Ok(None) => 0,
            Err(step) => return step,
        };
        if len < splice_threshold(limits) {
            self.flags.remove(Flags::STREAMING);
        }
        if len == 0 {
            // A read finds out why.
            self.flags.insert(Flags::READABLE);
            return Step::Yield;
        }
        thread.forward = Some(Forward::piped(token, link.0, len));
        Step::Forward
    }

    /// Splices once, back to the peer. Returns zero if nothing can be spliced now.
    fn splice_once(&mut self, slot: &mut Option<T::Pipe>, len_max: usize) -> Result<usize, Step> {
        let Some((pipe, len)) = self.fill(slot, len_max)? else { return Ok(0) };
        self.send_pipe(pipe, len, slot)?;
        Ok(len)
    }

    /// Takes the pipe out of its slot and fills it. `None` if nothing can be spliced now: then the pipe is back
    /// in its slot, empty, unless the transport can never be spliced.
    fn fill(
        &mut self,
        slot: &mut Option<T::Pipe>,
        len_max: usize,
    ) -> Result<Option<(T::Pipe, usize)>, Step> {
        let Some(mut pipe) = slot.take() else { return Ok(None) };
        match self.transport.fill(&mut pipe, len_max) {
            Ok(0) => *slot = Some(pipe),
            Ok(len) => {
                self.received += len as u64;
                return Ok(Some((pipe, len)));
            }
            Err(error) if is_permanent(&error) => {}
            Err(error) => {
                *slot = Some(pipe);
                match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::Interrupted => return Err(Step::Yield),
                    _ => return Err(failed(error)),
                }
            }
        }
        Ok(None)
    }

    /// Sends the `len` bytes that `pipe` holds, and puts it into its slot. What does not fit the transport
    /// is kept.
    pub(super) fn send_pipe(
        &mut self,
        mut pipe: T::Pipe,
        len: usize,
        slot: &mut Option<T::Pipe>,
    ) -> Result<(), Step> {
        let drained = self.transport.drain(&mut pipe, len);
        let sent = taken(drained, || self.transport.drain(&mut pipe, len));
        let mut rest = vec![0; len - *sent.as_ref().unwrap_or(&0)];
        if !rest.is_empty() {
            pipe.read_exact(&mut rest).map_err(failed)?;
        }
        *slot = Some(pipe);
        self.sent += sent.map_err(failed)? as u64;
        if rest.is_empty() {
            return Ok(());
        }
        // Only a send that stops short has filled the socket.
        let write = self.transport.write(&rest);
        self.written(write, &rest, &mut Progress::default())
    }
}

/// Returns whether the transport can never be spliced.
fn is_permanent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied)
}
