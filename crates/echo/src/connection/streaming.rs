//! What a connection does while much is sent to it: bytes go through a pipe and not through the process.
//! Invariant: a pipe that is left in its slot is empty, so no byte of a connection reaches another.
//!
//! Kernel fact: a splice that brings nothing does not say why; a read does.

use super::{Connection, Phase, failed, is_all_bytes, taken};
use crate::{Rules, Step, Transport};
use epoll_reactor::Readiness;
use epoll_reactor::epoll_sys::Timestamp;
use std::io::{self, Read};
use std::num::NonZeroUsize;

/// How many bytes at once are worth a pipe.
pub(super) fn much(rules: &Rules) -> usize {
    rules.splice_bytes_max.map_or(usize::MAX, |len| len.get().div_ceil(4))
}

impl<T: Transport> Connection<T> {
    /// Moves the conversation on after a [`Step::Splice`] for the same `readiness`: bytes go through the pipe
    /// in `slot`, which is empty again afterwards. The answer is that of a [`step`](Self::step), and
    /// never another `Splice`.
    ///
    /// Without a pipe in it the bytes are copied, as if the rules allowed nothing else. If what did not fit
    /// the transport cannot be had back from the pipe, that is dropped and the slot left without one.
    pub fn splice(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        slot: &mut Option<T::Pipe>,
        now: Timestamp,
    ) -> Step {
        if self.phase != Phase::Streaming || !self.rest.is_empty() {
            return Step::Yield;
        }
        let step = self.stream(readiness, rules, slot, now);
        self.go_on(step, now)
    }

    /// Splices until the transport is dry or takes no more, or the step has moved enough.
    fn stream(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        slot: &mut Option<T::Pipe>,
        now: Timestamp,
    ) -> Step {
        let len_max = rules.splice_bytes_max.map_or(0, NonZeroUsize::get);
        let mut moved = 0;
        while moved < rules.step_bytes_max.max(1) {
            match self.splice_once(slot, len_max, now) {
                Ok(0) => {
                    let is_dry = moved > 0 && is_all_bytes(readiness);
                    if !is_dry || moved < much(rules) {
                        self.phase = Phase::Attentive;
                    }
                    // If it may not be dry a read is to tell.
                    return if is_dry { Step::Wait } else { Step::Yield };
                }
                Ok(len) => moved += len,
                Err(step) => return step,
            }
        }
        Step::Yield
    }

    /// Echoes through the pipe; zero if nothing comes that way.
    fn splice_once(
        &mut self,
        slot: &mut Option<T::Pipe>,
        len_max: usize,
        now: Timestamp,
    ) -> Result<usize, Step> {
        // It comes back empty or not at all: what it holds must never reach another connection.
        let Some(mut pipe) = slot.take() else { return Ok(0) };
        let transport = &mut self.transport;
        let filled = transport.fill(&mut pipe, len_max);
        let len = *filled.as_ref().unwrap_or(&0);
        let mut sent = Ok(0);
        if len > 0 {
            self.received += len as u64;
            self.since = now;
            let drained = transport.drain(&mut pipe, len);
            sent = taken(drained, || transport.drain(&mut pipe, len));
        }
        let left = len - *sent.as_ref().unwrap_or(&0);
        if left > 0 {
            self.rest = vec![0; left].into();
            self.rest_at = 0;
            pipe.read_exact(&mut self.rest).map_err(failed)?;
        }
        *slot = Some(pipe);
        match (filled, sent) {
            (Err(error), _) if needs_a_read(&error) => Ok(0),
            (Err(error), _) => Err(self.nothing_read(Err(error))),
            (_, Err(error)) => Err(failed(error)),
            _ if left > 0 => Err(Step::Wait),
            _ => Ok(len),
        }
    }
}

/// Whether a read is to tell what a splice that failed could not.
fn needs_a_read(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported, WouldBlock};
    matches!(error.kind(), WouldBlock | InvalidInput | Unsupported | PermissionDenied)
}
