//! Sending. Invariant: what was written goes out in order, whatever a write takes of it.

use super::forward::Progress;
use super::{Connection, Flags, failed};
use crate::{Protocol, Request, Step, ThreadState, Transport};
use epoll_reactor::{Readiness, Token};
use std::io;

impl<P: Protocol, T: Transport> Connection<P, T> {
    /// Sends what waits and what was written in this step, or keeps it until there is room.
    #[inline(always)]
    pub(super) fn flush(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        if self.pending() > 0 {
            self.flush_pending(readiness, thread, progress)
        } else if thread.output.is_empty() {
            Ok(())
        } else {
            self.flush_new(thread, progress)
        }
    }

    /// Sends what was written in this step.
    fn flush_new(
        &mut self,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let write = self.transport.write(&thread.output);
        let output = std::mem::take(&mut thread.output);
        let written = self.written(write, &output, progress);
        thread.output = output;
        thread.clear_output();
        written
    }

    fn flush_pending(
        &mut self,
        readiness: Readiness,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let was_blocked = self.flags.contains(Flags::BLOCKED);
        let can_write = readiness.may_write() || !was_blocked;
        let cold = self.cold.get_or_insert_default();
        cold.append_output(&thread.output);
        thread.clear_output();
        if !can_write {
            return Err(Step::Wait);
        }
        let write = self.transport.write(cold.output());
        let written = taken(write, || self.transport.write(cold.output())).map_err(failed)?;
        cold.sent(written);
        let is_blocked = cold.pending() > 0;
        self.sent += written as u64;
        progress.written += written;
        self.flags.set(Flags::BLOCKED, is_blocked);
        if is_blocked {
            self.flags.insert(Flags::WRITTEN_DUE);
            return Err(Step::Wait);
        }
        self.resume_senders(thread);
        if was_blocked {
            // What arrived while nothing was read may not be reported again: look.
            self.flags.insert(Flags::READABLE);
        }
        Ok(())
    }

    /// Leaves what was written to the end of the turn.
    pub(super) fn put_off(&mut self, token: Token, thread: &mut ThreadState<P>) {
        self.cold_mut().append_output(&thread.output);
        thread.clear_output();
        self.flags.insert(Flags::UNSETTLED);
        thread.turn.requests.push(Request::Settle(token));
    }

    /// Notes the outcome of a write of `output`, and keeps what it did not take.
    pub(super) fn written(
        &mut self,
        write: io::Result<usize>,
        output: &[u8],
        progress: &mut Progress,
    ) -> Result<(), Step> {
        let written = taken(write, || self.transport.write(output)).map_err(failed)?;
        self.sent += written as u64;
        progress.written += written;
        if written == output.len() {
            return Ok(());
        }
        self.cold_mut().append_output(&output[written..]);
        self.flags.insert(Flags::BLOCKED | Flags::WRITTEN_DUE);
        Err(Step::Wait)
    }

    /// Sends input as output, after what was written. It is not copied, unless more output may follow.
    pub(super) fn pass(
        &mut self,
        passed: &[u8],
        is_last: bool,
        thread: &mut ThreadState<P>,
        progress: &mut Progress,
    ) -> Result<(), Step> {
        if passed.is_empty() {
            return Ok(());
        }
        if !is_last || !thread.output.is_empty() || self.pending() > 0 {
            thread.output.extend_from_slice(passed);
            return Ok(());
        }
        let write = self.transport.write(passed);
        self.written(write, passed, progress)
    }
}

/// Returns how many bytes a write took. A write that a signal interrupted is made `again`.
pub(super) fn taken(
    mut write: io::Result<usize>,
    mut again: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match write {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            done => return done,
        }
        write = again();
    }
}
