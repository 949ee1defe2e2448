//! The process that takes over: started with the sockets, and asked whether it serves.

use crate::Restart;
use crate::handover::{self, Origin};
use epoll_reactor::epoll_sys::socket::packet_pair;
use epoll_reactor::net::PathRemoval;
use epoll_shutdown::Signals;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The variables of the service manager that name this process, or descriptors that only this process has.
const OUTDATED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The time that a process may take to end: by itself, after it has closed its descriptors, and once it is killed.
/// The thread that waits reads no signals meanwhile.
const ENDING: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(1);

/// The sockets of an address, for a process that takes over.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) origin: Origin,
    pub(crate) sockets: Vec<OwnedFd>,
    /// The removal of the path of its UNIX socket, if this process removes it.
    pub(crate) removal: Option<PathRemoval>,
}

pub(crate) struct Successor {
    child: Child,
    channel: OwnedFd,
    /// The time at which it is too late.
    deadline: Option<Instant>,
}

impl Successor {
    /// Starts the process and sends it the sockets.
    pub(crate) fn start(
        restart: &Restart,
        signals: &Signals,
        offers: &[Offer],
    ) -> io::Result<Self> {
        let (channel, theirs) = packet_pair()?;
        // Before it is started, so that it need not wait, whatever it does first.
        handover::send(
            &channel,
            offers.iter().map(|offer| {
                let removes_path = offer.removal.as_ref().is_some_and(PathRemoval::is_on);
                (Origin { removes_path, ..offer.origin.clone() }, &offer.sockets[..])
            }),
        )?;
        let theirs = File::from(theirs);
        let mut command = restart.command();
        for name in OUTDATED {
            command.env_remove(name);
        }
        command.env(handover::VARIABLE, theirs.metadata()?.ino().to_string());
        command.stdin(Stdio::from(theirs));
        let child = signals.restore_mask_in(&mut command).spawn()?;
        // The command has the other end, whose last close is the sign that the process has ended.
        drop(command);
        let deadline = restart.timeout().and_then(|time| Instant::now().checked_add(time));
        Ok(Self { child, channel, deadline })
    }

    /// Returns the number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the addresses that it has taken, once it serves.
    ///
    /// # Errors
    ///
    /// It has ended, or speaks another language.
    pub(crate) fn poll(&self) -> io::Result<Option<Vec<bool>>> {
        handover::recv_ready(&self.channel)
    }

    /// Ends the process, which may have `patience` to do so by itself. Returns its status, unless the kernel has not
    /// ended it in time.
    pub(crate) fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        self.await_end(patience).or_else(|| {
            // It fails only if the process has ended.
            let _ = self.child.kill();
            self.await_end(ENDING)
        })
    }

    /// Ends the process, which has closed its end of the channel and probably ends by itself.
    pub(crate) fn end_closed(self) -> Option<ExitStatus> {
        self.end(ENDING)
    }

    fn await_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(PAUSE),
                ended => return ended.ok().flatten(),
            }
        }
    }
}

impl AsFd for Successor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
