//! What a connection does while much is sent to it: bytes go through a pipe, not through the process.
//! Invariant: a pipe that is left in its slot is empty, so no byte of a connection reaches another.
//!
//! Kernel facts: (a) a splice that brings nothing does not say why, a read does; (b) one that stops
//! short has not always filled the socket, and only a socket that was filled is reported when it has
//! room again; a send that stops short has filled it; (c) a pipe holds a number of pieces: of small
//! ones it takes few bytes, so that many small messages are read with fewer calls than spliced.

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
    /// Moves the conversation on after a [`Step::Splice`] for the same `readiness`: bytes go through
    /// the pipe in `slot`, which is empty again afterwards. The answer is that of a
    /// [`step`](Self::step), and never another `Splice`.
    ///
    /// The slot is left without a pipe if the transport cannot be spliced, or if what did not fit it
    /// cannot be had back from the pipe. Without one bytes are copied, one read for each `Splice`;
    /// rules that do not allow it are better then.
    pub fn splice(
        &mut self,
        readiness: Readiness,
        rules: &Rules,
        slot: &mut Option<T::Pipe>,
        now: Timestamp,
    ) -> Step {
        if self.phase != Phase::Streaming || !self.rest.is_empty() {
            debug_assert!(false, "a splice that was not asked for");
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
        let (mut moved, mut little) = (0, 0);
        while moved < rules.step_bytes_max.max(1) {
            let len = match self.splice_once(slot, len_max, now) {
                Ok(len) => len,
                Err(step) => return step,
            };
            if len == 0 {
                let is_dry = moved > 0 && is_all_bytes(readiness);
                if !is_dry || moved < much(rules) {
                    self.phase = Phase::Attentive;
                }
                // If it may not be dry a read is to tell.
                return if is_dry { Step::Wait } else { Step::Yield };
            }
            moved += len;
            if len < much(rules) {
                little += 1;
                if little > LITTLE_MAX {
                    self.phase = Phase::Attentive;
                    return Step::Yield;
                }
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
        let len = match transport.fill(&mut pipe, len_max) {
            Ok(len) => len,
            Err(error) if is_for_ever(&error) => return Ok(0),
            Err(error) => {
                *slot = Some(pipe);
                let is_nothing = error.kind() == io::ErrorKind::WouldBlock;
                return if is_nothing { Ok(0) } else { Err(self.nothing_read(Err(error))) };
            }
        };
        if len == 0 {
            *slot = Some(pipe);
            return Ok(0);
        }
        self.received += len as u64;
        self.since = now;
        let drained = transport.drain(&mut pipe, len);
        let sent = taken(drained, || transport.drain(&mut pipe, len));
        let left = len - *sent.as_ref().unwrap_or(&0);
        if left > 0 {
            self.rest = vec![0; left].into();
            self.rest_at = 0;
            pipe.read_exact(&mut self.rest).map_err(failed)?;
        }
        *slot = Some(pipe);
        sent.map_err(failed)?;
        if left > 0 {
            self.write_rest(Readiness::OUT, now)?;
        }
        Ok(len)
    }
}

/// How many splices of a step may bring little: the last one of a message does.
const LITTLE_MAX: u32 = 2;

/// Whether the transport can never be spliced.
fn is_for_ever(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported | PermissionDenied)
}
