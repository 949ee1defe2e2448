//! Opens the connections before a run begins. One failure fails them all: a run with fewer connections than
//! requested would measure something else.

use crate::address::connect;
use anyhow::{Context, bail};
use epoll_sys::socket::{self, Address};
use epoll_sys::{Epoll, Events, Interest, Timestamp, Watch};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// The number of connections that are established at the same time. It is a fraction of any server's
/// backlog; beyond the backlog the kernel drops a connection attempt and repeats it a second later.
const WAVE: usize = 64;

/// The delay before another attempt if the queue of a UNIX listener is full.
const PAUSE: Duration = Duration::from_millis(1);

/// The settings with which connections are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connector<'a> {
    pub(crate) address: &'a Address,
    pub(crate) congestion: Option<&'a str>,
    /// The time limit for each connection.
    pub(crate) limit: Duration,
}

impl Connector<'_> {
    /// Opens `count` connections.
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
            // Each socket is reported once, connected or failed.
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
            // Checked only after a wait: this thread may be late although the server was in time.
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
