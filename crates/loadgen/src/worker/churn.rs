//! A connection for each message. The client closes its half when the answer is complete and reads up to
//! the server's end, so surplus bytes are found.
//!
//! Kernel facts: (a) the side that closes first keeps its port for a minute (`TIME_WAIT`), though on the
//! loopback interface another connection may take it over after a second; (b) one address therefore gets
//! half the range of ports a second, some 14 000; (c) every address of 127.0.0.0/8 has a range of its own.

use super::{Backoff, Worker};
use crate::address::connect;
use crate::connection::End;
use crate::failure::Failure;
use epoll_sys::Timestamp;
use epoll_sys::socket::Address;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The number of local addresses that are used in turn.
const SOURCES: u32 = 32;

/// The delay before another attempt if no connection can be opened.
const PAUSE: Duration = Duration::from_millis(1);

impl Worker<'_> {
    /// Connects for the next request, if one is due. Returns whether that request may be sent.
    pub(super) fn connect(&mut self, index: usize, now: Timestamp) -> bool {
        if self.is_backing_off(now) || !self.pacer.is_due(now) {
            self.make_ready(index);
            return false;
        }
        match self.open(index) {
            Ok(()) => {
                self.connect_backoff = None;
                self.stats.connects += 1;
                true
            }
            // The queue of a UNIX listener is full, or all ports are taken. No event reports the end of
            // either.
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::AddrNotAvailable) =>
            {
                self.back_off(index, now, &error);
                false
            }
            Err(error) => {
                self.drop_connection(index, &error.into());
                false
            }
        }
    }

    /// Returns whether the backoff lasts at `now`.
    pub(super) fn is_backing_off(&self, now: Timestamp) -> bool {
        self.connect_backoff.is_some_and(|connect_backoff| now < connect_backoff.again)
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let connector = self.shared.connector;
        let number = self.next_number;
        let source = source(connector.address, number);
        let socket = connect(connector.address, connector.congestion, source)?;
        self.next_number += u64::from(self.share.of);
        let connection = &mut self.connections[index];
        connection.check.restart(self.shared.pattern, number);
        connection.attach(socket, &self.epoll, index as u64)
    }

    fn back_off(&mut self, index: usize, now: Timestamp, error: &io::Error) {
        let since = self.connect_backoff.map_or(now, |connect_backoff| connect_backoff.since);
        self.connect_backoff = Some(Backoff { since, again: now + PAUSE });
        if now - since < self.shared.connector.limit {
            return self.make_ready(index);
        }
        let end = match error.kind() {
            ErrorKind::WouldBlock => End {
                failure: Failure::NoAnswer,
                what: "the server accepts no connection".to_owned(),
            },
            _ => End { failure: error.into(), what: error.to_string() },
        };
        self.drop_connection(index, &end);
    }
}

/// Returns the local address of a connection; `None` lets the kernel choose.
fn source(server: &Address, number: u64) -> Option<Ipv4Addr> {
    match server {
        Address::Inet(address) if matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback()) => {
            let turn = u32::try_from(number % u64::from(SOURCES)).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + turn))
        }
        _ => None,
    }
}
