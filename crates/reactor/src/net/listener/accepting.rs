//! The outcome of each attempt to accept: a connection is handed out, skipped or shed, or the listener
//! pauses or ends.

use super::Listener;
use crate::log::{trace, warning};
use crate::net::verdict::Verdict;
use crate::net::{Accepted, BatchEnd, Stream};
use epoll_sys::socket::{self, Family};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The first pause; each that follows is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Listener {
    pub(super) fn resume(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        if let Err(error) = gate.resume(&self.socket) {
            // The kernel has no memory for the registration, so the pause goes on.
            self.pause(&error);
        }
    }

    /// Accepts the next connection, unless the batch is over. Every attempt takes one of `left`.
    pub(in crate::net) fn next(&mut self, left: &mut u32, skips_max: u32) -> Option<Accepted> {
        while self.end.is_none() {
            // Attempts are counted, not connections, so that errors cannot prolong a batch either.
            if *left == 0 {
                self.end = Some(BatchEnd::BatchFull);
                break;
            }
            *left -= 1;
            if let Some(accepted) = self.accept(skips_max) {
                return Some(accepted);
            }
        }
        None
    }

    fn accept(&mut self, skips_max: u32) -> Option<Accepted> {
        let error = match socket::accept(&self.socket) {
            Ok((fd, peer)) => match self.prepare(&fd) {
                Ok(()) => {
                    self.counters.accepted += 1;
                    self.is_fruitless = false;
                    self.recover();
                    return Some(Accepted { stream: Stream::new(fd), peer });
                }
                // Without its options it is not handed out. It is closed here.
                Err(error) => {
                    self.skip(&error, skips_max);
                    return None;
                }
            },
            Err(error) => error,
        };
        match Verdict::of(&error) {
            Verdict::Empty if self.was_shut_down() => self.finish(),
            Verdict::Empty => {
                self.recover();
                self.end = Some(BatchEnd::QueueEmpty);
            }
            Verdict::Skip => self.skip(&error, skips_max),
            Verdict::Retry => {}
            // `accept` takes a descriptor before it looks into the queue.
            Verdict::NoDescriptor if matches!(socket::is_readable(&self.socket), Ok(false)) => {
                self.end = Some(BatchEnd::QueueEmpty);
            }
            Verdict::NoDescriptor => {
                self.shed();
                self.pause(&error);
            }
            Verdict::Pause => self.pause(&error),
            Verdict::Closed => self.finish(),
        }
        None
    }

    /// Returns whether a UNIX listener was shut down. For such a listener `accept` only reports an empty queue.
    fn was_shut_down(&self) -> bool {
        // Only after a batch that accepted nothing: the `poll` is then rare, and a listener that was shut
        // down is reported again at once.
        self.is_fruitless
            && self.address.inet().is_none()
            && socket::has_hung_up(&self.socket).unwrap_or(false)
    }

    fn finish(&mut self) {
        if let Some(gate) = &mut self.gate {
            // EPOLLHUP would be reported for ever.
            gate.end(&self.socket);
        }
        self.end = Some(BatchEnd::Closed);
    }

    fn prepare(&self, accepted: &OwnedFd) -> io::Result<()> {
        match &self.stream_options {
            Some(options) => options.apply(accepted, Family::Unix),
            None => Ok(()),
        }
    }

    fn skip(&mut self, error: &io::Error, skips_max: u32) {
        self.counters.aborted += 1;
        self.skips += 1;
        trace!("connection died in the queue", error);
        if self.skips >= skips_max {
            self.pause(error);
        }
    }

    /// Begins the pauses anew, after accepting has worked or the queue was empty.
    fn recover(&mut self) {
        self.last_pause = Duration::ZERO;
        self.skips = 0;
    }

    /// Gives up the spare descriptor for a moment to accept and close one connection.
    fn shed(&mut self) {
        if self.spare.take().is_none() {
            return;
        }
        match socket::accept(&self.socket) {
            Ok((mut accepted, _)) => {
                self.counters.shed += 1;
                // Closed by being replaced, so that no other thread can take the number in between.
                if epoll_sys::replace(&mut accepted, &self.socket).is_ok() {
                    self.spare = Some(accepted);
                }
            }
            // Another thread may have taken the number. Then the next pause looks for a new one.
            Err(_) => self.spare = self.socket.try_clone().ok(),
        }
    }

    fn pause(&mut self, error: &io::Error) {
        if self.spare.is_none() {
            self.spare = self.socket.try_clone().ok();
        }
        let is_first = self.last_pause.is_zero();
        self.last_pause = (self.last_pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.skips = 0;
        self.counters.pauses += 1;
        let pause = self.last_pause;
        self.end = Some(BatchEnd::Paused(pause));
        if is_first {
            warning!("accepting pauses", error, pause);
        } else {
            trace!("accepting pauses again", error, pause);
        }
        if let Some(gate) = &mut self.gate {
            // Ignored: setting a timer does not fail on Linux, and if it did, the listener would stay
            // watched and be reported again.
            let _ = gate.pause(&self.socket, pause);
        }
    }
}
