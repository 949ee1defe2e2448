//! A connection for each message. The client closes its half when the answer is complete and reads up to
//! the server's end, so surplus bytes are found.

use super::{Backoff, Worker};
use crate::address::lacks;
use crate::connector::PAUSE;
use epoll_sys::{Timestamp, socket};
use std::io::{self, ErrorKind};

impl Worker<'_> {
    /// Connects for the next request, if one is due. Returns whether that request may be sent.
    pub(super) fn connect(&mut self, index: usize, now: Timestamp) -> bool {
        if self.is_backing_off(now) || !self.pacer.is_due(now) {
            self.make_ready(index);
            return false;
        }
        match self.open(index) {
            Ok(()) => {
                if let Some(backoff) = self.connect_backoff.take() {
                    self.waited(backoff, now);
                }
                self.stats.connects += 1;
                true
            }
            Err(error) => {
                self.connect_failed(index, now, error);
                false
            }
        }
    }

    /// Returns whether the backoff lasts at `now`.
    pub(super) fn is_backing_off(&self, now: Timestamp) -> bool {
        self.connect_backoff.is_some_and(|connect_backoff| now < connect_backoff.again)
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let number = self.next_number;
        // The next attempt has another source, also if this one fails for lack of a port.
        self.next_number += u64::from(self.share.of);
        let begun = Timestamp::now();
        let socket = self.shared.connector.connect(number)?;
        // Usually so on the loopback interface. A connection to itself is found here too.
        let is_connected = socket::is_connected(&socket)?;
        let connection = &mut self.connections[index];
        connection.exchange.restart(number);
        connection.attach(socket, &self.epoll, index as u64)?;
        match is_connected {
            true => self.stats.connected(Timestamp::now() - begun),
            false => connection.connects_since(begun),
        }
        Ok(())
    }

    /// Handles the error of an attempt to connect: another one follows if a resource of this machine is
    /// missing, or if the queue of a UNIX listener is full. No event reports the end of either.
    #[cold]
    fn connect_failed(&mut self, index: usize, now: Timestamp, error: io::Error) {
        let connector = self.shared.connector;
        let lack = lacks(connector.address, &error);
        if lack.is_none() && error.kind() != ErrorKind::WouldBlock {
            return self.drop_connection(index, &error.into());
        }
        let before = self.connect_backoff;
        if let Some(backoff) = before {
            self.waited(backoff, now);
        }
        let since = before.map_or(now, |backoff| backoff.since);
        self.connect_backoff = Some(Backoff { since, last: now, again: now + PAUSE, lack });
        if now - since < connector.limit {
            return self.make_ready(index);
        }
        self.drop_connection(index, &connector.gives_up(lack, error).into());
    }

    /// Counts the time since the last attempt if a resource was missing.
    fn waited(&mut self, backoff: Backoff, now: Timestamp) {
        if let Some(resource) = backoff.lack {
            self.stats.own_delays.waited(resource, now - backoff.last);
        }
    }
}
