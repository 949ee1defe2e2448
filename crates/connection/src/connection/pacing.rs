//! The number of bytes that a connection may receive a second. Reads are not cut short for it: one that brings more
//! than is allowed is followed by a pause, until it is paid for.
//!
//! Invariant: with such a limit a connection is never at rest, so every read is one that counts.

use super::{Connection, Flags};
use crate::{Protocol, ThreadState, Transport};

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Notes that `bytes` were received.
    pub(super) fn charge(&mut self, bytes: usize, thread: &mut ThreadState<P>) {
        if let Some(per_s) = thread.limits().bytes_per_s_max {
            let now = thread.turn.now();
            self.cold_mut().allowance_mut().take(bytes as u64, per_s, now);
        }
    }

    /// Pauses if more was received than is paid for. Returns whether it does.
    pub(super) fn begin_pace(&mut self, thread: &mut ThreadState<P>) -> bool {
        if thread.limits().bytes_per_s_max.is_none() {
            return false;
        }
        let Some(cold) = &mut self.cold else { return false };
        if cold.allowance().paid_at() <= thread.turn.now() {
            return false;
        }
        cold.begin_pace();
        // It was about to read, so there may be more: it would be reported.
        self.flags.insert(Flags::PAUSED | Flags::SILENCED);
        true
    }

    /// Ends such a pause if everything is paid for. Returns whether input may be read and shown.
    pub(super) fn end_pace(&mut self, thread: &mut ThreadState<P>) -> bool {
        let Some(cold) = self.cold.as_mut().filter(|cold| cold.is_paced) else { return false };
        if cold.allowance().paid_at() > thread.turn.now() {
            return false;
        }
        cold.is_paced = false;
        if std::mem::take(&mut cold.is_paused_by_protocol) {
            return false;
        }
        self.flags.remove(Flags::PAUSED | Flags::SILENCED);
        true
    }

    /// Sees to it that the next step is not the usual one, which counts nothing.
    pub(super) fn stay_paced(&mut self, thread: &ThreadState<P>) {
        if thread.limits().bytes_per_s_max.is_some() {
            self.flags.insert(Flags::READABLE);
        }
    }
}
