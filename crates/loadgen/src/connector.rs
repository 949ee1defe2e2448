//! Opens the connections before a run begins. One failure fails them all: a run with fewer connections than
//! requested would measure something else.

use crate::address::{Transport, connect, lacks};
use crate::sources::{Sources, ports};
use crate::stats::{Resource, Stats};
use anyhow::Context;
use epoll_sys::socket::{self, Address};
use epoll_sys::{Epoll, Events, Interest, Timestamp, Watch};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// The number of connections that are established at the same time. It is a fraction of any server's
/// backlog; beyond the backlog the kernel drops a connection attempt and repeats it a second later.
pub(crate) const WAVE: usize = 64;

/// The delay before another attempt if a resource, or room in the queue of a UNIX listener, is missing.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// The settings with which connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector<'a> {
    pub(crate) address: &'a Address,
    pub(crate) transport: Transport,
    pub(crate) congestion: Option<&'a str>,
    pub(crate) sources: &'a Sources,
    /// The time limit for each connection.
    pub(crate) limit: Duration,
}

impl Connector<'_> {
    /// Returns the socket of a new connection with this number, which may still be on its way.
    pub(crate) fn connect(&self, number: u64) -> io::Result<OwnedFd> {
        connect(self.address, self.transport, self.congestion, self.sources.get(number))
    }

    /// Opens `count` connections, spread evenly over `ramp_up`, and records their connect times and what they
    /// waited for.
    pub(crate) fn open(
        &self,
        count: usize,
        ramp_up: Duration,
        stats: &mut Stats,
    ) -> anyhow::Result<Vec<OwnedFd>> {
        let start = Timestamp::now();
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let wave = loop {
                let elapsed = Timestamp::now() - start;
                match due(count, ramp_up, elapsed).saturating_sub(sockets.len()) {
                    0 => thread::sleep(PAUSE),
                    due => break due.min(WAVE),
                }
            };
            let failed = || {
                let what = format!("failed to open {count} connections to {}", self.address);
                match sockets.len() {
                    0 => what,
                    opened => format!("{what}, with {opened} or more of them open"),
                }
            };
            let first = sockets.len() as u64;
            let opened = self.wave(first, wave, stats).with_context(failed)?;
            sockets.extend(opened);
        }
        Ok(sockets)
    }

    /// Opens `count` connections at the same time; the first of them has the number `first`.
    fn wave(&self, first: u64, count: usize, stats: &mut Stats) -> io::Result<Vec<OwnedFd>> {
        let deadline = Timestamp::now() + self.limit;
        let epoll = Epoll::new()?;
        // Each with the time at which it began, or none when it is established.
        let mut sockets = Vec::with_capacity(count);
        let mut connecting = 0;
        for at in 0..count as u64 {
            let (socket, begun) = self.begin(first + at, deadline, stats)?;
            // On the loopback interface a connection is established when `connect` returns. Its time is taken
            // here, because a wait would add the times of all the others of the wave.
            if socket::is_connected(&socket)? {
                stats.connected(Timestamp::now() - begun);
                sockets.push((socket, None));
            } else {
                // Each socket is reported once, connected or failed.
                epoll.add(&socket, at, Watch::oneshot(Interest::OUT))?;
                sockets.push((socket, Some(begun)));
                connecting += 1;
            }
        }
        let mut events = Events::with_capacity(count);
        while connecting > 0 {
            let left = deadline - Timestamp::now();
            match epoll.wait(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                waited => waited?,
            };
            // Checked only after a wait: this thread may be late although the server was in time.
            if left.is_zero() && events.is_empty() {
                return Err(no_answer(self.limit));
            }
            let now = Timestamp::now();
            for event in events.iter() {
                let socket = usize::try_from(event.data).ok().and_then(|at| sockets.get_mut(at));
                if let Some((socket, begun)) = socket {
                    socket::is_connected(&*socket)?;
                    stats.connected(now - begun.take().unwrap_or(now));
                }
                connecting -= 1;
            }
        }
        Ok(sockets.into_iter().map(|(socket, _)| socket).collect())
    }

    /// Begins a connection. Returns the time of the attempt that succeeded.
    fn begin(
        &self,
        number: u64,
        deadline: Timestamp,
        stats: &mut Stats,
    ) -> io::Result<(OwnedFd, Timestamp)> {
        loop {
            let begun = Timestamp::now();
            let error = match self.connect(number) {
                Ok(socket) => return Ok((socket, begun)),
                Err(error) => error,
            };
            let lack = lacks(self.address, &error);
            // Nothing tells when the queue of a UNIX listener is no longer full, or when a port is free.
            if lack.is_none() && error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            if Timestamp::now() >= deadline {
                return Err(self.gives_up(lack, error));
            }
            thread::sleep(PAUSE);
            if let Some(resource) = lack {
                stats.own_delays.waited(resource, Timestamp::now() - begun);
            }
        }
    }

    /// Returns the error of a connection that could not be begun in time, because of `lack` or because of the
    /// server.
    pub(crate) fn gives_up(&self, lack: Option<Resource>, error: io::Error) -> io::Error {
        match lack {
            Some(Resource::Ports) => {
                let ports = ports();
                let what = format!(
                    "{error}: no port was left for {}; a local address has {ports} of them, \
                     --source adds addresses",
                    humantime::format_duration(self.limit)
                );
                io::Error::new(io::ErrorKind::AddrNotAvailable, what)
            }
            Some(Resource::Descriptors) => error,
            None => io::Error::new(io::ErrorKind::TimedOut, "the server accepts no connection"),
        }
    }
}

/// Returns the error of a connection that was not established within `limit`.
pub(crate) fn no_answer(limit: Duration) -> io::Error {
    let what = format!("no answer within {}", humantime::format_duration(limit));
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Returns the number of connections, of `count`, that are to be open or on their way after `elapsed`.
#[allow(clippy::cast_precision_loss, reason = "there are no more descriptors than a float counts")]
#[allow(clippy::cast_possible_truncation, reason = "less than the count")]
#[allow(clippy::cast_sign_loss, reason = "none is negative")]
fn due(count: usize, ramp_up: Duration, elapsed: Duration) -> usize {
    if elapsed >= ramp_up {
        return count;
    }
    let part = elapsed.as_secs_f64() / ramp_up.as_secs_f64();
    ((count as f64 * part) as usize + 1).min(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_spread_evenly_over_the_ramp_up() {
        let ms = Duration::from_millis;
        let due = |elapsed| due(10, ms(1000), ms(elapsed));
        assert_eq!([0, 99, 101, 550, 999, 1000, 9999].map(due), [1, 1, 2, 6, 10, 10, 10]);
        assert_eq!(super::due(10, Duration::ZERO, Duration::ZERO), 10);
    }
}
