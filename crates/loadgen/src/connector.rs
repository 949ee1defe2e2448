//! Connector many connections before a run begins. One that fails fails all: a run with fewer than were
//! asked for would measure something else.

use crate::address::connect;
use anyhow::{Context, bail};
use epoll_sys::socket::{self, Address};
use epoll_sys::{Epoll, Events, Interest, Timestamp, Watch};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// Connections that are under way at once: a fraction of any server's backlog, beyond which the kernel
/// would drop them and try again a second later.
const WAVE: usize = 64;

/// How long to wait before trying again where the queue of a UNIX listener is full.
const PAUSE: Duration = Duration::from_millis(1);

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector<'a> {
    pub(crate) address: &'a Address,
    pub(crate) congestion: Option<&'a str>,
    /// How long each may take.
    pub(crate) limit: Duration,
}

impl Connector<'_> {
    /// Opens this many connections.
    pub(crate) fn open(&self, count: usize) -> anyhow::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let wave = WAVE.min(count - sockets.len());
            let failed = || {
                let what = format!("failed to open {count} connections to {}", self.address);
                match sockets.len() {
                    0 => what,
                    opened => format!("{what}, with {opened} or more of them open"),
                }
            };
            let opened = self.wave(wave).with_context(failed)?;
            sockets.extend(opened);
        }
        Ok(sockets)
    }

    fn wave(&self, count: usize) -> anyhow::Result<Vec<OwnedFd>> {
        let deadline = Timestamp::now() + self.limit;
        let epoll = Epoll::new()?;
        let mut sockets = Vec::with_capacity(count);
        for data in 0..count as u64 {
            let socket = self.begin(deadline)?;
            // One report each: how it went.
            epoll.add(&socket, data, Watch::oneshot(Interest::OUT))?;
            sockets.push(socket);
        }
        let mut events = Events::with_capacity(count);
        let mut connected = 0;
        while connected < count {
            let left = deadline - Timestamp::now();
            match epoll.wait(&mut events, Some(left)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                waited => waited?,
            };
            // Not before a look: this thread may be late where the server was in time.
            if left.is_zero() && events.is_empty() {
                bail!("no answer within {}", humantime::format_duration(self.limit));
            }
            for event in events.iter() {
                let socket = usize::try_from(event.data).ok().and_then(|at| sockets.get(at));
                if let Some(socket) = socket {
                    socket::is_connected(socket)?;
                }
                connected += 1;
            }
        }
        Ok(sockets)
    }

    fn begin(&self, deadline: Timestamp) -> anyhow::Result<OwnedFd> {
        loop {
            match connect(self.address, self.congestion, None) {
                // The queue of a UNIX listener is full, and nothing tells when it is not.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Timestamp::now() >= deadline {
                        bail!("the server accepts no connection");
                    }
                    thread::sleep(PAUSE);
                }
                connected => return Ok(connected?),
            }
        }
    }
}
